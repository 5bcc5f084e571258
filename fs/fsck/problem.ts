/** What a check found, in a form for programs and one for people. */
export type Pass = 1 | 2 | 3 | 4 | 5 | 6;

export const passTitles: Readonly<Record<Pass, string>> = {
  1: 'Checking superblocks and binding',
  2: 'Checking inodes',
  3: 'Checking directory structure and connectivity',
  4: 'Checking link counts',
  5: 'Checking extents',
  6: 'Checking quotas',
};

export type ProblemCode =
  | 'superblock'
  | 'binding'
  | 'bad-record'
  | 'inode-number'
  | 'inode-count'
  | 'file-size'
  | 'root'
  | 'parent'
  | 'dangling-entry'
  | 'entry-type'
  | 'cookie'
  | 'two-parents'
  | 'snapshot'
  | 'disconnected'
  | 'orphan'
  | 'xattr'
  | 'link-count'
  | 'extent-owner'
  | 'out-of-bounds'
  | 'file-overlap'
  | 'cut'
  | 'beyond-eof'
  | 'shared-blocks'
  | 'provisional'
  | 'pinned'
  | 'quarantine'
  | 'quota';

export interface Problem {
  readonly pass: Pass;
  readonly code: ProblemCode;
  readonly ino: number | undefined;
  /** From the root, where the inode has a name. */
  readonly path: string | undefined;
  /** What was found, with ranges and values. */
  readonly detail: string;
}

/** `inode 18 (/a/b): …` */
export function problemText({ ino, path, detail }: Problem): string {
  if (ino === undefined) return detail;
  return path === undefined ? `inode ${ino}: ${detail}` : `inode ${ino} (${path}): ${detail}`;
}
