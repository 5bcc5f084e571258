import { FsError } from '../errors.ts';
import { decodeDentry } from '../format/codec.ts';
import { dentryRange, describeKey, type KeyRange, parseDentryKey } from '../format/keys.ts';
import { isSnapshotsIno, snapshotsName } from '../format/snapshots.ts';
import type { MetaStore } from '../meta/store.ts';
import { type Name, nameToText } from '../name.ts';
import { InodeIndex } from './inode-index.ts';
import type { Pass, Problem, ProblemCode } from './problem.ts';

/** Paths are looked up for so many problems; each may read a directory. */
const pathsMax = 100;
/** No directory lies deeper than this below the root; a longer way up is a loop. */
export const depthMax = 65_536;

export const rootIno = 1;

class QuotaCount {
  readonly #blocks = new Map<number, number>();

  count(quota: number, blocks: number): void {
    if (quota !== 0) this.#blocks.set(quota, this.blocksOf(quota) + blocks);
  }

  blocksOf(quota: number): number {
    return this.#blocks.get(quota) ?? 0;
  }
}

/** What the passes share: the store, the inodes found so far, and where problems go. */
export class CheckContext {
  readonly store: MetaStore;
  readonly blockCount: number;
  readonly nextIno: number;
  /** Bus address of the first byte of the device; 0n: it has none. */
  readonly busAddress: bigint;
  /** Of the last mount for writing. */
  readonly generation: number;
  readonly inodes = new InodeIndex();
  /** Blocks of the files of each quota tree, as pass 5 counts them. */
  readonly quotas = new QuotaCount();
  readonly problems: Problem[] = [];
  readonly #onProblem: (problem: Problem) => void;
  #pathsLeft = pathsMax;

  constructor(
    store: MetaStore,
    of: {
      readonly blockCount: number;
      readonly nextIno: number;
      readonly generation: number;
      readonly busAddress: bigint;
    },
    onProblem: (problem: Problem) => void,
  ) {
    this.store = store;
    this.blockCount = of.blockCount;
    this.nextIno = of.nextIno;
    this.busAddress = of.busAddress;
    this.generation = of.generation;
    this.#onProblem = onProblem;
  }

  async report(pass: Pass, code: ProblemCode, ino: number | undefined, detail: string): Promise<void> {
    const path = ino === undefined ? undefined : await this.#path(ino);
    const problem = { pass, code, ino, path, detail };
    this.problems.push(problem);
    this.#onProblem(problem);
  }

  /** Every record of a kind that decodes; one that does not is a problem of its own. */
  async *records<T>(pass: Pass, range: KeyRange, decode: (key: Uint8Array, value: Uint8Array) => T): AsyncGenerator<T> {
    for await (const page of this.store.range(range.from, range.to)) {
      for (const [key, value] of page) {
        const record = await this.#decoded(pass, key, () => decode(key, value));
        if (record !== undefined) yield record.value;
      }
    }
  }

  async #decoded<T>(pass: Pass, key: Uint8Array, decode: () => T): Promise<{ readonly value: T } | undefined> {
    try {
      return { value: decode() };
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      await this.report(pass, 'bad-record', undefined, `record ${describeKey(key)} does not decode: ${error.message}`);
      return undefined;
    }
  }

  /** From the root, as far as the names are known by now. */
  async #path(ino: number): Promise<string | undefined> {
    if (ino === rootIno) return '/';
    if (this.#pathsLeft === 0) return undefined;
    this.#pathsLeft--;
    let path = '';
    let at = this.inodes.get(ino);
    for (let depth = 0; at !== undefined && at.ino !== rootIno && depth < depthMax; depth++) {
      const parent = this.inodes.above(at);
      if (parent === undefined) return undefined;
      const foundIn = this.inodes.foundIn(at);
      const name = await this.#nameIn(foundIn, at.ino);
      if (name === undefined) return undefined;
      path = `/${isSnapshotsIno(foundIn) ? `${snapshotsName}/` : ''}${nameToText(name)}${path}`;
      at = parent;
    }
    return at?.ino === rootIno ? path : undefined;
  }

  async #nameIn(parent: number, ino: number): Promise<Name | undefined> {
    const { from, to } = dentryRange(parent);
    for await (const page of this.store.range(from, to)) {
      for (const [key, value] of page) {
        try {
          if (decodeDentry(key, value).ino === ino) return parseDentryKey(key).name;
        } catch (error) {
          if (!(error instanceof FsError)) throw error; // reported by the pass that reads it
        }
      }
    }
    return undefined;
  }
}
