/**
 * Writes records as msgpack arrays, each field with the check that reading it will make, so that nothing is written
 * that could not be read back. Records are most of what a commit costs: so no list of fields is made, and the bytes lie
 * in large pieces of memory that many records share.
 */
import { AssertionFailure } from '../errors.ts';

/** Of the pieces. A record that is longer gets one of its own. */
const pieceSize = 65_536;
/** What the head of the array and any field but bytes can take. */
const fieldMax = 9;

export class RecordWriter {
  #piece: Uint8Array = new Uint8Array(pieceSize);
  #start = 0;
  #at = 0;
  readonly #double = new Float64Array(1);
  readonly #doubleBytes = new Uint8Array(this.#double.buffer);

  /** A record of `fields` fields, at most 255, with at most `bytes` bytes of byte strings in it. */
  begin(fields: number, bytes = 0): void {
    const most = (fields + 1) * fieldMax + bytes;
    if (this.#at + most > this.#piece.length) {
      this.#piece = new Uint8Array(Math.max(pieceSize, most));
      this.#at = 0;
    }
    this.#start = this.#at;
    if (fields > 15) {
      this.#piece[this.#at++] = 0xdc;
      this.#piece[this.#at++] = 0;
      this.#piece[this.#at++] = fields;
    } else {
      this.#piece[this.#at++] = 0x90 | fields;
    }
  }

  /** The record. Its bytes are not written again. */
  end(): Uint8Array {
    return this.#piece.subarray(this.#start, this.#at);
  }

  /** An integer from `min` (0) to `max` (2^53 - 1), in the shortest form; past 32 bits as float64, which is exact. */
  integer(name: string, value: number, max = Number.MAX_SAFE_INTEGER, min = 0): void {
    if (!(Number.isSafeInteger(value) && value >= min && value <= max)) {
      this.fail(`${name} is not an integer from ${min} to ${max}`);
    }
    const bytes = this.#piece;
    let at = this.#at;
    if (value >= 0 && value <= 0xffff_ffff) {
      if (value > 0xffff) {
        bytes[at++] = 0xce;
        bytes[at++] = value >>> 24;
        bytes[at++] = value >>> 16;
        bytes[at++] = value >>> 8;
      } else if (value > 0xff) {
        bytes[at++] = 0xcd;
        bytes[at++] = value >>> 8;
      } else if (value > 0x7f) {
        bytes[at++] = 0xcc;
      }
      bytes[at++] = value;
      this.#at = at;
    } else if (value < 0 && value >= -0x8000_0000) {
      if (value < -0x8000) {
        bytes[at++] = 0xd2;
        bytes[at++] = value >> 24;
        bytes[at++] = value >> 16;
        bytes[at++] = value >> 8;
      } else if (value < -0x80) {
        bytes[at++] = 0xd1;
        bytes[at++] = value >> 8;
      } else if (value < -0x20) {
        bytes[at++] = 0xd0;
      }
      bytes[at++] = value;
      this.#at = at;
    } else {
      bytes[at] = 0xcb;
      this.#double[0] = value;
      for (let i = 0; i < 8; i++) bytes[at + 1 + i] = this.#doubleBytes[7 - i] ?? 0;
      this.#at = at + 9;
    }
  }

  /** From `min` (0) to `max` bytes. */
  bytes(name: string, value: Uint8Array, max: number, min = 0): void {
    const { length } = value;
    if (length < min || length > max) this.fail(`${name} is not ${min} to ${max} bytes`);
    const bytes = this.#piece;
    let at = this.#at;
    if (length > 0xffff) {
      bytes[at++] = 0xc6;
      bytes[at++] = length >>> 24;
      bytes[at++] = length >>> 16;
      bytes[at++] = length >>> 8;
    } else if (length > 0xff) {
      bytes[at++] = 0xc5;
      bytes[at++] = length >>> 8;
    } else {
      bytes[at++] = 0xc4;
    }
    bytes[at++] = length;
    bytes.set(value, at);
    this.#at = at + length;
  }

  fail(why: string): never {
    throw new AssertionFailure(`record to be written: ${why}`);
  }
}
