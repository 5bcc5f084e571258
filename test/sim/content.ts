/** What files of the simulation hold: sectors that each say one value in every word, and what programs did to them. */
import { sectorSize } from './dma.ts';
import type { History, Value } from './history.ts';

/** Sectors of a file that are used, two to a block. */
export const sectorsPerFile = 16;
export const usedBytes = sectorsPerFile * sectorSize;

export const names: readonly [string, ...string[]] = ['a', 'b', 'c'];

export function bytesOf(values: readonly Value[]): Buffer {
  const bytes = Buffer.alloc(values.length * sectorSize);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (const [index, value] of values.entries()) {
    words.fill(value, (index * sectorSize) / 4, ((index + 1) * sectorSize) / 4);
  }
  return bytes;
}

/** Of so many sectors; -1: words of more than one value. What is missing at the end reads as zeros. */
export function valuesOf(bytes: Buffer, count: number): Value[] {
  return Array.from({ length: count }, (_, index) =>
    valueOf(bytes.subarray(index * sectorSize, (index + 1) * sectorSize)),
  );
}

function valueOf(sector: Buffer): Value {
  if (sector.length === 0) return 0;
  const value = sector.length < 4 ? -1 : sector.readUInt32LE(0);
  // Equal to itself moved on by a word: all words are the same.
  return sector.subarray(4).equals(sector.subarray(0, sector.length - 4)) ? value : -1;
}

export const registerOf = (ino: number, sector: number): string => `${ino}/${sector}`;

export const zeros = (count: number): Value[] => Array.from({ length: count }, () => 0);

/** Ends an operation; `lagsFrom`: from this sector on it need not see what others have not synced. */
export type End = (seen?: readonly Value[], lagsFrom?: number) => void;

/** Begins an operation on several sectors of a file. */
export function begin(
  history: History,
  kind: 'write' | 'read' | 'sync' | 'told' | 'cut',
  who: string,
  ino: number,
  first: number,
  values: readonly Value[],
): End {
  const ends = values.map((value, index) => history.begin(kind, who, registerOf(ino, first + index), value));
  return (seen, lagsFrom = Infinity) => {
    for (const [index, end] of ends.entries()) end(seen?.[index], index >= lagsFrom);
  };
}

export function beginSync(history: History, who: string, ino: number): End {
  return begin(history, 'sync', who, ino, 0, zeros(sectorsPerFile));
}

/** Something that it did with the file failed. */
export function tell(history: History, who: string, ino: number): void {
  begin(history, 'told', who, ino, 0, zeros(sectorsPerFile))();
}

/** What was read of `seen` bytes holds for their sectors; past the end of the file a peer may have what it has not synced. */
export const sectorsIn = (bytes: number): number => Math.ceil(bytes / sectorSize);
