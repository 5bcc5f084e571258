import { FsError } from '../../errors.ts';

/**
 * Little-endian fields of a request, read in order; reading past the end throws FsError EPROTO. One cursor stays with
 * its buffer and is rewound for each request, so that reading allocates nothing.
 */
export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #view: DataView;
  #at = 0;
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.byteLength;
  }

  /** Starts over with a request of `length` bytes, at most the buffer's. */
  rewind(length: number): void {
    this.#at = 0;
    this.#end = Math.min(length, this.#bytes.byteLength);
  }

  /** Bytes of the whole request. */
  get length(): number {
    return this.#end;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** Exact up to 2^53; beyond, the nearest double: larger than every file, handle and inode of ours. */
  u64(): number {
    const at = this.#take(8);
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  i64(): number {
    const at = this.#take(8);
    return this.#view.getUint32(at, true) + this.#view.getInt32(at + 4, true) * 2 ** 32;
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** A view, not a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** A view of what stands before the next NUL, which is skipped. @throws FsError ENAMETOOLONG beyond `max` bytes */
  string(max: number): Uint8Array {
    const nul = this.#nul(max);
    const bytes = this.#bytes.subarray(this.#at, nul);
    this.#at = nul + 1;
    return bytes;
  }

  /** As `string`, one character per byte. */
  latin1(max: number): string {
    const start = this.#at;
    const nul = this.#nul(max);
    this.#at = nul + 1;
    return this.#text.toString('latin1', start, nul);
  }

  /** Where the NUL of a string is that begins here. @throws FsError EPROTO, ENAMETOOLONG */
  #nul(max: number): number {
    const nul = this.#bytes.indexOf(0, this.#at);
    if (nul < 0 || nul >= this.#end) throw new FsError('EPROTO', { detail: 'unterminated name' });
    if (nul - this.#at > max) throw new FsError('ENAMETOOLONG', { detail: `${nul - this.#at} bytes` });
    return nul;
  }

  /** Ends the request `length` bytes earlier, and answers these. @throws FsError EPROTO */
  cut(length: number): Cursor {
    if (length > this.remaining) throw new FsError('EPROTO', { detail: `${this.remaining} bytes, not ${length}` });
    this.#end -= length;
    return new Cursor(this.#bytes.subarray(this.#end, this.#end + length));
  }

  /** The next `length` bytes as a request of their own. @throws FsError EPROTO */
  split(length: number): Cursor {
    return new Cursor(this.bytes(length));
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) {
      throw new FsError('EPROTO', { detail: `request of ${this.#end} bytes, needs ${at + length}` });
    }
    this.#at = at + length;
    return at;
  }
}
