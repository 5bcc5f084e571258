import { describe, expect, test } from 'vitest';
import { actionsOf, any, expectKind, Lab, only, read, rw } from './lab.ts';

describe('one writer or many readers for any byte (RFC 5663 §2.3, RFC 8881 §12.2.10)', () => {
  test('READ and READ of different clients overlap', () => {
    const lab = new Lab();
    for (const client of [1, 2, 3]) lab.grant(client, read, 0, 100);
    expect(lab.layouts.held()).toHaveLength(3);
  });

  test.each([
    ['RW', 'RW', rw, rw],
    ['RW', 'READ', rw, read],
    ['READ', 'RW', read, rw],
  ])('%s keeps %s of another client waiting where they overlap, and only there', (_held, _asked, held, asked) => {
    const lab = new Lab();
    lab.grant(1, held, 100, 100);
    lab.grant(2, asked, 0, 100);
    lab.grant(2, asked, 200, 100);
    expect(lab.get(2, asked, 199, 1).kind).toBe('conflict');
    expect(lab.get(3, asked, 50, 51).kind).toBe('conflict');
  });

  test('a client never conflicts with itself', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 100);
    lab.grant(1, rw, 50, 100);
    lab.grant(1, read, 0, 200);
    expect(lab.segments(1)).toEqual(['read 0+200', 'rw 50+100']);
  });

  test('a reserved grant conflicts before it is confirmed', () => {
    const lab = new Lab();
    lab.reserve(1, rw, 0, 10);
    const { actions } = lab.wait(2, read, 0, 10);
    expect(actions).toEqual([]);
  });

  test('files do not conflict with each other', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, Infinity);
    expect(lab.grant(2, rw, 0, Infinity, { ino: 2 }).seqid).toBe(1);
  });

  test('a length of Infinity reaches every offset', () => {
    const lab = new Lab();
    lab.grant(1, rw, 10, Infinity);
    expect(lab.get(2, read, Number.MAX_SAFE_INTEGER - 1, 1).kind).toBe('conflict');
    expect(lab.get(2, read, 0, 10).kind).toBe('reserved');
  });
});

describe('a get that conflicts', () => {
  test('recalls what is in its way, waits for `broken`, asks again and gets it', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    const { breakId, actions } = lab.wait(2, read, 50, 100);
    expect(only(actions, 'recall')).toMatchObject({ client: 1, offset: 50, length: 50, changed: false });
    expect(lab.giveBack(1, any, 50, 50)).toEqual([{ type: 'broken', breakId }]);
    lab.confirm(2, lab.reserve(2, read, 50, 100, {}, breakId));
    expect(lab.layouts.endBreak(lab.now, breakId)).toEqual([]);
    expect(lab.segments(2)).toEqual(['read 50+100']);
  });

  test('for reading recalls RW only, for writing all', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 100);
    lab.grant(1, rw, 0, 100);
    const forReading = lab.wait(2, read, 0, 100);
    expect(only(forReading.actions, 'recall').iomode).toBe(rw);
    const forWriting = lab.wait(3, rw, 0, 100);
    expect(only(forWriting.actions, 'recall').iomode).toBe(read);
  });

  test('while its break covers the range, others cannot slip in: a waiting writer is not starved by new readers', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    const writer = lab.wait(2, rw, 0, 10);
    const reader = lab.wait(3, read, 0, 10);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([{ type: 'broken', breakId: writer.breakId }]);
    expect(lab.get(4, read, 5, 1).kind).toBe('conflict');
    lab.confirm(2, lab.reserve(2, rw, 0, 10, {}, writer.breakId));
    expect(lab.layouts.endBreak(lab.now, writer.breakId)).toEqual([]);
    expect(lab.giveBack(2, any, 0, 10).map((action) => action.type === 'broken' && action.breakId)).toContain(
      reader.breakId,
    );
  });

  test('those who wait are served in the order in which they came', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const queue = [1, 2, 3, 4].map((client) => ({ client, ...lab.wait(client, rw, 0, 10) }));
    let served = only(lab.giveBack(9, any, 0, 10), 'broken').breakId;
    for (const [index, { client, breakId }] of queue.entries()) {
      expect(served).toBe(breakId);
      const actions = lab.confirm(client, lab.reserve(client, rw, 0, 10, {}, breakId));
      expect(lab.layouts.endBreak(lab.now, breakId)).toEqual([]);
      if (index === queue.length - 1) break;
      expect(only(actions, 'recall').client).toBe(client);
      served = only(lab.giveBack(client, any, 0, 10), 'broken').breakId;
    }
  });

  test('readers that wait for one writer are all served at once', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const ids = [1, 2, 3].map((client) => lab.wait(client, read, 0, 10).breakId);
    expect(actionsOf(lab.giveBack(9, any, 0, 10), 'broken').map(({ breakId }) => breakId)).toEqual(ids);
  });

  test('a get that gives up lets the next one through', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const first = lab.wait(1, rw, 0, 10);
    const second = lab.wait(2, rw, 0, 10);
    expect(only(lab.giveBack(9, any, 0, 10), 'broken').breakId).toBe(first.breakId);
    expect(lab.layouts.endBreak(lab.now, first.breakId)).toEqual([{ type: 'broken', breakId: second.breakId }]);
  });

  test('a get whose time has come but that meets an operation keeps its place in the queue', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const first = lab.wait(1, rw, 0, 10);
    const second = lab.wait(2, rw, 0, 10);
    const operation = lab.break('unmap', 5, 1);
    expect(lab.giveBack(9, any, 0, 10)).toEqual([{ type: 'broken', breakId: operation.breakId }]);
    const again = lab.wait(1, rw, 0, 10, first.breakId);
    lab.layouts.endBreak(lab.now, first.breakId);
    expect(lab.layouts.endBreak(lab.now, operation.breakId)).toEqual([{ type: 'broken', breakId: again.breakId }]);
    lab.reserve(1, rw, 0, 10, {}, again.breakId);
    expect(lab.get(2, rw, 0, 10, {}, second.breakId).kind).toBe('conflict');
  });

  test('two readers that both want to write do not wait for each other for ever', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    lab.grant(2, read, 0, 10);
    const first = lab.wait(1, rw, 0, 10);
    expect(only(first.actions, 'recall').client).toBe(2);
    expect(lab.refusal(lab.get(2, rw, 0, 10))).toBe('RECALLCONFLICT');
    expect(lab.giveBack(2, any, 0, 10)).toEqual([{ type: 'broken', breakId: first.breakId }]);
  });

  test('a client that is being recalled gets RECALLCONFLICT on that range, and grants elsewhere (RFC 8881 §12.5.5.2)', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    lab.break('share', 0, 50);
    expect(lab.refusal(lab.get(1, read, 49, 2))).toBe('RECALLCONFLICT');
    expect(lab.get(1, read, 50, 10).kind).toBe('reserved');
  });
});

describe('insert, then look again', () => {
  test('an operation that began while the mapping was made gets the grant dropped', () => {
    const lab = new Lab();
    const grant = lab.reserve(1, rw, 0, 10);
    const { breakId, actions } = lab.break('unmap', 0, 10);
    expect(actions).toEqual([]);
    expect(lab.layouts.confirm(lab.now, grant)).toEqual({ kind: 'recalled', actions: [{ type: 'broken', breakId }] });
    expect(lab.segments(1)).toEqual([]);
    expect(lab.layouts.holdsAny(1)).toBe(false);
  });

  test('an operation that the grant does not hurt leaves it alone', () => {
    const lab = new Lab();
    lab.grant(2, rw, 0, 10);
    const grant = lab.reserve(1, read, 20, 10);
    lab.break('share', 0, 30);
    expect(lab.layouts.confirm(lab.now, grant).kind).toBe('granted');
  });

  test('so does a get of another client, if the grant did not have to wait itself', () => {
    const lab = new Lab();
    const grant = lab.reserve(1, rw, 0, 10);
    const { breakId } = lab.wait(2, rw, 0, 10);
    expect(lab.layouts.confirm(lab.now, grant)).toEqual({ kind: 'recalled', actions: [{ type: 'broken', breakId }] });
  });

  test('a grant that waited its turn is not robbed by later gets, else two clients could drop each other for ever', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const { breakId } = lab.wait(1, rw, 0, 10);
    lab.giveBack(9, any, 0, 10);
    const grant = lab.reserve(1, rw, 0, 10, {}, breakId);
    lab.layouts.endBreak(lab.now, breakId);
    expect(lab.wait(2, rw, 0, 10).actions).toEqual([]);
    const granted = expectKind(lab.layouts.confirm(lab.now, grant), 'granted');
    const recall = only(granted.actions, 'recall');
    expect(recall).toMatchObject({ client: 1, offset: 0, length: 10 });
    expect(recall.stateid.seqid).toBe(granted.stateid.seqid + 1);
  });

  test('no recall crosses a grant that is on its way: the client would return what it is about to receive', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 5);
    lab.grant(9, rw, 5, 5);
    const { breakId } = lab.wait(1, rw, 0, 10);
    lab.giveBack(9, any, 5, 5);
    const grant = lab.reserve(1, rw, 0, 10, {}, breakId);
    expect(lab.wait(2, rw, 0, 10).actions).toEqual([]);
    expect(only(lab.confirm(1, grant), 'recall')).toMatchObject({ offset: 0, length: 10 });
  });

  test('nor by the recall of what the same client writes there, when it waited to read as well', () => {
    const lab = new Lab();
    lab.grant(9, rw, 0, 10);
    const [toWrite, toRead] = [lab.wait(1, rw, 0, 10), lab.wait(1, read, 0, 10)];
    lab.giveBack(9, any, 0, 10);
    const writing = lab.reserve(1, rw, 0, 10, {}, toWrite.breakId);
    const reading = lab.reserve(1, read, 0, 10, {}, toRead.breakId);
    for (const { breakId } of [toWrite, toRead]) lab.layouts.endBreak(lab.now, breakId);
    lab.wait(3, read, 0, 10);
    expect(only(lab.confirm(1, writing), 'recall')).toMatchObject({ client: 1, iomode: rw });
    expect(lab.confirm(1, reading)).toEqual([]);
  });

  test('a recall that is still out drops the grant that it may have crossed, though its operation gave up', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    const grant = lab.reserve(1, rw, 0, 20);
    const { breakId } = lab.break('unmap', 0, 10);
    lab.layouts.endBreak(lab.now, breakId);
    expect(lab.layouts.confirm(lab.now, grant)).toEqual({ kind: 'recalled', actions: [] });
    expect(lab.segments(1)).toEqual(['rw 0+10']);
  });

  test('a waiting break is over when the reservation in its way is cancelled', () => {
    const lab = new Lab();
    const grant = lab.reserve(1, rw, 0, 10);
    const { breakId } = lab.break('write', 0, 10);
    expect(lab.layouts.cancel(lab.now, grant)).toEqual([{ type: 'broken', breakId }]);
  });
});
