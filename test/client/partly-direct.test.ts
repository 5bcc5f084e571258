import { expect } from 'vitest';
import { readAll } from '../support/filesystem.ts';
import { pattern, test, until } from './rig.ts';

const block = 4096;
const [mine, others] = [pattern(2 * block, 1), pattern(block, 2)];

// A layout that is not given back is waited for no longer than this by LAYOUTGET; WRITE waits for it.
test.override({ options: { layoutWaitMs: 20 } });

test('a write that goes on through the server leaves what others wrote over its direct part', async ({ rig }) => {
  const holder = await rig.connect();
  const held = await holder.open('f', 'w+');
  await held.write(Buffer.alloc(2 * block), 0, 2 * block, 0);
  await held.sync();
  const layout = await held.layout({ offset: block, length: block, iomode: 'RW', onRecall: 'ignore' });

  const file = await (await rig.connect()).open('f', 'r+');
  await file.write(mine, 0, block, 0);
  // Its first block is written at once; of the second one it gets no layout.
  const written = file.write(mine, 0, 2 * block, 0);
  const other = await (await rig.connect()).open('f', 'r+');
  await other.write(others, 0, block, 0);
  await other.sync();
  await until('the write through the server', () =>
    rig.server.status().breaks.some(({ reason }) => reason === 'write'),
  );
  await layout.return();
  expect(await written).toMatchObject({ bytesWritten: 2 * block, path: 'server' });
  await file.sync();
  const content = await readAll(rig.lab.vfs, held.ino);
  expect(content.equals(Buffer.concat([others, mine.subarray(block)]))).toBe(true);
});
