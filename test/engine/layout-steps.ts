/** What a client and the server do with layouts, without the wire between them. Blocks are blocks of the file. */
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { extentState, type FencedSegment, type LayoutExtent } from '../../fs/engine/leases.ts';
import type { Lab } from '../support/filesystem.ts';
import { bs } from './fixture.ts';

export const client = 7;
export const other = 8;

/** [state, first block of the file, blocks] */
export function shape(extents: readonly LayoutExtent[]): [number, number, number][] {
  return extents.map(({ state, offset, length }) => [state, offset / bs, length / bs]);
}

export async function grantWrite(
  lab: Lab,
  ino: number,
  from: number,
  blocks: number,
  to = client,
): Promise<readonly LayoutExtent[]> {
  return lab.fs.layouts.mapForWrite(ino, { offset: from * bs, length: blocks * bs }, to);
}

export async function grantRead(
  lab: Lab,
  ino: number,
  from: number,
  blocks: number,
  to = client,
): Promise<readonly LayoutExtent[]> {
  return lab.fs.layouts.mapForRead(ino, { offset: from * bs, length: blocks * bs }, to);
}

/** The client writes `data` at `offset` of the file, straight to the device, where it may. */
export function dma(fs: Filesystem, extents: readonly LayoutExtent[], offset: number, data: Uint8Array): void {
  for (const extent of extents) {
    if (extent.state === extentState.read) continue;
    const from = Math.max(offset, extent.offset);
    const to = Math.min(offset + data.length, extent.offset + extent.length);
    if (from < to)
      fs.device.write(extent.storageOffset + from - extent.offset, data.subarray(from - offset, to - offset));
  }
}

export function commit(lab: Lab, ino: number, offset: number, length: number, lastWriteOffset?: number, by = client) {
  return lab.fs.layouts.commitLayout(ino, { ranges: [{ offset, length }], lastWriteOffset, mtimeNs: undefined }, by);
}

export async function giveBack(lab: Lab, ino: number, by = client): Promise<void> {
  await lab.fs.layouts.releaseProvisional(ino, { offset: 0, length: Infinity }, by);
}

export const segment = (ino: number, from: number, blocks: number, access: FencedSegment['access']): FencedSegment => ({
  ino,
  offset: from * bs,
  length: blocks * bs,
  access,
});

/** Runs `use` on the filesystem as a crash would leave it now. */
export async function afterCrash<T>(lab: Lab, use: (crashed: Lab) => Promise<T>): Promise<T> {
  const crashed = await lab.afterCrash();
  try {
    return await use(crashed);
  } finally {
    await crashed.remove();
  }
}

/** Where each block of a mapping or of a grant lies. */
export const everyBlock = (extents: readonly { storageOffset: number; length: number }[]): number[] =>
  extents.flatMap(({ storageOffset, length }) => Array.from({ length: length / bs }, (_, i) => storageOffset + i * bs));
