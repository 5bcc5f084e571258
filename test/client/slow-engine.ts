import { EventEmitter, once } from 'node:events';
import {
  type AsynchronousEngine,
  type LaidOut,
  type SynchronousEngine,
  TransferTimeout,
} from '../../client/dma/engine.ts';
import { FsError } from '../../fs/errors.ts';

/** A transfer that the test lets go on, fail, or time out. */
export interface Pending {
  readonly kind: 'read' | 'write';
  readonly storageOffset: number;
  readonly length: number;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
  /** It fails with TransferTimeout; what is answered ends it. */
  readonly timeOut: () => () => void;
}

/** Another engine whose transfers take their time: by themselves a turn, held as long as the test likes. */
export class SlowEngine<M extends SynchronousEngine> implements AsynchronousEngine {
  readonly name = 'slow';
  readonly synchronous = false;
  readonly transferMax: number;
  readonly transfersMax: number;
  readonly memory: M;
  /** Held transfers, the oldest first. */
  readonly pending: Pending[] = [];
  readonly prepared: LaidOut[] = [];
  readonly released: LaidOut[] = [];
  hold = false;
  /** What `prepare` fails with. */
  refusal: FsError | undefined;
  #closing: Promise<void> | undefined;
  readonly #running = new Set<Promise<void>>();

  constructor(memory: M, { transferMax = 2 ** 20, transfersMax = 4 } = {}) {
    this.memory = memory;
    this.transferMax = transferMax;
    this.transfersMax = transfersMax;
  }

  get writable(): boolean {
    return this.memory.writable;
  }

  get size(): number {
    return this.memory.size;
  }

  prepare(pieces: readonly LaidOut[]): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    this.prepared.push(...pieces);
    return Promise.resolve();
  }

  release(pieces: readonly LaidOut[]): void {
    this.released.push(...pieces);
  }

  read(storageOffset: number, target: Uint8Array): Promise<void> {
    return this.#transfer('read', storageOffset, target);
  }

  write(storageOffset: number, source: Uint8Array): Promise<void> {
    return this.#transfer('write', storageOffset, source);
  }

  close(): Promise<void> {
    this.#closing ??= Promise.allSettled(this.#running).then(() => this.memory.close());
    return this.#closing;
  }

  #transfer(kind: 'read' | 'write', storageOffset: number, bytes: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new FsError('ENODEV', { op: 'slow' }));
    if (bytes.length > this.transferMax) return Promise.reject(new FsError('EINVAL', { detail: 'too long' }));
    const done = this.#held(kind, storageOffset, bytes.length).then(() => this.memory[kind](storageOffset, bytes));
    this.#running.add(done);
    const forget = (): void => void this.#running.delete(done);
    done.then(forget, forget);
    return done;
  }

  #held(kind: 'read' | 'write', storageOffset: number, length: number): Promise<void> {
    if (!this.hold) return new Promise((resolve) => setImmediate(resolve));
    return new Promise((resolve, reject) => {
      const timeOut = (): (() => void) => {
        const end = new EventEmitter();
        const over = once(end, 'over').then(() => {});
        reject(new TransferTimeout(over, { op: kind, range: { offset: storageOffset, length } }));
        return () => void end.emit('over');
      };
      this.pending.push({ kind, storageOffset, length, go: resolve, fail: reject, timeOut });
    });
  }
}
