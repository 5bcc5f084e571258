/**
 * Group commit: changes gather in the open group, which is sealed and written as one batch when somebody needs it
 * durable, when it is full, or when a short interval ends.
 *
 * G1 A group is written whole or not at all, in the order of the groups.
 * G2 At most one group is being written; what changes meanwhile is in the group after it.
 * G3 The data of a group is on the device before its metadata is written.
 * G4 A group is sealed between operations, never within one: an operation is one synchronous function (and so is
 *    everything that runs before the next microtask), and sealing waits for the next microtask.
 * G5 After a failure nothing is written any more: memory is ahead of the store and cannot be brought back.
 */
import { assert, FsError } from '../errors.ts';
import type { MetaStore, StoreOp } from './store.ts';

export interface GroupCommitOptions {
  /** Encodes every change of the group. Called once, when it is sealed; the next changes belong to `group` + 1. */
  readonly collect: (group: number) => readonly StoreOp[];
  /** Brings the data of the group to the device (G3); undefined: there is none. */
  readonly beforeWrite: (group: number) => Promise<void> | undefined;
  /** The group is durable; called before any sync that waited for it settles. */
  readonly onDurable: (group: number) => void;
  /** Something failed, once and for all (G5). Must not throw. */
  readonly onFailure: (error: unknown) => void;
  /** Longest time that a change waits for its group to be sealed. */
  readonly intervalMs: number;
  /** Records in the open group at which it is sealed early. */
  readonly recordsMax: number;
}

export class GroupCommit {
  readonly #store: MetaStore;
  readonly #options: GroupCommitOptions;
  #open = 1;
  #durable = 0;
  /** Changed records of the open group. */
  #records = 0;
  /** The open group is to be sealed as soon as nothing is being written. */
  #wanted = false;
  #sealing = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #failure: FsError | undefined;
  /** Settles with the group being written; its callers share it. */
  #writing: Promise<void> | undefined;
  /** Those who wait for the open group; they share one promise. */
  #waiting: Waiting | undefined;

  constructor(store: MetaStore, options: GroupCommitOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** The group that changes made now belong to, from 1. */
  get open(): number {
    return this.#open;
  }

  /** The last durable group; 0: none. */
  get durable(): number {
    return this.#durable;
  }

  /** Records changed in the open group so far. It grows past recordsMax only while another group is being written. */
  get records(): number {
    return this.#records;
  }

  /** `records` records were changed in the open group. */
  dirty(records = 1): void {
    assert(!this.#closed, 'no change after the close of group commit');
    if (this.#failure !== undefined) return;
    this.#records += records;
    if (this.#records >= this.#options.recordsMax) this.#seal();
    else this.#timer ??= setTimeout(() => this.#seal(), this.#options.intervalMs).unref();
  }

  /**
   * Settles when all that has been changed is durable; what is changed until the next microtask may be too.
   * @throws FsError EIO: something failed, this time or earlier
   */
  sync(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#records === 0) return this.#writing ?? Promise.resolve();
    this.#waiting ??= newWaiting();
    this.#seal();
    return this.#waiting.promise;
  }

  /** Syncs and takes no more changes. The store stays open. @throws FsError EIO as sync does */
  close(): Promise<void> {
    this.#closed = true;
    return this.sync();
  }

  #seal(): void {
    this.#wanted = true;
    if (this.#sealing || this.#writing !== undefined) return;
    this.#sealing = true;
    queueMicrotask(() => {
      this.#sealing = false;
      this.#next();
    });
  }

  /** Seals the open group and starts to write it, if that is wanted and possible. */
  #next(): void {
    if (!this.#wanted || this.#writing !== undefined || this.#records === 0 || this.#failure !== undefined) return;
    const waiting = this.#waiting;
    const group = this.#open++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = undefined;
    this.#wanted = false;
    this.#records = 0;

    const written = this.#write(group)
      .then(() => this.#succeeded(group))
      .catch((error: unknown) => this.#failed(group, error));
    this.#writing = written;
    // Nobody need be waiting for a group that the interval sealed.
    written.catch(() => undefined);
    if (waiting !== undefined) written.then(waiting.resolve, waiting.reject);
  }

  async #write(group: number): Promise<void> {
    const ops = this.#options.collect(group);
    await this.#options.beforeWrite(group);
    if (ops.length > 0) await this.#store.batch(ops);
  }

  #succeeded(group: number): void {
    this.#writing = undefined;
    this.#durable = group;
    this.#options.onDurable(group);
    this.#next();
  }

  #failed(group: number, cause: unknown): never {
    const failure = new FsError('EIO', { op: 'commit', detail: `group ${group} could not be written` }, cause);
    this.#failure = failure;
    this.#writing = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#options.onFailure(cause);
    this.#waiting?.reject(failure);
    this.#waiting = undefined;
    throw failure;
  }
}

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function newWaiting(): Waiting {
  let [resolve, reject]: [() => void, (error: unknown) => void] = [() => undefined, () => undefined];
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
