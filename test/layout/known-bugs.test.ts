/** Mistakes that other pNFS servers have made, each as what must be true here. */
import { describe, expect, test } from 'vitest';
import { actionsOf, any, deadlineMs, expectKind, Lab, only, read, rw } from './lab.ts';

describe('nfsd', () => {
  test('2023: a lease inserted before its layout: the break saw no layouts, asked nobody, and the grant survived', () => {
    const lab = new Lab();
    const grant = lab.reserve(1, rw, 0, 10);
    const { breakId } = lab.break('write', 0, 10);
    expect(expectKind(lab.layouts.confirm(lab.now, grant), 'recalled').actions).toEqual([{ type: 'broken', breakId }]);
    expect(lab.layouts.held()).toEqual([]);
  });

  test('2026: a break without a bound: here it ends with the deadline and the fence, whatever the client says', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const { breakId, actions } = lab.break('unmap', 0, 10);
    const { recallId } = only(actions, 'recall');
    const end = lab.now + deadlineMs;
    let fence: number | undefined;
    for (let due = lab.layouts.nextDeadline(); fence === undefined; due = lab.layouts.nextDeadline()) {
      lab.now = Math.min(due ?? end, lab.now + 10_000);
      fence = actionsOf(lab.layouts.tick(lab.now), 'fence')[0]?.fenceId;
      lab.layouts.recallReply(lab.now, recallId, 'delay');
    }
    expect(lab.now).toBe(end);
    expect(lab.layouts.fenced(lab.now, fence)).toEqual([{ type: 'broken', breakId }]);
  });

  test('a busy client is not revoked for saying so (PeakAIO), only by the deadline', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const { recallId } = only(lab.break('unmap', 0, 10).actions, 'recall');
    for (let n = 0; n < 50; n++) {
      lab.layouts.recallReply(lab.now, recallId, 'delay');
      expect(actionsOf(lab.layouts.tick((lab.now += 1000)), 'fence')).toEqual([]);
    }
    lab.giveBack(1, any, 0, 10);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('a fence that is not acknowledged keeps the range blocked, however long it takes', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.layouts.clientLost(lab.now, 1);
    const { actions } = lab.break('unmap', 0, 10);
    expect(actions).toEqual([]);
    expect(lab.layouts.tick((lab.now += 100 * deadlineMs))).toEqual([]);
    expect(lab.get(2, read, 0, 10).kind).toBe('conflict');
  });
});

describe('nfs4j', () => {
  test('#65: the first layout stateid began at seqid 2', () => {
    expect(new Lab().grant(1, read, 0, 10).seqid).toBe(1);
  });
});

describe('dCache', () => {
  test('#7094: a recall quoted a stateid that was disposed of already', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.giveBack(1, any, 0, Infinity);
    expect(
      lab.layouts.break(lab.now, { ino: 1, offset: 0, length: 10, reason: 'unmap', client: undefined }),
    ).toBeUndefined();
  });
});

describe('Ganesha', () => {
  test('the overflow check of the range was the wrong way round', () => {
    const lab = new Lab();
    lab.grant(1, rw, 4096, Infinity);
    const { actions } = lab.break('unmap', 8192, Infinity);
    expect(only(actions, 'recall')).toMatchObject({ offset: 8192, length: Infinity });
    expect(lab.refusal(lab.get(2, rw, 4096, Number.MAX_SAFE_INTEGER))).toBe('INVAL');
  });

  test('DELAY beyond the deadline ends in a revocation', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const { recallId } = only(lab.break('unmap', 0, 10).actions, 'recall');
    lab.now += deadlineMs;
    lab.layouts.recallReply(lab.now, recallId, 'delay');
    expect(only(lab.layouts.tick(lab.now), 'fence').client).toBe(1);
  });
});

describe('chimera', () => {
  test('#970: stateids went unchecked', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const stateid = { seqid: 1, other: '0'.repeat(24) };
    expect(lab.refusal(lab.get(1, rw, 20, 10, { stateid }))).toBe('BAD_STATEID');
    expect(lab.refusal(lab.return(1, rw, 0, 10, stateid))).toBe('BAD_STATEID');
    expect(lab.layouts.checkCommit({ client: 1, ino: 1, stateid }, [])?.status).toBe('BADLAYOUT');
  });

  test('#1092: LAYOUTGET took iomode ANY', () => {
    const lab = new Lab();
    expect(lab.refusal(lab.get(1, any, 0, 10))).toBe('BADIOMODE');
  });

  test('#1093: seqid 0 was taken', () => {
    const lab = new Lab();
    const stateid = { ...lab.grant(1, rw, 0, 10), seqid: 0 };
    expect(lab.refusal(lab.get(1, rw, 20, 10, { stateid }))).toBe('BAD_STATEID');
    expect(lab.refusal(lab.return(1, rw, 0, 10, stateid))).toBe('BAD_STATEID');
  });

  test('#1378: grants were made while a recall was out', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.break('unmap', 0, 10);
    expect(lab.refusal(lab.get(1, rw, 0, 10))).toBe('RECALLCONFLICT');
    expect(lab.get(2, read, 0, 10).kind).toBe('conflict');
  });

  test('#1426: a return from the middle took the rest of the segment with it', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    lab.giveBack(1, rw, 40, 20);
    expect(lab.segments(1)).toEqual(['rw 0+40', 'rw 60+40']);
  });
});
