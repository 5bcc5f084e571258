import { describe, expect, test } from 'vitest';
import { recallKind } from '../../layout/types.ts';
import { actionsOf, any, deadlineMs, expectKind, Lab, only, read, rw } from './lab.ts';

const { all, fsid } = recallKind;

/** Client 1 holds layouts on two files, and is asked for everything. */
function asked() {
  const lab = new Lab();
  lab.grant(1, rw, 0, 100);
  lab.grant(1, read, 0, 10, { ino: 2 });
  const begun = lab.layouts.recallAll(lab.now, 1, all, false);
  if (begun === undefined) throw new Error('nothing is held');
  return { lab, ...begun };
}

describe('a recall of everything (RFC 8881 §12.5.5.2.1.5)', () => {
  test('names no state and no range, and ends with a return of its kind', () => {
    const { lab, recallId, actions } = asked();
    expect(actions).toEqual([{ type: 'bulk-recall', recallId, client: 1, kind: all, changed: false }]);
    const returned = expectKind(lab.layouts.returnAll(lab.now, 1, all), 'returned');
    expect(returned.released).toEqual([
      { ino: 1, segments: [{ iomode: rw, offset: 0, length: 100 }] },
      { ino: 2, segments: [{ iomode: read, offset: 0, length: 10 }] },
    ]);
    expect(returned.actions).toEqual([{ type: 'bulk-ended', recallId, client: 1 }]);
    expect([lab.layouts.held(), lab.layouts.nextDeadline()]).toEqual([[], undefined]);
  });

  test('or with NOMATCHING_LAYOUT', () => {
    const { lab, recallId } = asked();
    const actions = lab.layouts.recallReply(lab.now, recallId, 'nomatching');
    expect(actions.map(({ type }) => type)).toEqual(['released', 'released', 'bulk-ended']);
    expect(lab.layouts.held()).toEqual([]);
  });

  test('or with a fence at its deadline', () => {
    const { lab, recallId } = asked();
    const { fenceId, segments } = only(lab.layouts.tick((lab.now += deadlineMs)), 'fence');
    expect(segments).toHaveLength(2);
    expect(actionsOf(lab.layouts.fenced(lab.now, fenceId), 'bulk-ended')).toEqual([
      { type: 'bulk-ended', recallId, client: 1 },
    ]);
  });

  test('until then gets, returns of files and of another kind are RECALLCONFLICT, commits are legal', () => {
    const { lab } = asked();
    const stateid = lab.stateid(1);
    expect(lab.refusal(lab.get(1, read, 500, 10))).toBe('RECALLCONFLICT');
    expect(lab.refusal(lab.get(1, read, 0, 10, { ino: 3, stateid: undefined }))).toBe('RECALLCONFLICT');
    expect(lab.refusal(lab.return(1, any, 0, 10))).toBe('RECALLCONFLICT');
    expect(expectKind(lab.layouts.returnAll(lab.now, 1, fsid), 'refused').status).toBe('RECALLCONFLICT');
    if (stateid === undefined) throw new Error('no state');
    expect(lab.layouts.checkCommit({ client: 1, ino: 1, stateid }, [{ offset: 0, length: 10 }])).toBeUndefined();
    expect(lab.get(2, read, 500, 10).kind, 'another client').toBe('reserved');
  });

  test('waits for other recalls to the client, and lets no other begin', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    const first = lab.break('unmap', 0, 10);
    const begun = lab.layouts.recallAll(lab.now, 1, all, true);
    expect(begun?.actions).toEqual([]);
    const second = lab.break('unmap', 50, 10);
    expect(second.actions).toEqual([]);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([
      { type: 'broken', breakId: first.breakId },
      { type: 'bulk-recall', recallId: begun?.recallId, client: 1, kind: all, changed: true },
    ]);
    const { actions } = expectKind(lab.layouts.returnAll(lab.now, 1, all), 'returned');
    expect(actionsOf(actions, 'broken')).toEqual([{ type: 'broken', breakId: second.breakId }]);
  });

  test('drops what was reserved before it, also if it is confirmed after it', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const [one, two] = [lab.reserve(1, rw, 20, 10), lab.reserve(1, rw, 40, 10)];
    lab.layouts.recallAll(lab.now, 1, all, false);
    expect(lab.layouts.confirm(lab.now, one).kind).toBe('recalled');
    lab.layouts.returnAll(lab.now, 1, all);
    expect(lab.layouts.confirm(lab.now, two).kind).toBe('recalled');
    expect(lab.layouts.holdsAny(1)).toBe(false);
  });

  test('has more time when something is committed, but four deadlines at most', () => {
    const { lab } = asked();
    const end = lab.now + 4 * deadlineMs;
    for (let n = 0; n < 7; n++) {
      expect(lab.layouts.tick((lab.now += deadlineMs / 2))).toEqual([]);
      lab.layouts.committed(lab.now, 1, 1, [{ offset: 0, length: 1 }]);
    }
    expect(actionsOf(lab.layouts.tick((lab.now += deadlineMs / 2)), 'fence')).toHaveLength(1);
    expect(lab.now).toBe(end);
  });

  test('is not begun where nothing is held, nor twice', () => {
    const { lab, recallId } = asked();
    expect(lab.layouts.recallAll(lab.now, 1, fsid, false)).toEqual({ recallId, actions: [] });
    expect(lab.layouts.recallAll(lab.now, 2, all, false)).toBeUndefined();
  });
});

describe('a return of everything that nobody asked for', () => {
  test('ends the recalls of files too', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    const { breakId } = lab.break('unmap', 0, 10);
    const { actions } = expectKind(lab.layouts.returnAll(lab.now, 1, fsid), 'returned');
    expect(actions).toEqual([{ type: 'broken', breakId }]);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('of nothing is fine, and so it is for a client that is fenced', () => {
    const lab = new Lab();
    const nothing = { kind: 'returned', released: [], actions: [] };
    expect(lab.layouts.returnAll(lab.now, 1, all)).toEqual(nothing);
    lab.grant(1, rw, 0, 10);
    lab.layouts.clientLost(lab.now, 1);
    expect(lab.layouts.returnAll(lab.now, 1, all)).toEqual(nothing);
    expect(lab.layouts.holdsAny(1)).toBe(true);
  });
});
