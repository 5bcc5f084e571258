/**
 * The snapshots of a directory are the entries of a directory of their own, `.snapshots`, which has no record: its number
 * follows from that of the directory, which never reaches this far by itself.
 */
import { type Name, nameFromText } from '../name.ts';

/** Found by lookup in every directory that is not part of a snapshot, never listed. */
export const snapshotsName: Name = nameFromText('.snapshots');

const base = 2 ** 52;

/** Number of the directory that holds the snapshots of `directory`. */
export function snapshotsIno(directory: number): number {
  return base + directory;
}

/** Not beyond: a directory of snapshots has none itself, and whoever hands in a number may hand in any. */
export function isSnapshotsIno(ino: number): boolean {
  return ino >= base && ino < 2 * base;
}

/** The directory whose snapshots it holds. */
export function directoryOfSnapshots(ino: number): number {
  return ino - base;
}
