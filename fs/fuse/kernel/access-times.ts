/**
 * When reads mark the time of access (mount(8)). The kernel leaves that to the filesystem, since it sets S_NOATIME on
 * every inode of FUSE, and answers reads from pages that it has without asking: so a file whose time of access is due
 * is opened with its pages dropped, and one whose is not keeps them.
 */
import type { Attr, Caller, Timespec } from '../../vfs.ts';

export interface AccessTimes {
  readonly files: Caller['atime'];
  readonly directories: Caller['atime'];
}

/** As the options of the mount say, later ones winning; relatime where they say nothing. */
export function accessTimes(options: readonly string[]): AccessTimes {
  let files: Caller['atime'];
  let directories: Caller['atime'];
  for (const option of options) {
    if (option === 'noatime') files = 'never';
    if (option === 'strictatime') files = 'always';
    if (option === 'relatime' || option === 'atime') files = undefined;
    if (option === 'nodiratime') directories = 'never';
    if (option === 'diratime') directories = undefined;
  }
  return { files, directories: directories ?? files };
}

/** Whether the next read of the file will mark the time of access. */
export function isDue(attr: Attr, atime: Caller['atime']): boolean {
  switch (atime) {
    case 'never':
      return false;
    case 'always':
      return true;
    case undefined:
      return !isBefore(attr.mtime, attr.atime) || !isBefore(attr.ctime, attr.atime);
  }
}

function isBefore(a: Timespec, b: Timespec): boolean {
  return a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec);
}
