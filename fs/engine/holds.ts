/** Blocks that a fenced client may still touch: held until it is known dead, on the media too (record Q). */
import { encodeHold } from '../format/codec.ts';
import { holdKey } from '../format/keys.ts';
import { limits } from '../limits.ts';
import type { BlockRange } from '../space/space.ts';
import type { ByteRange } from './leases.ts';
import type { Volume } from './volume.ts';

/** Remembers the hold; the space map has been told by the caller or is told by `holdInPlace`. */
export function holdBlocks(v: Volume, range: BlockRange, client: number, access: 'read' | 'write'): void {
  let held = v.holds.get(client);
  if (held === undefined) {
    held = new Map();
    v.holds.set(client, held);
  }
  const known = held.get(range.block);
  const length = Math.max(range.length, known?.length ?? 0);
  held.set(range.block, { block: range.block, length });
  const since = v.clock.now().sec;
  v.changes.record(holdKey(range.block, client), encodeHold({ device: 0, length, access, since }));
}

/** Blocks that stay with their file for now, and go to quarantine instead of free space when it gives them up. */
export function holdInPlace(v: Volume, range: BlockRange, client: number, access: 'read' | 'write'): void {
  v.space.hold(range, client, access);
  holdBlocks(v, range, client, access);
}

/** Bytes of the device, ascending and disjoint. */
export function heldBy(v: Volume, client: number): readonly ByteRange[] {
  const merged: { offset: number; length: number }[] = [];
  const held = [...(v.holds.get(client)?.values() ?? [])].sort((a, b) => a.block - b.block);
  for (const { block, length } of held) {
    const [start, end] = [block * limits.blockSize, (block + length) * limits.blockSize];
    const last = merged.at(-1);
    if (last === undefined || last.offset + last.length < start) merged.push({ offset: start, length: end - start });
    else last.length = Math.max(last.length, end - last.offset);
  }
  return merged;
}

/** The client can touch nothing any more: some of what it held is let go. False: nothing is left. */
export function dropSomeHolds(v: Volume, client: number): boolean {
  const held = v.holds.get(client);
  let count = 0;
  for (const range of held?.values() ?? []) {
    if (count++ === limits.releasedExtentsMax) return true;
    held?.delete(range.block);
    v.space.dropHolds(client, range);
    v.changes.record(holdKey(range.block, client), undefined);
  }
  v.holds.delete(client);
  return false;
}
