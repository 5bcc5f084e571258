import { assert } from '../errors.ts';

/**
 * A part of the device that is mapped in one piece. Positions are bytes from its start; the caller has checked that
 * position and length lie within.
 */
export interface Window {
  readonly bytes: Uint8Array;
  read(at: number, target: Uint8Array): void;
  write(at: number, source: Uint8Array): void;
  zero(at: number, length: number): void;
  /** Copies to a window of the same device; the ranges do not overlap. */
  copyTo(at: number, length: number, target: Window, targetAt: number): void;
}

/** Memory that takes any access. */
export class ByteWindow implements Window {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  read(at: number, target: Uint8Array): void {
    target.set(this.bytes.subarray(at, at + target.length));
  }

  write(at: number, source: Uint8Array): void {
    this.bytes.set(source, at);
  }

  zero(at: number, length: number): void {
    this.bytes.fill(0, at, at + length);
  }

  copyTo(at: number, length: number, target: Window, targetAt: number): void {
    target.write(targetAt, this.bytes.subarray(at, at + length));
  }
}

/** A typed array of 4- or 8-byte words. */
export interface Words<W> {
  readonly length: number;
  readonly BYTES_PER_ELEMENT: number;
  [index: number]: W;
}

const stagingBytes = 4096;

/**
 * Memory that takes only whole aligned words. Bytes pass through ordinary memory, and between that and the device words
 * are moved one by one: TypedArray.set would be memmove, whose accesses have any width. A word written in part is read
 * first, so bytes that a peer writes into the same word at the same moment are lost.
 */
export class WordWindow<W> implements Window {
  readonly bytes: Uint8Array;
  readonly #words: Words<W>;
  readonly #width: number;
  readonly #staging: Words<W>;
  readonly #stagingBytes: Uint8Array;

  /** `bytes` and `words` are the same memory; `allocate` makes ordinary memory of such words. */
  constructor(bytes: Uint8Array, words: Words<W>, allocate: (buffer: ArrayBuffer) => Words<W>) {
    this.bytes = bytes;
    this.#words = words;
    this.#width = words.BYTES_PER_ELEMENT;
    const staging = new ArrayBuffer(stagingBytes);
    this.#staging = allocate(staging);
    this.#stagingBytes = new Uint8Array(staging);
  }

  read(at: number, target: Uint8Array): void {
    this.#eachStage(at, target.length, (word, words, skip, done, length) => {
      moveWords(this.#words, word, this.#staging, 0, words);
      target.set(this.#stagingBytes.subarray(skip, skip + length), done);
    });
  }

  write(at: number, source: Uint8Array): void {
    this.#eachWrite(at, source.length, (skip, done, length) => {
      this.#stagingBytes.set(source.subarray(done, done + length), skip);
    });
  }

  zero(at: number, length: number): void {
    this.#eachWrite(at, length, (skip, _done, count) => {
      this.#stagingBytes.fill(0, skip, skip + count);
    });
  }

  copyTo(at: number, length: number, target: Window, targetAt: number): void {
    const bounce = new Uint8Array(Math.min(length, stagingBytes));
    for (let done = 0; done < length; done += bounce.length) {
      const part = bounce.subarray(0, Math.min(bounce.length, length - done));
      this.read(at + done, part);
      target.write(targetAt + done, part);
    }
  }

  /** Fills the staging memory by `fill` and moves it to the device, keeping what the edge words hold outside the range. */
  #eachWrite(at: number, length: number, fill: (skip: number, done: number, length: number) => void): void {
    this.#eachStage(at, length, (word, words, skip, done, count) => {
      if (skip > 0) moveWords(this.#words, word, this.#staging, 0, 1);
      if ((skip + count) % this.#width !== 0) moveWords(this.#words, word + words - 1, this.#staging, words - 1, 1);
      fill(skip, done, count);
      moveWords(this.#staging, 0, this.#words, word, words);
    });
  }

  /**
   * Cuts a range at the size of the staging memory. Each stage covers `words` words of the device from `word` on, the
   * first `skip` bytes of which lie before the range; `done` bytes of the range come before it, `length` in it.
   */
  #eachStage(
    at: number,
    total: number,
    stage: (word: number, words: number, skip: number, done: number, length: number) => void,
  ): void {
    for (let done = 0; done < total; ) {
      const word = Math.floor((at + done) / this.#width);
      const skip = at + done - word * this.#width;
      const length = Math.min(total - done, stagingBytes - skip);
      stage(word, Math.ceil((skip + length) / this.#width), skip, done, length);
      done += length;
    }
  }
}

function moveWords<W>(from: Words<W>, fromAt: number, to: Words<W>, toAt: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const word = from[fromAt + i];
    assert(word !== undefined, 'word access past the end of a window');
    to[toAt + i] = word;
  }
}

/** The window over a mapping. @param width of one access, bytes; divides the size of the buffer */
export function openWindow(buffer: ArrayBuffer, width: 1 | 4 | 8): Window {
  const bytes = new Uint8Array(buffer);
  switch (width) {
    case 1:
      return new ByteWindow(bytes);
    case 4:
      return new WordWindow<number>(bytes, new Uint32Array(buffer), (memory) => new Uint32Array(memory));
    case 8:
      return new WordWindow<bigint>(bytes, new BigUint64Array(buffer), (memory) => new BigUint64Array(memory));
  }
}
