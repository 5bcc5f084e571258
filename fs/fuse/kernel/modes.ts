/** Flags of system calls, as the one mode that they mean together. */
import { FsError } from '../../errors.ts';
import type { FallocateMode, RenameMode } from '../../vfs.ts';
import { fallocateFlag, renameFlag } from './abi.ts';

/** renameat2(2): unknown flags, and RENAME_EXCHANGE with others, are EINVAL. */
export function renameMode(flags: number): RenameMode {
  switch (flags) {
    case 0:
      return 'replace';
    case renameFlag.noreplace:
      return 'noreplace';
    case renameFlag.exchange:
      return 'exchange';
    case renameFlag.whiteout:
      return 'whiteout';
    case renameFlag.whiteout | renameFlag.noreplace:
      return 'noreplace-whiteout';
    default:
      throw new FsError('EINVAL', { op: 'rename', detail: `flags ${flags}` });
  }
}

/** fallocate(2): PUNCH_HOLE goes only with KEEP_SIZE; what is not known is EOPNOTSUPP. */
export function fallocateMode(flags: number): FallocateMode {
  switch (flags) {
    case 0:
      return 'allocate';
    case fallocateFlag.keepSize:
      return 'allocate-keep-size';
    case fallocateFlag.punchHole | fallocateFlag.keepSize:
      return 'punch';
    case fallocateFlag.zero:
      return 'zero';
    case fallocateFlag.zero | fallocateFlag.keepSize:
      return 'zero-keep-size';
    case fallocateFlag.collapse:
      return 'collapse';
    case fallocateFlag.insert:
      return 'insert';
    default:
      throw new FsError('EOPNOTSUPP', { op: 'fallocate', detail: `mode ${flags}` });
  }
}
