import { FsError } from '../../fs/errors.ts';
import type { Endpoint } from '../../fs/fabric/endpoint.ts';
import { addressOf } from '../../fs/fabric/library.ts';
import { clientLimits } from '../limits.ts';

interface Transfer {
  readonly id: number;
  readonly kind: 'read' | 'write';
  /** Kept here: libfabric has its address only. */
  readonly bytes: Uint8Array;
  readonly remote: bigint;
  readonly key: bigint;
  /** By performance.now(). */
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (why: FsError) => void;
}

/** The transfers of one endpoint: begun in order, polled for while there are any. The first that fails ends all. */
export class RmaTransfers {
  readonly #endpoint: Endpoint;
  readonly #peer: bigint;
  readonly #timeoutMs: number;
  readonly #failed: (why: FsError) => void;
  /** In the order in which they came, which is that of their deadlines. */
  readonly #running = new Map<number, Transfer>();
  readonly #waiting: Transfer[] = [];
  readonly #completed = (id: number, error: FsError | undefined): void => this.#complete(id, error);
  #turning = false;
  #stopped = false;
  #nextId = 1;
  #failure: FsError | undefined;

  /** @param failed called once, when a transfer failed or was not over in time: then `stop` is to be called */
  constructor(endpoint: Endpoint, peer: bigint, timeoutMs: number, failed: (why: FsError) => void) {
    this.#endpoint = endpoint;
    this.#peer = peer;
    this.#timeoutMs = timeoutMs;
    this.#failed = failed;
  }

  /** Settles when it is over; rejects only through what `stop` answers. */
  run(kind: 'read' | 'write', bytes: Uint8Array, remote: bigint, key: bigint): Promise<void> {
    if (this.#stopped) return Promise.reject(new FsError('EIO', { op: 'rma', detail: 'the connection has ended' }));
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + this.#timeoutMs;
      this.#waiting.push({ id: this.#nextId++, kind, bytes, remote, key, deadline, resolve, reject });
      if (!this.#turning) this.#turn();
    });
  }

  /** Nothing is polled any more. Answers how those that are not over are told, when they are. */
  stop(): (why: FsError) => void {
    this.#stopped = true;
    const unfinished = [...this.#running.values(), ...this.#waiting];
    return (why) => {
      for (const { reject } of unfinished) reject(why);
    };
  }

  #turn(): void {
    this.#turning = false;
    if (this.#stopped) return;
    try {
      this.#begin();
      for (let looks = 0; looks < clientLimits.rmaLooksPerTurn && this.#running.size > 0; looks++)
        if (this.#endpoint.poll(this.#completed) > 0) this.#begin();
      this.#requireInTime();
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#failure ??= error;
    }
    if (this.#failure !== undefined) this.#failed(this.#failure);
    else if (this.#running.size + this.#waiting.length > 0) {
      this.#turning = true;
      setImmediate(() => this.#turn());
    }
  }

  /** @throws FsError */
  #begin(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { id, kind, bytes, remote, key } = next;
      if (!this.#endpoint[kind](addressOf(bytes), bytes.length, this.#peer, remote, key, id)) return;
      this.#waiting.shift();
      this.#running.set(id, next);
    }
  }

  #complete(id: number, error: FsError | undefined): void {
    const transfer = this.#running.get(id);
    if (error !== undefined) this.#failure ??= error;
    else if (transfer !== undefined) {
      this.#running.delete(id);
      transfer.resolve();
    }
  }

  /** @throws FsError ETIMEDOUT */
  #requireInTime(): void {
    const [oldest = this.#waiting[0]] = this.#running.values();
    if (oldest === undefined || performance.now() < oldest.deadline) return;
    throw new FsError('ETIMEDOUT', {
      op: 'rma',
      detail: `a ${oldest.kind} of ${oldest.bytes.length} bytes is not over in ${this.#timeoutMs} ms`,
    });
  }
}
