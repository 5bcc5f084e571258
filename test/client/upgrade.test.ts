import { expect } from 'vitest';
import { pattern, statusOf, test, until } from './rig.ts';

const block = 4096;

// The server may give their blocks to another file before the client hears of it (docs/protocol.md §7).
test('what is held for reading is not used while a layout for writing is asked for', async ({ rig }) => {
  const holder = await rig.connect();
  const held = await holder.open('f', 'w+');
  await held.write(pattern(block, 1), 0, block, 0);
  await held.sync();
  const file = await (await rig.connect()).open('f', 'r+');
  const buffer = Buffer.alloc(block);
  expect(await file.read(buffer, 0, block, 0)).toMatchObject({ path: 'direct' });
  const layout = await held.layout({ offset: 0, length: block, iomode: 'READ', onRecall: 'ignore' });
  expect(file.readSync(buffer, 0, block, 0)).toBe(block);

  const written = file.write(pattern(block, 2), 0, block, 0);
  await until('the recall', () => rig.server.status().breaks.some(({ reason }) => reason === 'layout'));
  expect(await statusOf(() => file.readSync(buffer, 0, block, 0))).toBe('NOT_CACHED');
  await layout.return();
  expect(await written).toMatchObject({ bytesWritten: block, path: 'direct' });
});
