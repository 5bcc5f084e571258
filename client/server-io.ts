import { operations, type RequestOf, stableHow } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import type { Counters } from './file-data.ts';
import { clientLimits } from './limits.ts';
import type { OpenState } from './open-state.ts';
import type { Limits } from './operation.ts';
import type { Session } from './session.ts';

/** Reads and writes of one file through the server, in requests of the server's size, several on their way. */
export class ServerIo {
  readonly #session: Session;
  readonly #counters: Counters;
  readonly #ino: number;
  /** Write verifiers of what the server has taken and may lose (RFC 8881 §18.32.3). */
  readonly #unstable = new Set<string>();

  constructor(session: Session, counters: Counters, ino: number) {
    this.#session = session;
    this.#counters = counters;
    this.#ino = ino;
  }

  /** Answers the bytes read, fewer than asked for only at the end of the file. */
  async read(open: OpenState, target: Uint8Array, position: number, limits: Limits): Promise<number> {
    const dataMax = this.#session.server.dataMax;
    let done = 0;
    while (done < target.length) {
      const asked = piecesOf(done, target.length, dataMax);
      const replies = await Promise.all(
        asked.map(({ at, length }) =>
          open.with((stateid) =>
            this.#session.call(operations.READ, [stateid, position + at, length], {
              ...limits,
              credentials: open.credentials,
              stateful: true,
            }),
          ),
        ),
      );
      // From then on the target is the caller's again.
      limits.signal?.throwIfAborted();
      for (const [index, [data, eof]] of replies.entries()) {
        const length = asked[index]?.length ?? 0;
        if (data.length > length) throw new ClientError('BAD_REPLY', 'READ: more bytes than asked for');
        target.set(data, done);
        done += data.length;
        this.#counters.serverBytesRead += data.length;
        if (eof || data.length === 0) return done;
        // A short reply leaves a gap before the next one: go on from its end.
        if (data.length < length) break;
      }
    }
    return done;
  }

  /** Answers the bytes written, fewer only where the space ended. They are durable after `commit`. */
  async write(open: OpenState, source: Uint8Array, position: number, limits: Limits): Promise<number> {
    const dataMax = this.#session.server.dataMax;
    let done = 0;
    while (done < source.length) {
      limits.signal?.throwIfAborted();
      const pieces = piecesOf(done, source.length, dataMax);
      const bytes = kept(source.subarray(done, Math.min(source.length, done + pieces.length * dataMax)), limits);
      const start = done;
      const replies = await allOver(
        pieces.map(({ at, length }) =>
          open.with((stateid) => {
            const data = bytes.subarray(at - start, at - start + length);
            return this.#session.call(operations.WRITE, [stateid, position + at, stableHow.unstable, data], {
              credentials: open.credentials,
              stateful: true,
            });
          }),
        ),
      );
      for (const [index, [count, stable, verifier]] of replies.entries()) {
        if (stable === stableHow.unstable) this.#unstable.add(hex(verifier));
        done += count;
        this.#counters.serverBytesWritten += count;
        if (count < (pieces[index]?.length ?? 0)) return done;
      }
    }
    return done;
  }

  /**
   * At the end of the file, a request at a time. Never twice: STATE_LOST says that the last one may be there or not.
   * Answers the bytes written.
   */
  async append(open: OpenState, source: Uint8Array, limits: Limits): Promise<number> {
    let done = 0;
    while (done < source.length) {
      limits.signal?.throwIfAborted();
      const piece = kept(source.subarray(done, done + this.#session.server.dataMax), limits);
      const args: RequestOf<typeof operations.WRITE> = [await open.stateid(), 0, stableHow.unstable, piece];
      const [count, stable, verifier] = await this.#session.call(operations.WRITE, args, {
        credentials: open.credentials,
        stateful: true,
      });
      if (stable === stableHow.unstable) this.#unstable.add(hex(verifier));
      done += count;
      this.#counters.serverBytesWritten += count;
      if (count < piece.length) break;
    }
    return done;
  }

  /** What the server has taken it makes durable when it likes; nobody asks for that here any more. */
  forget(): void {
    this.#unstable.clear();
  }

  /** @throws ClientError WRITE_LOST: the server restarted in between; what was written since the last commit must be written again */
  async commit(): Promise<void> {
    if (this.#unstable.size === 0) return;
    const written = new Set(this.#unstable);
    const [verifier] = await this.#session.call(operations.COMMIT, [this.#ino, false]);
    for (const one of written) this.#unstable.delete(one);
    if (written.size > 1 || !written.has(hex(verifier))) {
      throw new ClientError('WRITE_LOST', 'the server restarted before it made all writes durable');
    }
  }
}

/**
 * A request that was sent is carried out, and sent again where the connection broke, also after its caller was told that the
 * wait is over and has its buffer back.
 */
function kept(bytes: Uint8Array, { signal }: Limits): Uint8Array {
  return signal === undefined ? bytes : Uint8Array.from(bytes);
}

/** One that failed leaves none behind that would still look into the buffer. @throws what the first that failed says */
async function allOver<T>(work: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

function piecesOf(from: number, to: number, size: number): readonly { readonly at: number; readonly length: number }[] {
  const pieces: { at: number; length: number }[] = [];
  for (let at = from; at < to && pieces.length < clientLimits.serverPipeline; at += size) {
    pieces.push({ at, length: Math.min(size, to - at) });
  }
  return pieces;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
