/** Both superblocks of a device, read and written. */
import type { BarDevice } from '../bar/device.ts';
import { FsError } from '../errors.ts';
import type { ChosenSuperblock, Superblock } from '../format/superblock.ts';
import {
  chooseSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  superblockLocations,
  superblockSize,
} from '../format/superblock.ts';
import { limits } from '../limits.ts';

/** What stands on the device, for those who only look. @throws FsError EINVAL: too small for any */
export function inspectSuperblocks(device: BarDevice): ChosenSuperblock {
  const { copy } = superblockLocations(device.size);
  const first = decodeSuperblock(readBlock(device, 0));
  // The filesystem may end before the device does; without the first block only the device says where the copy is.
  const end = first.kind === 'ok' ? superblockLocations(first.superblock.blockCount * limits.blockSize).copy : copy;
  const readable = end + limits.blockSize <= device.size;
  return chooseSuperblock(first, readable ? decodeSuperblock(readBlock(device, end)) : { kind: 'absent' });
}

/** @throws FsError EINVAL (not formatted, cut short), EUCLEAN (damaged), EOPNOTSUPP (newer) */
export function readSuperblock(device: BarDevice): Superblock {
  const found = inspectSuperblocks(device);
  const { path } = device;
  switch (found.kind) {
    case 'absent':
      throw new FsError('EINVAL', { path, detail: 'not an iopmemfs filesystem; mkfs.iopmemfs makes one' });
    case 'damaged':
      throw new FsError('EUCLEAN', { path, detail: `both superblocks are damaged: ${found.why}` });
    case 'newer':
      throw new FsError('EOPNOTSUPP', {
        path,
        detail: `made by a newer version (format ${found.formatVersion}): use that one`,
      });
    case 'ok':
      if (found.superblock.blockCount * limits.blockSize > device.size) {
        const detail = `the filesystem has ${found.superblock.blockCount} blocks, the device only ${Math.floor(device.size / limits.blockSize)}`;
        throw new FsError('EINVAL', { path, detail });
      }
      return found.superblock;
  }
}

/**
 * The block that is not whole now is written first, so that one of the two is whole at any moment. A device that is larger
 * than its filesystem gets another copy in its last block, where one is looked for if the first is damaged. The first
 * block decides where the filesystem ends: it is written after all copies, so that a change of size is there whole or not.
 * @throws FsError EIO
 */
export async function writeSuperblocks(device: BarDevice, superblock: Superblock): Promise<void> {
  const block = encodeSuperblock(superblock).subarray(0, superblockSize);
  const { first, copy } = superblockLocations(superblock.blockCount * limits.blockSize);
  const copies = new Set([copy, superblockLocations(device.size).copy]);
  const found = inspectSuperblocks(device);
  const order = found.kind === 'ok' && found.repair?.which === 'first' ? [first, ...copies] : [...copies, first];
  for (const at of order) {
    device.write(at, block);
    await device.persist(at, limits.blockSize);
  }
}

function readBlock(device: BarDevice, offset: number): Uint8Array {
  const block = new Uint8Array(limits.blockSize);
  device.read(offset, block);
  return block;
}
