import { FsError } from '../../fs/errors.ts';
import { Endpoint } from '../../fs/fabric/endpoint.ts';
import { findInfo } from '../../fs/fabric/info.ts';
import { removeLeftovers } from '../../fs/fabric/leftovers.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { operations, type ReplyOf, type RequestOf, wireLimits } from '../../mds/protocol/index.ts';
import { ClientError } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { Session } from '../session.ts';
import { type AsynchronousEngine, type LaidOut, TransferTimeout } from './engine.ts';
import { type Part, Pieces, type RmaKey, without } from './rma-keyring.ts';
import { RmaTransfers } from './rma-transfers.ts';

/** What the engine needs of a session. */
export type RmaSession = Pick<Session, 'call'>;

export interface RmaOptions {
  /** Bytes of the device. */
  readonly size: number;
  readonly writable: boolean;
  /** Tried in this order: the first that both sides have. */
  readonly providers: readonly ProviderName[];
  /** A transfer that takes longer is given up. */
  readonly timeoutMs?: number;
}

/** One life of the connection to the server's memory: from RMA_ATTACH to RMA_RELEASE. */
interface Attachment {
  readonly endpoint: Endpoint;
  readonly transfers: RmaTransfers;
  readonly keys: Pieces<RmaKey>;
}

/**
 * One-sided reads and writes by libfabric, with a key of the server for each piece of the device: the server's processor
 * copies nothing, where the hardware can, and the metadata server is not asked.
 *
 * R1 A transfer is over when the memory of the device has it (FI_DELIVERY_COMPLETE).
 * R2 A transfer that fails, or does not complete in time, takes the whole attachment along: a wrong key may never be answered
 *    (shm) or end the connection (tcp), and only the end of both endpoints says that nothing moves any more (E3). The next
 *    one attaches anew.
 * R3 What was prepared is remembered over that, and over the return of a part of it, with which the server closes the
 *    whole key: keys for the rest are asked for when they are needed.
 */
export class RmaEngine implements AsynchronousEngine {
  readonly name = 'rma';
  readonly synchronous = false;
  readonly transferMax = clientLimits.rmaTransferMax;
  readonly transfersMax = clientLimits.rmaTransfersMax;
  readonly size: number;
  readonly writable: boolean;
  readonly #session: RmaSession;
  readonly #options: RmaOptions;
  readonly #timeoutMs: number;
  /** R3. */
  readonly #laidOut = new Pieces<LaidOut>();
  #current: Attachment | undefined;
  #attaching: Promise<Attachment> | undefined;
  /** The end of the former attachment; never rejects. */
  #ending: Promise<void> = Promise.resolve();
  #running = 0;
  #idle: () => void = () => {};
  #closing: Promise<void> | undefined;

  constructor(session: RmaSession, options: RmaOptions) {
    this.size = options.size;
    this.writable = options.writable;
    this.#session = session;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? clientLimits.rmaTimeoutMs;
  }

  /** Attaches, if it is not. @throws FsError ENODEV with the reasons, ClientError */
  async open(): Promise<void> {
    await this.#attached();
  }

  async prepare(pieces: readonly LaidOut[]): Promise<void> {
    const unknown = pieces.filter((piece) => !this.#laidOut.covers(piece));
    for (const piece of unknown) this.#laidOut.add(piece);
    await this.#register(await this.#attached(), pieces);
  }

  release(pieces: readonly LaidOut[]): void {
    for (const { ino, offset, length } of pieces) {
      const range = { offset, length };
      this.#current?.keys.take(ino, range);
      for (const piece of this.#laidOut.take(ino, range))
        for (const rest of without(piece, range)) this.#laidOut.add(rest);
    }
  }

  read(storageOffset: number, target: Uint8Array): Promise<void> {
    return this.#transfer('read', storageOffset, target);
  }

  write(storageOffset: number, source: Uint8Array): Promise<void> {
    if (!this.writable) return Promise.reject(new FsError('EROFS', { op: 'rma' }));
    return this.#transfer('write', storageOffset, source);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** All keys are void, whoever holds them: settles when nothing moves any more that was begun before. */
  async forget(): Promise<void> {
    this.#laidOut.clear();
    if (this.#current !== undefined)
      this.#abandon(this.#current, new FsError('EIO', { op: 'rma', detail: 'the keys are void' }));
    await this.#ending;
  }

  async #close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
      if (this.#running === 0) resolve();
    });
    await this.#attaching?.catch(() => {});
    await this.forget();
  }

  async #transfer(kind: 'read' | 'write', storageOffset: number, bytes: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) throw new FsError('ENODEV', { op: 'rma', detail: 'the engine is closed' });
    this.#requireInside(storageOffset, bytes.length);
    this.#running++;
    try {
      for (let done = 0; done < bytes.length; ) {
        const attachment = this.#current ?? (await this.#attached());
        const at = storageOffset + done;
        const found = attachment.keys.find(at, kind === 'write') ?? (await this.#keyFor(kind, at, attachment));
        const { piece } = found;
        const part = bytes.subarray(done, done + Math.min(found.length, bytes.length - done));
        await attachment.transfers.run(kind, part, piece.base + BigInt(at - piece.storageOffset), piece.key);
        done += part.length;
      }
    } finally {
      this.#running--;
      if (this.#running === 0) this.#idle();
    }
  }

  /** R3. @throws FsError EACCES */
  async #keyFor(kind: 'read' | 'write', at: number, attachment: Attachment): Promise<Part<RmaKey>> {
    const laidOut = this.#laidOut.find(at, kind === 'write');
    if (laidOut !== undefined) await this.#register(attachment, [laidOut.piece]);
    const found = attachment.keys.find(at, kind === 'write');
    if (found !== undefined) return found;
    throw new FsError('EACCES', { op: 'rma', detail: `there is no key for a ${kind} at byte ${at} of the device` });
  }

  /** @throws FsError, ClientError */
  async #register({ keys }: Attachment, pieces: readonly LaidOut[]): Promise<void> {
    const missing = pieces.filter((piece) => !keys.covers(piece));
    for (const ino of new Set(missing.map((piece) => piece.ino))) {
      const wanted = missing
        .filter((piece) => piece.ino === ino)
        .map(({ offset, length, storageOffset, writable }): WirePiece => [offset, length, storageOffset, writable]);
      for (let at = 0; at < wanted.length; at += wireLimits.extentsMax) {
        const some = wanted.slice(at, at + wireLimits.extentsMax);
        const [opened] = await this.#session.call(operations.RMA_REGISTER, [ino, some]);
        for (const each of opened) {
          const key = keyFromWire(ino, each);
          // It may have been released meanwhile.
          if (this.#laidOut.covers(key)) keys.add(key);
        }
      }
    }
  }

  #attached(): Promise<Attachment> {
    this.#attaching ??= this.#attach().then(
      (attachment) => {
        this.#current = attachment;
        return attachment;
      },
      (error: unknown) => {
        this.#attaching = undefined;
        throw error;
      },
    );
    return this.#attaching;
  }

  /** @throws FsError ENODEV with the reasons, ClientError */
  async #attach(): Promise<Attachment> {
    await this.#ending;
    const reasons: string[] = [];
    for (const provider of this.#options.providers) {
      try {
        return await this.#attachBy(provider);
      } catch (error) {
        const isElsewhere = error instanceof FsError || (error instanceof ClientError && error.status === 'NOTSUPP');
        if (!isElsewhere) throw error;
        reasons.push(`${provider}: ${error.message}`);
      }
    }
    throw new FsError('ENODEV', { op: 'rma', detail: reasons.join('; ') });
  }

  async #attachBy(provider: ProviderName): Promise<Attachment> {
    if (provider === 'shm') removeLeftovers();
    const endpoint = new Endpoint(findInfo(provider), false);
    try {
      const [address] = await this.#session.call(operations.RMA_ATTACH, [provider, Buffer.from(endpoint.name())]);
      const transfers = new RmaTransfers(endpoint, endpoint.insert(address), this.#timeoutMs, (why) => {
        this.#abandon(attachment, why);
      });
      const attachment: Attachment = { endpoint, transfers, keys: new Pieces<RmaKey>() };
      return attachment;
    } catch (error) {
      endpoint.close();
      throw error;
    }
  }

  /** R2. What is not over fails when it is, or when that takes too long. */
  #abandon(attachment: Attachment, why: FsError): void {
    if (this.#current !== attachment) return;
    this.#current = undefined;
    this.#attaching = undefined;
    const tell = attachment.transfers.stop();
    attachment.endpoint.close();
    const over = this.#ending.then(() => this.#detach());
    this.#ending = over;
    // In shared memory the server may still write into buffers here until it has let go, so nobody is told before.
    void over.then(() => tell(why.code === 'ETIMEDOUT' ? new TransferTimeout(over, why.context) : why));
  }

  /** Settles when the server's endpoint for this client is closed, or the client has lost all that it had there; never rejects. */
  async #detach(): Promise<void> {
    for (let tries = 0; tries < clientLimits.rmaReleasesMax; tries++) {
      try {
        await this.#session.call(operations.RMA_RELEASE, [], { urgent: true });
        return;
      } catch (error) {
        if (!(error instanceof ClientError && error.status === 'TIMEOUT')) return;
      }
    }
  }

  /** @throws FsError EINVAL */
  #requireInside(offset: number, length: number): void {
    const isInside = Number.isSafeInteger(offset) && offset >= 0 && offset + length <= this.size;
    if (isInside && length <= this.transferMax) return;
    throw new FsError('EINVAL', { op: 'rma', range: { offset, length }, detail: `of ${this.size} bytes` });
  }
}

type WirePiece = RequestOf<typeof operations.RMA_REGISTER>[1][number];
type WireKey = ReplyOf<typeof operations.RMA_REGISTER>[0][number];

function keyFromWire(ino: number, [offset, length, storageOffset, writable, key, base]: WireKey): RmaKey {
  return { ino, offset, length, storageOffset, writable, key: wordOf(key), base: wordOf(base) };
}

function wordOf(bytes: Uint8Array): bigint {
  return Buffer.from(bytes).readBigUInt64BE();
}
