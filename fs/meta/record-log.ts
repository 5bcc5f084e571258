/**
 * Records one behind the other in chunks of memory outside the heap. What is replaced or deleted leaves a gap; a chunk with
 * nothing but gaps is given back, and one with many lends itself to be emptied into a new one. A record is called by the
 * number of its first word, never 0.
 *
 *     word 0   length of the value (13 bits), of the name (8 bits), used, gone
 *     word 1   number, lower half        word 2   upper half
 *     then the bytes of the name and of the value, and up to three to the next word
 */
import { assert } from '../errors.ts';

const chunkBits = 16;
export const chunkWords = 2 ** chunkBits;
const headWords = 3;
const valueBits = 13;
const nameBits = 8;
const used = 2 ** (valueBits + nameBits);
const gone = used * 2;

/** Longest value: an inode with the longest target of a symlink fits. */
export const valueMax = 2 ** valueBits - 1;

class Chunk {
  readonly words = new Uint32Array(chunkWords);
  readonly bytes = new Uint8Array(this.words.buffer);
  /** Words taken from the start; no record is at 0. */
  end = 1;
  /** Words of records that are not gone. */
  live = 0;
}

export class RecordLog {
  readonly #chunks: (Chunk | undefined)[] = [new Chunk()];
  readonly #unused: number[] = [];
  /** The chunk that grows. */
  #head = 0;
  /** Where the search for a chunk to give up was. */
  #hand = 0;

  get bytes(): number {
    return (this.#chunks.length - this.#unused.length) * chunkWords * 4;
  }

  /** Whether the chunk that grows has room for a record. */
  hasRoom(nameLength: number, valueLength: number): boolean {
    return this.#chunk(this.#head).end + wordsOf(nameLength, valueLength) <= chunkWords;
  }

  /** Begins a new chunk. */
  open(): void {
    const number = this.#unused.pop() ?? this.#chunks.length;
    this.#chunks[number] = new Chunk();
    this.#head = number;
  }

  /** A chunk of which at least a quarter is gaps, the one with the most; -1: there is none. */
  withGaps(): number {
    let [found, least] = [-1, chunkWords * 0.75];
    for (let number = 0; number < this.#chunks.length; number++) {
      const live = this.#chunks[number]?.live ?? chunkWords;
      if (live > least || number === this.#head) continue;
      [found, least] = [number, live];
    }
    return found;
  }

  /** Each in turn, but for the one that grows; -1: there is no other. */
  oldest(): number {
    for (let tries = this.#chunks.length; tries > 0; tries--) {
      this.#hand = (this.#hand + 1) % this.#chunks.length;
      if (this.#hand !== this.#head && this.#chunks[this.#hand] !== undefined) return this.#hand;
    }
    return -1;
  }

  /** Gives a chunk back. */
  release(number: number): void {
    this.#chunks[number] = undefined;
    this.#unused.push(number);
  }

  /** The records of a chunk that are not gone; they may go meanwhile. */
  *in(number: number): Generator<number> {
    const chunk = this.#chunk(number);
    for (let at = 1; at < chunk.end; ) {
      const head = chunk.words[at] ?? 0;
      const length = wordsOf(nameLengthOf(head), head & valueMax);
      if ((head & gone) === 0) yield number * chunkWords + at;
      at += length;
    }
  }

  /** Where there is room. The name are the bytes of `key` from `nameAt` on. */
  append(low: number, high: number, key: Uint8Array, nameAt: number, value: Uint8Array): number {
    const chunk = this.#chunk(this.#head);
    const at = chunk.end;
    const nameLength = key.length - nameAt;
    chunk.words[at] = value.length | (nameLength << valueBits);
    chunk.words[at + 1] = low;
    chunk.words[at + 2] = high;
    copy(key, nameAt, chunk.bytes, (at + headWords) * 4);
    copy(value, 0, chunk.bytes, (at + headWords) * 4 + nameLength);
    this.#took(chunk, wordsOf(nameLength, value.length));
    return this.#head * chunkWords + at;
  }

  /** Moves a record to the chunk that grows, where there is room. It counts as unused there. */
  move(record: number): number {
    const [from, at] = [this.#chunkOf(record), record % chunkWords];
    const words = this.wordsOf(record);
    const chunk = this.#chunk(this.#head);
    chunk.words.set(from.words.subarray(at, at + words), chunk.end);
    const to = chunk.end;
    chunk.words[to] = (chunk.words[to] ?? 0) & ~used;
    this.#took(chunk, words);
    return this.#head * chunkWords + to;
  }

  /** Puts another value in the place of the old one; false: it does not fit there. */
  overwrite(record: number, value: Uint8Array): boolean {
    const [chunk, at] = [this.#chunkOf(record), record % chunkWords];
    const head = chunk.words[at] ?? 0;
    const nameLength = nameLengthOf(head);
    if (wordsOf(nameLength, value.length) !== wordsOf(nameLength, head & valueMax)) return false;
    chunk.words[at] = (head & ~valueMax) | value.length;
    copy(value, 0, chunk.bytes, (at + headWords) * 4 + nameLength);
    return true;
  }

  /** The record leaves a gap. */
  delete(record: number): void {
    const number = record >>> chunkBits;
    const [chunk, at] = [this.#chunk(number), record % chunkWords];
    chunk.live -= this.wordsOf(record);
    chunk.words[at] = (chunk.words[at] ?? 0) | gone;
    if (chunk.live === 0 && number !== this.#head) this.release(number);
  }

  /** Whether the record is of this number and has a name of so many bytes; the bytes are the caller's to compare. */
  is(record: number, low: number, high: number, nameLength: number): boolean {
    const { words } = this.#chunkOf(record);
    const at = record % chunkWords;
    return words[at + 1] === low && words[at + 2] === high && nameLengthOf(words[at] ?? 0) === nameLength;
  }

  /** The memory that it lies in. */
  bytesOf(record: number): Uint8Array {
    return this.#chunkOf(record).bytes;
  }

  /** Where in that memory its name begins. */
  nameAt(record: number): number {
    return ((record % chunkWords) + headWords) * 4;
  }

  nameLength(record: number): number {
    return nameLengthOf(this.#headOf(record));
  }

  valueLength(record: number): number {
    return this.#headOf(record) & valueMax;
  }

  low(record: number): number {
    return this.#chunkOf(record).words[(record % chunkWords) + 1] ?? 0;
  }

  high(record: number): number {
    return this.#chunkOf(record).words[(record % chunkWords) + 2] ?? 0;
  }

  wordsOf(record: number): number {
    const head = this.#headOf(record);
    return wordsOf(nameLengthOf(head), head & valueMax);
  }

  /** Somebody wanted it. */
  use(record: number): void {
    const { words } = this.#chunkOf(record);
    const at = record % chunkWords;
    const head = words[at] ?? 0;
    if ((head & used) === 0) words[at] = head | used;
  }

  isUsed(record: number): boolean {
    return (this.#headOf(record) & used) !== 0;
  }

  #took(chunk: Chunk, words: number): void {
    chunk.end += words;
    chunk.live += words;
  }

  #headOf(record: number): number {
    return this.#chunkOf(record).words[record % chunkWords] ?? 0;
  }

  #chunkOf(record: number): Chunk {
    return this.#chunk(record >>> chunkBits);
  }

  #chunk(number: number): Chunk {
    const chunk = this.#chunks[number];
    assert(chunk !== undefined, 'a record lies in a chunk that is there');
    return chunk;
  }
}

function nameLengthOf(head: number): number {
  return (head >>> valueBits) & (2 ** nameBits - 1);
}

function wordsOf(nameLength: number, valueLength: number): number {
  return headWords + ((nameLength + valueLength + 3) >>> 2);
}

/** By hand: what is copied is short, and a call of `set` costs more. */
function copy(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number): void {
  for (let i = fromAt, at = toAt; i < from.length; i++) to[at++] = from[i] ?? 0;
}
