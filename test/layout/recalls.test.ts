import { describe, expect, test } from 'vitest';
import { actionsOf, any, deadlineMs, expectKind, Lab, only, read, rw } from './lab.ts';

/** Client 1 holds RW [0, 100), and a break of [0, 50) has recalled it. */
function recalled() {
  const lab = new Lab();
  lab.grant(1, rw, 0, 100);
  const { breakId, actions } = lab.break('unmap', 0, 50);
  const recall = only(actions, 'recall');
  const reply = (...[kind]: [Parameters<Lab['layouts']['recallReply']>[2]]) =>
    lab.layouts.recallReply(lab.now, recall.recallId, kind);
  return { lab, breakId, recall, reply };
}

/** Client 1 missed the deadline, and its fence is under way. */
function fencing() {
  const all = recalled();
  const stateid = all.lab.stateid(1);
  if (stateid === undefined) throw new Error('no stateid');
  const { fenceId } = only(all.lab.layouts.tick((all.lab.now += deadlineMs)), 'fence');
  return { ...all, stateid, fenceId };
}

describe('replies to CB_LAYOUTRECALL (RFC 8881 §20.3)', () => {
  test('OK: the return follows, until then the break waits', () => {
    const { lab, breakId, reply } = recalled();
    expect(reply('ok')).toEqual([]);
    expect(lab.layouts.tick((lab.now += deadlineMs - 1))).toEqual([]);
    expect(lab.giveBack(1, any, 0, 50)).toEqual([{ type: 'broken', breakId }]);
  });

  test('NOMATCHING_LAYOUT: as a return of all that was recalled, and no more', () => {
    const { lab, breakId, reply } = recalled();
    expect(reply('nomatching')).toEqual([
      { type: 'released', client: 1, ino: 1, segments: [{ iomode: rw, offset: 0, length: 50 }] },
      { type: 'broken', breakId },
    ]);
    expect(lab.segments(1)).toEqual(['rw 50+50']);
  });

  test.each(['delay', 'unreachable'] as const)(
    '%s: again after 100 ms, doubling to 1 s, the deadline stays',
    (kind) => {
      const { lab, recall, reply } = recalled();
      const start = lab.now;
      const waits: number[] = [];
      for (let n = 0; n < 7; n++) {
        expect(reply(kind)).toEqual([]);
        const due = lab.layouts.nextDeadline() ?? 0;
        waits.push(due - lab.now);
        expect(lab.layouts.tick(due - 1)).toEqual([]);
        lab.now = due;
        expect(lab.layouts.tick(lab.now)).toEqual([recall]);
      }
      expect(waits).toEqual([100, 200, 400, 800, 1000, 1000, 1000]);
      expect(lab.layouts.nextDeadline()).toBe(start + deadlineMs);
    },
  );

  test('a resend that would come after the deadline does not: the deadline does', () => {
    const { lab, reply } = recalled();
    lab.now += deadlineMs - 50;
    reply('delay');
    expect(lab.layouts.nextDeadline()).toBe(lab.now + 50);
    expect(only(lab.layouts.tick((lab.now += 50)), 'fence').client).toBe(1);
  });

  test('BAD_STATEID: one retry for what crossed on the wire, then the client is revoked', () => {
    const { lab, recall, reply } = recalled();
    expect(reply('bad-stateid')).toEqual([]);
    expect(lab.layouts.tick((lab.now += 100))).toEqual([recall]);
    expect(only(reply('bad-stateid'), 'fence').client).toBe(1);
  });

  test('a reply after the recall is over changes nothing', () => {
    const { lab, reply } = recalled();
    lab.giveBack(1, any, 0, 50);
    for (const kind of ['ok', 'nomatching', 'delay', 'bad-stateid', 'unreachable'] as const)
      expect(reply(kind)).toEqual([]);
    expect(lab.segments(1)).toEqual(['rw 50+50']);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });
});

describe('a recall', () => {
  test('ends only by a return of all that it asked for; until then it is repeated as it was', () => {
    const { lab, breakId, recall, reply } = recalled();
    expect(lab.giveBack(1, any, 0, 20)).toEqual([]);
    expect(lab.giveBack(1, any, 30, 10)).toEqual([]);
    expect(lab.layouts.held()).toMatchObject([{ state: 'recalling' }]);
    reply('delay');
    expect(lab.layouts.tick((lab.now += 100))).toEqual([recall]);
    expect(lab.refusal(lab.get(1, read, 5, 1)), 'a part that was returned').toBe('RECALLCONFLICT');
    lab.giveBack(1, any, 20, 10);
    expect(lab.giveBack(1, any, 40, 10), 'nothing is in the way any more').toEqual([{ type: 'broken', breakId }]);
    expect(lab.layouts.held()).toMatchObject([{ state: 'recalling' }]);
    expect(lab.refusal(lab.get(1, read, 5, 1))).toBe('RECALLCONFLICT');
    lab.giveBack(1, any, 0, 50);
    expect(lab.layouts.held()).toMatchObject([{ state: 'held' }]);
  });

  test('is not ended by returns of another iomode', () => {
    const { lab, breakId } = recalled();
    expect(lab.giveBack(1, read, 0, 100)).toEqual([]);
    expect(lab.giveBack(1, rw, 0, 100)).toEqual([{ type: 'broken', breakId }]);
  });

  test('keeps the state alive though nothing is held, until it is answered (lrs_present)', () => {
    const { lab } = recalled();
    lab.giveBack(1, rw, 0, 100);
    const stateid = lab.stateid(1);
    expect(stateid?.seqid).toBe(3);
    expect(lab.layouts.holdsAny(1)).toBe(false);
    expect(lab.refusal(lab.get(1, rw, 0, 10, { stateid: undefined })), 'a forgetful get').toBe('RECALLCONFLICT');
    lab.giveBack(1, any, 0, 50);
    expect(lab.stateid(1)).toBeUndefined();
    expect(lab.layouts.heldOn(1, 1)).toBeUndefined();
  });

  test('whose pieces all came back, but never as a whole, ends with its deadline and without a fence', () => {
    const { lab } = recalled();
    lab.giveBack(1, any, 0, 20);
    lab.giveBack(1, any, 20, 30);
    expect(lab.layouts.tick((lab.now += deadlineMs))).toEqual([]);
    expect(lab.layouts.held()).toMatchObject([{ state: 'held' }]);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('is quoted with the same stateid each time, though the seqid has moved on', () => {
    const { lab, recall, reply } = recalled();
    lab.grant(1, rw, 200, 10);
    reply('delay');
    expect(only(lab.layouts.tick((lab.now += 100)), 'recall').stateid).toEqual(recall.stateid);
  });

  test('counts in the seqid of the state', () => {
    const { lab, recall } = recalled();
    expect(recall.stateid.seqid).toBe(2);
    expect(lab.grant(1, rw, 200, 10).seqid).toBe(3);
  });
});

describe('the deadline (RFC 8881 §12.5.5.2)', () => {
  test('what was not returned by then is revoked, on all files, reserved grants too, with one fence', () => {
    const { lab } = recalled();
    lab.grant(1, read, 0, 10, { ino: 2 });
    lab.reserve(1, rw, 500, 10);
    lab.break('unmap', 70, 10);
    const actions = lab.layouts.tick((lab.now += deadlineMs));
    expect(only(actions, 'fence')).toMatchObject({
      client: 1,
      segments: [
        { ino: 1, iomode: rw, offset: 0, length: 100 },
        { ino: 1, iomode: rw, offset: 500, length: 10 },
        { ino: 2, iomode: read, offset: 0, length: 10 },
      ],
    });
    expect(lab.layouts.held().map(({ state }) => state)).toEqual(['revoked', 'revoked']);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('starts again for a client that returns bit by bit, but four of them are all it gets', () => {
    const { lab } = recalled();
    const end = lab.now + 4 * deadlineMs;
    for (let offset = 0; offset < 8; offset++) {
      lab.now += deadlineMs / 2;
      expect(lab.layouts.tick(lab.now)).toEqual(offset < 7 ? [] : [expect.objectContaining({ type: 'fence' })]);
      if (offset < 7) lab.giveBack(1, any, offset, 1);
    }
    expect(lab.now).toBe(end);
  });

  test('starts again for a client that commits', () => {
    const { lab } = recalled();
    lab.now += deadlineMs - 1;
    lab.layouts.committed(lab.now, 1, 1, [{ offset: 40, length: 1 }]);
    expect(lab.layouts.nextDeadline()).toBe(lab.now + deadlineMs);
  });

  test('is not moved by what has nothing to do with the recall, nor by a return of nothing', () => {
    const { lab } = recalled();
    const end = lab.now + deadlineMs;
    lab.now += 1000;
    lab.giveBack(1, read, 0, 50);
    lab.giveBack(1, any, 60, 10);
    lab.layouts.committed(lab.now, 1, 1, [{ offset: 80, length: 10 }]);
    expect(lab.layouts.nextDeadline()).toBe(end);
  });

  test('is that of each recall: an earlier one of another client does not take this one with it', () => {
    const { lab } = recalled();
    lab.grant(2, rw, 200, 10);
    lab.now += 1000;
    lab.break('unmap', 200, 10);
    expect(only(lab.layouts.tick((lab.now += deadlineMs - 1000)), 'fence').client).toBe(1);
    expect(lab.layouts.nextDeadline()).toBe(lab.now + 1000);
  });
});

describe('revocation and fence', () => {
  test('breaks are broken only after the fence holds and has drained', () => {
    const { lab, breakId, fenceId } = fencing();
    const later = lab.break('unmap', 90, 10);
    expect(later.actions).toEqual([]);
    const broken = actionsOf(lab.layouts.fenced(lab.now, fenceId), 'broken').map((action) => action.breakId);
    expect(broken).toEqual([breakId, later.breakId]);
    expect(lab.layouts.fenced(lab.now, fenceId)).toEqual([]);
  });

  test('until then nobody gets the range', () => {
    const { lab, breakId, fenceId } = fencing();
    lab.layouts.endBreak(lab.now, breakId);
    const { breakId: waiting, actions } = lab.wait(2, read, 99, 1);
    expect(actions).toEqual([]);
    expect(lab.layouts.fenced(lab.now, fenceId)).toEqual([{ type: 'broken', breakId: waiting }]);
  });

  test('its stateids answer ADMIN_REVOKED, before and after the fence holds, until it is forgotten', () => {
    const { lab, stateid, fenceId } = fencing();
    const answers = () => [
      lab.refusal(lab.get(1, read, 0, 10, { stateid })),
      lab.refusal(lab.return(1, any, 0, 10, stateid)),
      lab.layouts.checkCommit({ client: 1, ino: 1, stateid }, [])?.status,
    ];
    expect(answers()).toEqual(['ADMIN_REVOKED', 'ADMIN_REVOKED', 'ADMIN_REVOKED']);
    lab.layouts.fenced(lab.now, fenceId);
    expect(answers()).toEqual(['ADMIN_REVOKED', 'ADMIN_REVOKED', 'ADMIN_REVOKED']);
    lab.layouts.forgetClient(1);
    expect(answers()).toEqual(['BAD_STATEID', 'BAD_STATEID', 'BADLAYOUT']);
  });

  test('a stateid that never was stays BAD_STATEID', () => {
    const { lab } = fencing();
    expect(lab.refusal(lab.return(1, any, 0, 10, { seqid: 1, other: 'f'.repeat(24) }))).toBe('BAD_STATEID');
  });

  test('it gets nothing more, on no file, with or without a stateid, until it is forgotten', () => {
    const { lab, fenceId } = fencing();
    expect(lab.refusal(lab.get(1, read, 0, 10, { ino: 2 }))).toBe('ADMIN_REVOKED');
    lab.layouts.fenced(lab.now, fenceId);
    expect(lab.refusal(lab.get(1, read, 0, 10, { stateid: undefined }))).toBe('ADMIN_REVOKED');
    lab.layouts.forgetClient(1);
    expect(lab.get(1, read, 100, 10, { stateid: undefined }).kind).toBe('reserved');
  });

  test('a grant in flight when the client is revoked is not made, whenever it is confirmed or cancelled', () => {
    for (const late of [false, true]) {
      const lab = new Lab();
      const [one, two] = [lab.reserve(1, rw, 0, 10), lab.reserve(1, rw, 20, 10)];
      const { fenceId } = only(lab.layouts.clientLost(lab.now, 1), 'fence');
      const { breakId } = lab.break('unmap', 0, 10);
      const settle = () => {
        expect(lab.layouts.confirm(lab.now, one)).toEqual({ kind: 'recalled', actions: [] });
        expect(lab.layouts.cancel(lab.now, two)).toEqual([]);
      };
      if (!late) settle();
      expect(lab.layouts.fenced(lab.now, fenceId)).toEqual([{ type: 'broken', breakId }]);
      if (late) settle();
      expect(lab.layouts.holdsAny(1)).toBe(false);
    }
  });

  test('holdsAny is true until the fence holds', () => {
    const { lab, fenceId } = fencing();
    expect(lab.layouts.holdsAny(1)).toBe(true);
    expect(() => lab.layouts.forgetClient(1)).toThrow(/holds layouts/);
    lab.layouts.fenced(lab.now, fenceId);
    expect(lab.layouts.holdsAny(1)).toBe(false);
  });
});

describe('a client that is lost', () => {
  test('is revoked and fenced, without waiting for a recall', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    expect(only(lab.layouts.clientLost(lab.now, 1), 'fence').segments).toEqual([
      { ino: 1, iomode: rw, offset: 0, length: 10 },
    ]);
    expect(lab.layouts.clientLost(lab.now, 1)).toEqual([]);
  });

  test('needs no fence if it holds nothing', () => {
    const lab = new Lab();
    expect(lab.layouts.clientLost(lab.now, 1)).toEqual([]);
    lab.grant(1, rw, 0, 10);
    lab.giveBack(1, any, 0, 10);
    expect(lab.layouts.clientLost(lab.now, 1)).toEqual([]);
  });

  test('takes its recalls along: no resend and no second fence follow', () => {
    const { lab, reply } = recalled();
    reply('delay');
    lab.layouts.clientLost(lab.now, 1);
    expect(reply('delay')).toEqual([]);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
    expect(lab.layouts.tick((lab.now += deadlineMs))).toEqual([]);
  });

  test('does not hurt the others', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    const stateid = lab.grant(2, read, 0, 10);
    lab.layouts.clientLost(lab.now, 1);
    expect(expectKind(lab.return(2, any, 0, 5, stateid), 'returned').released).toHaveLength(1);
  });
});
