/** The fields of a record that was read, in order, with the checks that RecordWriter made when it was written. */
import { FsError } from '../errors.ts';
import { describeKey } from './keys.ts';

export class Fields {
  readonly #values: readonly unknown[];
  readonly #key: Uint8Array;
  #next = 0;

  constructor(values: readonly unknown[], key: Uint8Array) {
    this.#values = values;
    this.#key = key;
  }

  /** An integer from `min` (0) to `max` (2^53 - 1). `absent` stands for a field dropped from the end. */
  integer(name: string, max = Number.MAX_SAFE_INTEGER, min = 0, absent?: number): number {
    const value = this.#take(absent);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    return this.fail(`${name} is not an integer from ${min} to ${max}`);
  }

  /** A copy, since msgpackr gives a view that would keep the page of the store alive. */
  bytes(name: string, max: number, min = 0, absent?: Uint8Array): Uint8Array {
    const value = this.#take(absent);
    if (value instanceof Uint8Array && value.length >= min && value.length <= max) {
      return value === absent ? value : new Uint8Array(value);
    }
    return this.fail(`${name} is not ${min} to ${max} bytes`);
  }

  /** Every field has been read: more would be lost when the record is written again. */
  end(): void {
    if (this.#next < this.#values.length) this.fail(`${this.#values.length} fields, not ${this.#next}`);
  }

  fail(why: string): never {
    throw damaged(this.#key, why);
  }

  #take(absent: unknown): unknown {
    const at = this.#next++;
    return at < this.#values.length ? this.#values[at] : absent;
  }
}

export function damaged(key: Uint8Array, why: string, cause?: unknown): FsError {
  return new FsError('EUCLEAN', { detail: `record ${describeKey(key)} of the metadata store: ${why}` }, cause);
}
