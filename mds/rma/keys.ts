/**
 * One-sided access by clients: who is attached, and which keys it has to which part of the device.
 *
 * K1 A key is of one client, on bytes that it holds a layout of, for reading only unless it may write there.
 * K2 A key is closed before the layout below it is given back, replaced by a commit or taken away: whoever is told that
 *    something is free may believe it (I2). What came in under the key has landed by then.
 * K3 When closing fails the target process is killed, which closes all keys of all clients: closing always succeeds.
 * K4 Nothing of a client that was fenced, or ended, comes in any more: its endpoint is closed with its keys.
 */
import { randomBytes } from 'node:crypto';
import { FsError } from '../../fs/errors.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { limits } from '../../fs/limits.ts';
import { after } from '../../fs/reply.ts';
import type { Reply } from '../../fs/vfs.ts';
import type { Iomode } from '../../layout/types.ts';
import type { KeyOwner } from '../fencing/key.ts';
import { StatusError } from '../protocol/status.ts';
import { rmaLimits } from './limits.ts';
import type { Opened } from './messages.ts';
import type { TargetProcess } from './target-process.ts';

/** What a key is asked for: bytes of a file under a layout of the client, and where they lie. */
export interface Piece {
  readonly ino: number;
  readonly offset: number;
  readonly length: number;
  readonly storageOffset: number;
  readonly writable: boolean;
  /** Of the layout that it is under. */
  readonly iomode: Iomode;
}

export interface Key extends Piece {
  readonly key: Uint8Array;
  /** What the client names as the address of the first byte. */
  readonly base: Uint8Array;
}

interface Held {
  readonly piece: Piece;
  readonly id: number;
}

/** What a client has; replaced as a whole when it attaches anew. */
interface Attachment {
  readonly target: TargetProcess;
  readonly keys: Map<number, Held>;
}

type Which = (piece: Piece) => boolean;

/** Of one client; only while there is anything. */
interface Going {
  /** What goes now. */
  readonly now: Set<Which>;
  /** Of each registration under way, what has been going since it began. */
  readonly since: Set<Which[]>;
}

export interface KeyOptions {
  readonly providers: readonly ProviderName[];
  /** Starts the process that clients reach. @throws FsError */
  readonly start: () => Promise<TargetProcess>;
  readonly now: () => number;
}

export class RmaKeys implements KeyOwner {
  readonly name = 'rma';
  readonly #options: KeyOptions;
  readonly #attached = new Map<number, Attachment>();
  /** Clients that have attached, by which they said that keys are their only way to the device. */
  readonly #byKeys = new Set<number>();
  readonly #going = new Map<number, Going>();
  #target: Promise<TargetProcess> | undefined;
  #startedAt = Number.NEGATIVE_INFINITY;
  #keys = 0;
  #nextId = 1;
  #closed = false;

  constructor(options: KeyOptions) {
    this.#options = options;
  }

  get providers(): readonly ProviderName[] {
    return this.#options.providers;
  }

  isAttached(client: number): boolean {
    return this.#attached.has(client);
  }

  /** The client has keys that reach bytes of this file, or of any. */
  has(client: number, ino?: number): boolean {
    const keys = this.#attached.get(client)?.keys;
    if (keys === undefined || keys.size === 0) return false;
    return ino === undefined || [...keys.values()].some(({ piece }) => piece.ino === ino);
  }

  /**
   * Gives the client an endpoint, in place of the one that it had, with which all its keys go. Answers its address.
   * @throws StatusError NOTSUPP: no such provider; DELAY: too many are attached, or the target has just crashed; IO
   */
  async attach(client: number, provider: string, host: string, peer: Uint8Array): Promise<Uint8Array> {
    const known = this.#options.providers.find((each) => each === provider);
    if (known === undefined) throw new StatusError('NOTSUPP', `no one-sided access by ${provider} here`);
    await this.release(client);
    if (this.#attached.size >= rmaLimits.clientsMax)
      throw new StatusError('DELAY', `${rmaLimits.clientsMax} clients are attached`);
    const target = await this.#running();
    const attachment: Attachment = { target, keys: new Map() };
    this.#detach(client, this.#attached.get(client)); // another attach of it was faster
    this.#attached.set(client, attachment);
    try {
      const answer = await target.do({
        kind: 'open',
        client,
        provider: known,
        host,
        peer: Buffer.from(peer).toString('hex'),
      });
      if (answer.kind !== 'opened' || this.#attached.get(client) !== attachment)
        throw new FsError('EIO', { client, op: 'rma', detail: 'the client was cut off meanwhile' });
      this.#remember(client);
      return Buffer.from(answer.address, 'hex');
    } catch (error) {
      if (this.#attached.get(client) === attachment) this.#attached.delete(client);
      throw asStatus(error);
    }
  }

  /**
   * Keys for pieces that the client holds (K1), which `isHeld` says once more at the moment from which on they count.
   * @param find looks up where they lie
   * @throws StatusError NOENT: the client is not attached; DELAY: what it holds of them goes; TOOSMALL: too many keys; IO: the memory
   *   cannot be registered; and what `find` throws
   */
  async register(
    client: number,
    find: () => Promise<readonly Piece[]>,
    isHeld: (piece: Piece) => boolean,
  ): Promise<readonly Key[]> {
    const going = this.#goingOf(client);
    const since = [...going.now];
    going.since.add(since);
    try {
      const pieces = await find();
      if (pieces.some((piece) => since.some((which) => which(piece))))
        throw new StatusError('DELAY', `client ${client} gives it back, or commits it`);
      if (!pieces.every(isHeld)) throw new StatusError('BADLAYOUT', 'not all of it is held');
      return await this.#register(client, pieces);
    } finally {
      going.since.delete(since);
      this.#settle(client, going);
    }
  }

  async #register(client: number, pieces: readonly Piece[]): Promise<readonly Key[]> {
    const attachment = this.#attached.get(client);
    if (attachment === undefined || !attachment.target.running) {
      this.#detach(client, attachment);
      throw new StatusError('NOENT', `client ${client} is not attached`);
    }
    const wanted = pieces.flatMap(inWindows);
    if (
      attachment.keys.size + wanted.length > rmaLimits.keysPerClientMax ||
      this.#keys + wanted.length > rmaLimits.keysMax
    )
      throw new StatusError('TOOSMALL', `the client has ${attachment.keys.size} keys, all have ${this.#keys}`);
    const held = wanted.map((piece) => ({ piece, id: this.#nextId++ }));
    for (const each of held) this.#keep(attachment, each);
    try {
      const answer = await attachment.target.do({
        kind: 'register',
        client,
        keys: held.map(({ piece, id }) => ({
          id,
          offset: piece.storageOffset,
          length: piece.length,
          writable: piece.writable,
          wish: randomBytes(8).toString('hex'),
        })),
      });
      if (answer.kind !== 'registered') throw new FsError('EIO', { client, op: 'rma', detail: 'a wrong answer' });
      return held.map(({ piece }, index) => keyOf(piece, answer.keys[index]));
    } catch (error) {
      for (const { id } of held) this.#drop(attachment, id);
      throw asStatus(error);
    }
  }

  /**
   * K2: `letGo` makes layouts of the client go, or blocks below them, when the keys that `which` is true of are closed and nothing
   * comes in under them; and until it is over none is made.
   */
  without<T>(client: number, which: Which, letGo: () => Reply<T>): Reply<T> {
    const going = this.#goingOf(client);
    going.now.add(which);
    for (const since of going.since) since.push(which);
    const over = (): void => {
      going.now.delete(which);
      this.#settle(client, going);
    };
    let reply: Reply<T> | undefined;
    try {
      reply = after(this.#close(client, which), letGo);
      return reply instanceof Promise ? reply.finally(over) : reply;
    } finally {
      if (!(reply instanceof Promise)) over();
    }
  }

  #goingOf(client: number): Going {
    const going = this.#going.get(client) ?? { now: new Set(), since: new Set() };
    this.#going.set(client, going);
    return going;
  }

  #settle(client: number, { now, since }: Going): void {
    if (now.size === 0 && since.size === 0) this.#going.delete(client);
  }

  /** undefined: there are none. */
  #close(client: number, which: Which): Promise<void> | undefined {
    const attachment = this.#attached.get(client);
    if (attachment === undefined) return undefined;
    const ids = [...attachment.keys.values()].filter(({ piece }) => which(piece)).map(({ id }) => id);
    if (ids.length === 0) return undefined;
    return this.#surely(attachment, { kind: 'close', client, ids }).then(() => {
      for (const id of ids) this.#drop(attachment, id);
    });
  }

  /** K4. Settles when nothing of the client comes in any more. */
  async release(client: number): Promise<void> {
    const attachment = this.#attached.get(client);
    if (attachment === undefined) return;
    await this.#surely(attachment, { kind: 'end', client });
    this.#detach(client, attachment);
  }

  knows(client: number): boolean {
    return this.#byKeys.has(client);
  }

  async revoke(client: number): Promise<boolean> {
    await this.release(client);
    return this.knows(client);
  }

  /** The end of the process that clients reach. */
  async shutDown(): Promise<void> {
    this.#closed = true;
    const target = await this.#target?.catch(() => undefined);
    await target?.stop();
  }

  /** @throws StatusError DELAY, IO */
  async #running(): Promise<TargetProcess> {
    const known = await this.#target?.catch(() => undefined);
    if (known?.running === true) return known;
    if (this.#closed) throw new StatusError('DELAY', 'the server closes');
    const now = this.#options.now();
    if (now - this.#startedAt < rmaLimits.restartMs) throw new StatusError('DELAY', 'the target has just ended');
    this.#startedAt = now;
    this.#target = this.#options.start();
    try {
      return await this.#target;
    } catch (error) {
      throw asStatus(error);
    }
  }

  /** Also of clients that have ended: their fences may still be under way. */
  #remember(client: number): void {
    this.#byKeys.add(client);
    const [oldest] = this.#byKeys;
    if (oldest !== undefined && this.#byKeys.size > rmaLimits.rememberedMax) this.#byKeys.delete(oldest);
  }

  /** K3. */
  async #surely(
    attachment: Attachment,
    work: { kind: 'close'; client: number; ids: number[] } | { kind: 'end'; client: number },
  ): Promise<void> {
    try {
      await attachment.target.do(work);
    } catch (error) {
      await attachment.target.kill(error instanceof Error ? error.message : String(error));
    }
  }

  #keep({ keys }: Attachment, held: Held): void {
    keys.set(held.id, held);
    this.#keys++;
  }

  /** Its keys count no more. */
  #detach(client: number, attachment: Attachment | undefined): void {
    if (attachment === undefined) return;
    for (const id of attachment.keys.keys()) this.#drop(attachment, id);
    if (this.#attached.get(client) === attachment) this.#attached.delete(client);
  }

  #drop({ keys }: Attachment, id: number): void {
    if (keys.delete(id)) this.#keys--;
  }
}

/** No registration spans two windows of the mapping. */
function inWindows(piece: Piece): readonly Piece[] {
  const parts: Piece[] = [];
  for (let done = 0; done < piece.length; ) {
    const at = piece.storageOffset + done;
    const length = Math.min(piece.length - done, limits.windowSize - (at % limits.windowSize));
    parts.push({ ...piece, offset: piece.offset + done, length, storageOffset: at });
    done += length;
  }
  return parts;
}

function keyOf(piece: Piece, opened: Opened | undefined): Key {
  if (opened === undefined) throw new FsError('EIO', { op: 'rma', detail: 'a key is missing' });
  return { ...piece, key: Buffer.from(opened.key, 'hex'), base: Buffer.from(opened.base, 'hex') };
}

function asStatus(error: unknown): unknown {
  if (!(error instanceof FsError)) return error;
  return new StatusError('IO', error.message, error.code, error);
}
