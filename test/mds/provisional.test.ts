/** Blocks that a grant was made with belong to whoever it was given to, whatever else is under way at the same time. */
import { expect, vi } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import type { RawClient } from './raw-client.ts';
import type { Rig } from './rig.ts';
import { test } from './rig-test.ts';

const rw = 2;
const block = 4096;

/** The next mapping for writing is made, but its get goes on only when the test says so. */
function gated(rig: Rig): { readonly mapped: Promise<void>; readonly open: () => void } {
  const { layouts } = rig.lab.fs;
  const map = layouts.mapForWrite.bind(layouts);
  let [made, open] = [(): void => undefined, (): void => undefined];
  const mapped = new Promise<void>((resolve) => (made = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  vi.spyOn(layouts, 'mapForWrite').mockImplementationOnce(async (...args) => {
    const extents = await map(...args);
    made();
    await opened;
    return extents;
  });
  return { mapped, open };
}

/** A file of one block, and a layout of a block far behind it. */
async function holder(rig: Rig): Promise<{ client: RawClient; ino: number; stateid: [number, Uint8Array] }> {
  const client = await rig.client({ owner: 'a' });
  const { ino, stateid } = await client.create('f', Buffer.alloc(block, 1));
  const first = await client.layout(ino, stateid, rw, 8 * block, block);
  return { client, ino, stateid: first.stateid };
}

const provisional = (rig: Rig): number => rig.lab.fs.status().blocks.provisional;

test('a LAYOUTGET that comes to nothing leaves what another one of the same client is about to be granted', async ({
  rig,
}) => {
  const { client, ino, stateid } = await holder(rig);
  const gate = gated(rig);
  const granted = client.layout(ino, stateid, rw, 0, 2 * block, 1);
  await gate.mapped;
  const tooSmall = [ino, stateid, rw, 0, 2 * block, 2 * block, 1, false] satisfies unknown[];
  const status = await client.statusOf(operations.LAYOUTGET, tooSmall, 2);
  gate.open();
  const layout = await granted;
  expect(status).toBe('TOOSMALL');
  expect(provisional(rig)).toBe(2);
  await client.call(operations.LAYOUTCOMMIT, [ino, layout.stateid, [[0, 2 * block]], 2 * block - 1, null, null]);
  const [attr] = await client.call(operations.GETATTR, [ino]);
  expect(attr[6]).toBe(2 * block);
  await client.returnLayout(ino, layout.stateid);
  expect(provisional(rig)).toBe(0);
});

test('a LAYOUTRETURN beside a LAYOUTGET of the same bytes leaves what that is about to be granted', async ({ rig }) => {
  const { client, ino, stateid } = await holder(rig);
  const first = await client.layout(ino, stateid, rw, 0, 2 * block);
  const gate = gated(rig);
  const granted = client.layout(ino, first.stateid, rw, 0, 2 * block, 1);
  await gate.mapped;
  await client.call(operations.LAYOUTRETURN, [1, ino, first.stateid, rw, 0, 2 * block, false], 2);
  gate.open();
  const { stateid: left } = await granted;
  expect(provisional(rig)).toBe(2);
  await client.returnLayout(ino, left);
  expect(provisional(rig)).toBe(0);
});
