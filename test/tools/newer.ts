import { open } from 'node:fs/promises';
import { encodeSuperblock } from '../../fs/format/superblock.ts';

/** Puts the superblocks of a filesystem that a program of the future made on an image of `size` bytes. */
export async function writeNewerSuperblocks(path: string, size: number, formatVersion: number): Promise<void> {
  const block = encodeSuperblock({
    formatVersion,
    compat: 0n,
    roCompat: 0n,
    incompat: 0n,
    blockSize: 4096,
    blockCount: size / 4096,
    uuid: new Uint8Array(16).fill(7),
    label: 'new',
    createdAt: 1,
    mountedAt: 0,
    generation: 1,
    dirty: false,
    volatile: false,
  });
  const image = await open(path, 'r+');
  for (const at of [0, size - 4096]) await image.write(block, 0, block.length, at);
  await image.close();
}
