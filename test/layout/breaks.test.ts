import { describe, expect, test } from 'vitest';
import { actionsOf, any, Lab, only, read, rw } from './lab.ts';

/** Client 1 reads and writes [0, 100), and reads [100, 200). */
function withLayouts(): Lab {
  const lab = new Lab();
  lab.grant(1, rw, 0, 100);
  lab.grant(1, read, 0, 200);
  return lab;
}

describe('what an operation breaks', () => {
  test('write: every layout of other clients, for their contents are out of date', () => {
    const { actions } = withLayouts().break('write', 50, 100, 2);
    expect(only(actions, 'recall')).toMatchObject({ client: 1, iomode: any, offset: 50, length: 100, changed: false });
  });

  test('write: not the layouts of the client that writes', () => {
    const lab = withLayouts();
    expect(lab.layouts.break(lab.now, { ino: 1, offset: 0, length: 200, reason: 'write', client: 1 })).toBeUndefined();
  });

  test('write: a server-side caller is no client, so that all layouts go', () => {
    expect(withLayouts().break('write', 0, 10).actions).toHaveLength(1);
  });

  test("unmap: every layout, the caller's own too, and the client is told that the blocks move", () => {
    const { actions } = withLayouts().break('unmap', 150, Infinity, 1);
    expect(only(actions, 'recall')).toMatchObject({ client: 1, iomode: any, offset: 150, length: 50, changed: true });
  });

  test("share: layouts for writing go, the caller's own too, those for reading stay", () => {
    const lab = withLayouts();
    const { breakId, actions } = lab.break('share', 0, Infinity, 1);
    expect(only(actions, 'recall')).toMatchObject({ iomode: rw, offset: 0, length: 100, changed: false });
    expect(lab.giveBack(1, rw, 0, 100)).toEqual([{ type: 'broken', breakId }]);
    expect(lab.segments(1)).toEqual(['read 0+200']);
  });

  test('nothing conflicts: no break, and nothing has changed', () => {
    const lab = withLayouts();
    const before = lab.layouts.held();
    for (const [reason, offset] of [
      ['share', 100],
      ['write', 200],
      ['unmap', 200],
    ] as const) {
      expect(lab.layouts.break(lab.now, { ino: 1, offset, length: 50, reason, client: undefined })).toBeUndefined();
    }
    expect(
      lab.layouts.break(lab.now, { ino: 1, offset: 0, length: 0, reason: 'unmap', client: undefined }),
    ).toBeUndefined();
    expect(
      lab.layouts.break(lab.now, { ino: 9, offset: 0, length: 9, reason: 'unmap', client: undefined }),
    ).toBeUndefined();
    expect(lab.layouts.held()).toEqual(before);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('it asks every holder, each for what it holds of the range', () => {
    const lab = new Lab();
    for (const client of [1, 2, 3]) lab.grant(client, rw, client * 100, 50);
    const recalls = actionsOf(lab.break('unmap', 120, 200).actions, 'recall');
    expect(recalls.map(({ client, offset, length }) => [client, offset, length])).toEqual([
      [1, 120, 30],
      [2, 200, 50],
      [3, 300, 20],
    ]);
  });

  test('a recall carries the next seqid of the state', () => {
    const lab = withLayouts();
    expect(only(lab.break('unmap', 0, 10).actions, 'recall').stateid).toEqual({ ...lab.stateid(1), seqid: 3 });
  });
});

describe('a break', () => {
  test('keeps new grants off its range until it ends, also when it is broken already', () => {
    const lab = withLayouts();
    const { breakId } = lab.break('unmap', 0, 10);
    expect(lab.get(2, read, 5, 1).kind).toBe('conflict');
    lab.giveBack(1, any, 0, Infinity);
    const { breakId: waiting } = lab.wait(3, read, 9, 1);
    expect(lab.get(3, read, 10, 1).kind).toBe('reserved');
    expect(actionsOf(lab.layouts.endBreak(lab.now, breakId), 'broken').map((action) => action.breakId)).toContain(
      waiting,
    );
  });

  test('is broken exactly once, when the last holder is done', () => {
    const lab = new Lab();
    for (const client of [1, 2]) lab.grant(client, read, 0, 10);
    const { breakId } = lab.break('unmap', 0, 10);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([]);
    expect(lab.giveBack(2, any, 0, 4)).toEqual([]);
    expect(lab.giveBack(2, any, 4, 6)).toEqual([{ type: 'broken', breakId }]);
    expect(lab.layouts.endBreak(lab.now, breakId)).toEqual([]);
    expect(lab.layouts.endBreak(lab.now, breakId)).toEqual([]);
  });

  test('once broken is not reported again when an operation comes and goes beside it', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 20);
    const { breakId } = lab.wait(2, rw, 0, 10);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([{ type: 'broken', breakId }]);
    const operation = lab.break('unmap', 0, 20);
    expect(lab.layouts.endBreak(lab.now, operation.breakId)).toEqual([]);
  });

  test('that overlaps an outstanding recall sends no second one for the same bytes; it waits for the same', () => {
    const lab = withLayouts();
    const first = lab.break('write', 0, 100);
    const second = lab.break('unmap', 20, 10);
    expect(second.actions).toEqual([]);
    expect(lab.giveBack(1, any, 20, 10)).toEqual([{ type: 'broken', breakId: second.breakId }]);
    expect(only(lab.giveBack(1, any, 0, 100), 'broken').breakId).toBe(first.breakId);
  });

  test('that needs more than is being recalled asks for the rest', () => {
    const lab = withLayouts();
    lab.break('write', 50, 10);
    const recalls = actionsOf(lab.break('write', 0, 200).actions, 'recall');
    expect(recalls.map(({ iomode, offset, length }) => [iomode, offset, length])).toEqual([
      [any, 0, 50],
      [any, 60, 140],
    ]);
  });

  test('that needs READ layouts too asks only for these where RW ones are being recalled', () => {
    const lab = withLayouts();
    lab.break('share', 0, 50);
    const recalls = actionsOf(lab.break('unmap', 0, 50).actions, 'recall');
    expect(recalls.map(({ iomode, offset, length }) => [iomode, offset, length])).toEqual([[read, 0, 50]]);
  });

  test('that ends early leaves its recalls running, for they cannot be taken back', () => {
    const lab = withLayouts();
    const { breakId, actions } = lab.break('unmap', 0, 10);
    lab.layouts.endBreak(lab.now, breakId);
    expect(lab.refusal(lab.get(1, read, 0, 10))).toBe('RECALLCONFLICT');
    expect(lab.layouts.recallReply(lab.now, only(actions, 'recall').recallId, 'nomatching')).toHaveLength(1);
    expect(lab.get(1, read, 0, 10).kind).toBe('reserved');
  });

  test('in another file is another matter', () => {
    const lab = withLayouts();
    lab.break('unmap', 0, Infinity);
    expect(lab.grant(1, rw, 0, 10, { ino: 2 }).seqid).toBe(1);
  });
});
