import type { BarDevice } from '../../fs/bar/device.ts';

/** What other filesystems and partition tables leave at fixed places (libblkid has the full list). */
const signatures: readonly { readonly name: string; readonly offset: number; readonly bytes: Buffer }[] = [
  { name: 'an ext2, ext3 or ext4 filesystem', offset: 1080, bytes: Buffer.from([0x53, 0xef]) },
  { name: 'an XFS filesystem', offset: 0, bytes: Buffer.from('XFSB') },
  { name: 'a Btrfs filesystem', offset: 65_600, bytes: Buffer.from('_BHRfS_M') },
  { name: 'swap space', offset: 4086, bytes: Buffer.from('SWAPSPACE2') },
  { name: 'a LUKS volume', offset: 0, bytes: Buffer.from([0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]) },
  { name: 'a GPT partition table', offset: 512, bytes: Buffer.from('EFI PART') },
  { name: 'a boot sector or an MBR partition table', offset: 510, bytes: Buffer.from([0x55, 0xaa]) },
];

/** What seems to stand on the device that is not ours. */
export function foreignSignature(device: BarDevice): string | undefined {
  const found = signatures.find(({ offset, bytes }) => {
    if (offset + bytes.length > device.size) return false;
    const there = new Uint8Array(bytes.length);
    device.read(offset, there);
    return bytes.equals(there);
  });
  return found?.name;
}
