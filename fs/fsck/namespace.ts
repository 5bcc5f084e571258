/** Passes 2 to 4: inodes, the tree that the directory entries make of them, and the link counts that follow from it. */
import { decodeCounts, decodeDentry, decodeInode, decodeOrphan, decodeXattr } from '../format/codec.ts';
import {
  countsRange,
  dentryRange,
  inodeRange,
  orphanRange,
  parseDentryKey,
  parseXattrKey,
  xattrRange,
} from '../format/keys.ts';
import { INODE_SNAPSHOTS } from '../format/records.ts';
import { directoryOfSnapshots, isSnapshotsIno } from '../format/snapshots.ts';
import { limits } from '../limits.ts';
import { nameToText } from '../name.ts';
import { type CheckContext, depthMax, rootIno } from './context.ts';
import { type IndexedInode, isDirectory, isOfSnapshot, typeOf } from './inode-index.ts';

/** Cookies 0 to 2 are the start of a listing, '.' and '..'. */
const firstCookie = 3;

/** Pass 2. */
export async function checkInodes(check: CheckContext): Promise<void> {
  for await (const inode of check.records(2, inodeRange(), decodeInode)) {
    check.inodes.add(inode);
    if (inode.ino >= check.nextIno) {
      await check.report(
        2,
        'inode-number',
        inode.ino,
        `number is not below the next one to be given, ${check.nextIno}`,
      );
    }
    if (inode.size > limits.fileSizeMax) {
      await check.report(2, 'file-size', inode.ino, `size ${inode.size} is above the largest, ${limits.fileSizeMax}`);
    }
  }
  // Counts of another generation were left by a program that keeps none: the next mount counts anew.
  for await (const { generation, inodes } of check.records(2, countsRange(), decodeCounts)) {
    if (generation !== check.generation || inodes === check.inodes.length) continue;
    const detail = `${inodes} inodes are counted in the metadata store, there are ${check.inodes.length}`;
    await check.report(2, 'inode-count', undefined, detail);
  }
  const root = check.inodes.get(rootIno);
  if (root === undefined || !isDirectory(root)) {
    await check.report(2, 'root', rootIno, 'there is no root directory');
  } else if (root.parent !== rootIno) {
    await check.report(2, 'root', rootIno, `the parent of the root is inode ${root.parent}`);
  }
  for await (const ino of check.records(
    2,
    xattrRange(),
    (key, value) => (decodeXattr(key, value), parseXattrKey(key).ino),
  )) {
    if (check.inodes.get(ino) === undefined) {
      await check.report(2, 'xattr', ino, 'has an extended attribute and does not exist');
    }
  }
}

/** Pass 3. */
export async function checkDirectories(check: CheckContext): Promise<void> {
  await checkEntries(check);
  await checkParents(check);
  await checkConnected(check);
}

async function checkEntries(check: CheckContext): Promise<void> {
  let current = 0;
  let cookies = new Set<number>();
  const entries = check.records(3, dentryRange(), (key, value) => ({
    ...parseDentryKey(key),
    ...decodeDentry(key, value),
  }));
  for await (const { parent, name, ino, type, cookie } of entries) {
    const text = JSON.stringify(nameToText(name));
    if (parent !== current) {
      current = parent;
      cookies = new Set();
    }
    if (cookie < firstCookie || cookies.has(cookie)) {
      await check.report(3, 'cookie', parent, `entry ${text} has the listing position ${cookie}, taken or reserved`);
    }
    cookies.add(cookie);
    const ofSnapshots = isSnapshotsIno(parent);
    const directory = check.inodes.get(ofSnapshots ? directoryOfSnapshots(parent) : parent);
    if (directory === undefined || !isDirectory(directory)) {
      await check.report(3, 'parent', parent, `has an entry ${text} and is not a directory`);
      continue;
    }
    const inode = check.inodes.get(ino);
    if (inode === undefined) {
      await check.report(3, 'dangling-entry', parent, `entry ${text} leads to inode ${ino}, which does not exist`);
      continue;
    }
    if (typeOf(inode) !== type) {
      const [has, is] = [type.toString(8), typeOf(inode).toString(8)];
      await check.report(3, 'entry-type', parent, `entry ${text} says type 0${has}, inode ${ino} is of type 0${is}`);
    }
    if (ofSnapshots) await checkSnapshot(check, inode, directory, text);
    else if (isOfSnapshot(inode) !== isOfSnapshot(directory)) {
      const [is, isNot] = isOfSnapshot(inode) ? [ino, parent] : [parent, ino];
      const detail = `entry ${text}: inode ${is} is part of a snapshot, inode ${isNot} is not`;
      await check.report(3, 'snapshot', parent, detail);
    }
    if (ofSnapshots) check.inodes.addSnapshot(inode, directory);
    else check.inodes.addName(inode, directory);
  }
}

/** A snapshot is a directory that never changes; the one that it is of says that there are some. */
async function checkSnapshot(
  check: CheckContext,
  root: IndexedInode,
  directory: IndexedInode,
  text: string,
): Promise<void> {
  if (!isDirectory(root) || !isOfSnapshot(root))
    await check.report(3, 'snapshot', root.ino, `snapshot ${text} of inode ${directory.ino} is not marked as one`);
  if ((directory.flags & INODE_SNAPSHOTS) === 0 || isOfSnapshot(directory))
    await check.report(3, 'snapshot', directory.ino, `has a snapshot ${text} and does not say so`);
}

async function checkParents(check: CheckContext): Promise<void> {
  for (const inode of check.inodes.all()) {
    if (!isDirectory(inode) || inode.ino === rootIno) continue;
    const names = check.inodes.namesOf(inode);
    if (names > 1) await check.report(3, 'two-parents', inode.ino, `the directory has ${names} names`);
    const found = check.inodes.foundIn(inode);
    if (names === 1 && found !== inode.parent) {
      await check.report(3, 'parent', inode.ino, `says its parent is inode ${inode.parent}, but is in inode ${found}`);
    }
  }
}

/** Every inode is reached from the root, or is recorded as one that was open without a name. */
async function checkConnected(check: CheckContext): Promise<void> {
  const orphans = new Set<number>();
  for await (const { ino } of check.records(3, orphanRange(), decodeOrphan)) {
    orphans.add(ino);
    const inode = check.inodes.get(ino);
    if (inode === undefined) await check.report(3, 'orphan', ino, 'is recorded as an orphan and does not exist');
    else if (check.inodes.namesOf(inode) > 0)
      await check.report(3, 'orphan', ino, 'is recorded as an orphan and has a name');
  }
  // What is below an orphan is a tree on its way in or out.
  const reached = new Set<number>([rootIno, ...orphans]);
  for (const inode of check.inodes.all()) {
    if (inode.ino === rootIno || orphans.has(inode.ino)) continue;
    if (check.inodes.namesOf(inode) === 0) {
      await check.report(3, 'disconnected', inode.ino, 'has no name and is not recorded as an orphan');
    } else if (isDirectory(inode) && !leadsToRoot(check, inode, reached)) {
      await check.report(3, 'disconnected', inode.ino, 'the way up does not end at the root');
    }
  }
}

/** `reached` remembers the directories that do, so that every one is climbed once. */
function leadsToRoot(check: CheckContext, from: IndexedInode, reached: Set<number>): boolean {
  const climbed: number[] = [];
  for (let at: IndexedInode | undefined = from; at !== undefined; at = check.inodes.above(at)) {
    if (reached.has(at.ino)) {
      for (const ino of climbed) reached.add(ino);
      return true;
    }
    if (climbed.push(at.ino) > depthMax) return false;
  }
  return false;
}

/** Pass 4: a directory has two links and one for each directory in it, anything else one for each name. */
export async function checkLinks(check: CheckContext): Promise<void> {
  for (const inode of check.inodes.all()) {
    const names = check.inodes.namesOf(inode);
    const removed = names === 0 && inode.ino !== rootIno;
    const links = removed ? 0 : isDirectory(inode) ? 2 + check.inodes.subdirectoriesOf(inode) : names;
    if (inode.nlink !== links) {
      await check.report(4, 'link-count', inode.ino, `has link count ${inode.nlink}, should be ${links}`);
    }
  }
}
