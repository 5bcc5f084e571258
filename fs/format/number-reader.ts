/**
 * Reads msgpack fields where they lie, without making an object for each: integers from 0 to 2^32 - 1 in their shortest
 * forms and short byte strings, which is nearly all that records hold. Anything else makes it `strange`: not wrong, but
 * not for here.
 */
const none = new Uint8Array(0);

export class NumberReader {
  #bytes: Uint8Array = none;
  #at = 0;
  #end = 0;
  #strange = false;

  /** Begins with the array that lies from `start` to `end`. Answers its number of fields. */
  begin(bytes: Uint8Array, start: number, end: number): number {
    this.#bytes = bytes;
    this.#at = start + 1;
    this.#end = end;
    this.#strange = false;
    const head = bytes[start] ?? 0;
    if ((head & 0xf0) === 0x90) return head & 0x0f;
    if (head === 0xdc && bytes[start + 1] === 0) {
      this.#at = start + 3;
      return bytes[start + 2] ?? 0;
    }
    this.#strange = true;
    return 0;
  }

  integer(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    const first = bytes[at++] ?? 0xff;
    if (first < 0x80) {
      this.#at = at;
      return first;
    }
    let number = 0;
    if (first === 0xce) {
      number = (bytes[at++] ?? 0) * 2 ** 24 + ((bytes[at++] ?? 0) << 16);
      number += (bytes[at++] ?? 0) << 8;
    } else if (first === 0xcd) {
      number = (bytes[at++] ?? 0) << 8;
    } else if (first !== 0xcc) {
      this.#strange = true;
    }
    number += bytes[at++] ?? 0;
    this.#at = at;
    return number;
  }

  /** A copy of at most 255 bytes. */
  bytes(): Uint8Array {
    const start = this.#at + 2;
    if (this.#bytes[this.#at] !== 0xc4) this.#strange = true;
    this.#at = start + (this.#bytes[start - 1] ?? 0);
    return this.#strange || this.#at > this.#end ? none : this.#bytes.slice(start, this.#at);
  }

  /** All was as expected, and nothing is left. */
  ended(): boolean {
    return !this.#strange && this.#at === this.#end;
  }
}
