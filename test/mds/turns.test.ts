import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { asked } from './other-callbacks.ts';
import { test as base } from './rig-test.ts';

const test = base.override({ options: { layoutWaitMs: 100 } });

const read = 1;
const rw = 2;
const block = 4096;

describe('a get that was sent away', () => {
  test('keeps its turn, and is told when it can be served if it wished so', async ({ rig }) => {
    const [holder, writer] = [await rig.client(), await rig.client({ owner: 'writer' })];
    const { ino, stateid } = await holder.create('a', Buffer.alloc(block));
    const { stateid: held } = await holder.layout(ino, stateid, read, 0, block);
    const open = await writer.open(ino);
    const { next } = asked(writer);
    const [kind, length] = [rw, block];
    const get = writer.connection.request([
      0,
      writer.connection.nextXid(),
      writer.session,
      2,
      1,
      false,
      operations.LAYOUTGET.number,
      [ino, open, kind, 0, length, 1, 64, true],
      null,
    ]);
    await holder.connection.recall();
    await holder.call(operations.SEQUENCE, [], 1);
    rig.clock.advance(100);
    const [, , , results] = await get;
    expect(results).toEqual([true]);
    await holder.returnLayout(ino, held, 1);
    expect(await next(0)).toEqual([9, ino]);
    const reader = await rig.client({ owner: 'reader' });
    const reading = reader.layout(ino, await reader.open(ino), read, 0, block, 1);
    expect((await writer.layout(ino, open, rw, 0, block)).segment).toEqual([rw, 0, block]);
    const [of] = await writer.connection.recall();
    await writer.call(operations.LAYOUTRETURN, [1, ino, of, 3, 0, block, false], 1);
    expect((await reading).segment).toEqual([read, 0, block]);
  });
});
