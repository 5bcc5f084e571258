/** What is agreed with the kernel before anything else (FUSE_INIT). Pure. */
import { FsError } from '../../errors.ts';
import { initFlag, initFlag2, version } from './abi.ts';
import type { InitReply } from './encode.ts';
import { kernelLimits } from './limits.ts';
import type { RequestOf } from './request.ts';

/**
 * Taken where the kernel offers it. docs/fuse.md gives the reason for every flag that there is, also for those left out:
 * above all the writeback cache, since the kernel would own sizes and times while peers change files.
 */
const wanted =
  initFlag.asyncRead |
  initFlag.atomicOTrunc |
  initFlag.exportSupport |
  initFlag.bigWrites |
  // Pages go when size or mtime turn out to be new, even if nobody announced the change.
  initFlag.autoInvalData |
  initFlag.doReaddirplus |
  initFlag.readdirplusAuto |
  initFlag.asyncDio |
  initFlag.parallelDirops |
  initFlag.abortError |
  initFlag.maxPages |
  // A symlink's target never changes.
  initFlag.cacheSymlinks |
  // Without it the kernel asks for security.capability before every write (file_remove_privs); see privileges.ts.
  initFlag.handleKillprivV2 |
  initFlag.initExt;

/**
 * The second word: the group that decides whether a new file keeps set-group-ID, names that expire instead of going, and
 * shared mappings of files that are open past the page cache.
 */
const wanted2 = initFlag2.createSuppGroup | initFlag2.hasExpireOnly | initFlag2.directIoAllowMmap;

/**
 * For a Vfs that keeps access control lists: the kernel asks for them to check access, leaves the umask to whoever
 * knows of a default list (DONT_MASK), and says with a new list whether it takes set-group-ID (SETXATTR_EXT).
 */
const wantedForAcls = initFlag.posixAcl | initFlag.dontMask | initFlag.setxattrExt;

/** What later requests depend on. */
export interface Agreed {
  /** SETXATTR has flags of FUSE's own. */
  readonly longSetxattr: boolean;
  /** The umask is the Vfs's to apply. */
  readonly givesUmask: boolean;
}

export function agreedOn(reply: Pick<InitReply, 'flags'>): Agreed {
  return {
    longSetxattr: (reply.flags & initFlag.setxattrExt) !== 0,
    givesUmask: (reply.flags & initFlag.dontMask) !== 0,
  };
}

/**
 * The answer to an INIT. A kernel that speaks a higher major version gets ours and asks again (fuse.h, version
 * negotiation).
 * @throws FsError EPROTO for a kernel older than Linux 5.4
 */
export function negotiate(init: RequestOf<'init'>, hasAcls: boolean): InitReply {
  const major = version.major;
  if (init.major > major) return { major, minor: version.minorMax, maxReadahead: 0, flags: 0, flags2: 0 };
  if (init.major < major || init.minor < version.minorMin) {
    throw new FsError('EPROTO', {
      op: 'init',
      detail: `kernel speaks FUSE ${init.major}.${init.minor}; ${version.major}.${version.minorMin} (Linux 5.4) is needed`,
    });
  }
  // All or nothing: lists without the umask, or without the flag, would be kept wrongly.
  const acls = hasAcls && (init.flags & wantedForAcls) === wantedForAcls ? wantedForAcls : 0;
  return {
    major,
    minor: Math.min(init.minor, version.minorMax),
    maxReadahead: Math.max(init.maxReadahead, kernelLimits.readaheadMax),
    flags: init.flags & (wanted | acls),
    flags2: init.flags & initFlag.initExt ? init.flags2 & wanted2 : 0,
  };
}
