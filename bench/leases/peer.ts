/** Clients of the metadata server that do as little as they can themselves, so that what is measured is the server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FsError } from '../../fs/errors.ts';
import type { Operation, RequestOf } from '../../mds/protocol/operation.ts';
import { exchangeFlag, operations } from '../../mds/protocol/ops.ts';
import { status } from '../../mds/protocol/status.ts';
import { decode, encode, Frames } from './wire.ts';

type Reply = readonly unknown[];
export type WireState = RequestOf<typeof operations.CLOSE>[0];

export interface Recalled {
  readonly ino: number;
  readonly stateid: WireState;
}

/** One connection. What is asked within one turn of the event loop leaves in one write. */
export class Wire {
  readonly #socket: Socket;
  readonly #frames = new Frames();
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #outgoing: Buffer[] = [];
  #xid = 0;
  /** What to do once a recall has been answered with OK. */
  onRecall: (recalled: Recalled) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#frames.push(chunk, (body) => this.#take(decode(body))));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#waiting.size > 0)
        throw new FsError('EIO', { detail: `a connection closed, ${this.#waiting.size} requests unanswered` });
    });
  }

  static async open(path: string): Promise<Wire> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Wire(socket);
  }

  send(
    session: Uint8Array | null,
    slot: number,
    seqid: number,
    operation: number,
    args: unknown[],
    done: (reply: Reply) => void,
  ): void {
    const xid = ++this.#xid;
    this.#waiting.set(xid, done);
    this.#write(encode([0, xid, session, slot, seqid, session !== null, operation, args, null]));
  }

  close(): void {
    this.#waiting.clear();
    this.#socket.destroy();
  }

  #take(message: Reply): void {
    const [kind, xid] = message;
    if (typeof xid !== 'number') throw new TypeError('no xid');
    if (kind === 1) {
      const done = this.#waiting.get(xid);
      this.#waiting.delete(xid);
      done?.(message);
      return;
    }
    this.#write(encode([3, xid, status.OK]));
    const args = message.at(-1);
    if (!isRecall(args)) throw new TypeError('a callback that is no recall of a file');
    this.onRecall({ ino: args[1], stateid: args[2] });
  }

  #write(frame: Buffer): void {
    if (this.#outgoing.push(frame) > 1) return;
    setImmediate(() => {
      const frames = this.#outgoing;
      this.#outgoing = [];
      this.#socket.write(frames.length === 1 && frames[0] !== undefined ? frames[0] : Buffer.concat(frames));
    });
  }
}

/** CB_LAYOUTRECALL of a file. */
function isRecall(args: unknown): args is [number, number, WireState] {
  return Array.isArray(args) && args[0] === 1 && typeof args[1] === 'number' && Array.isArray(args[2]);
}

/** A client with one session on a connection, which others may share. */
export class Peer {
  readonly wire: Wire;
  readonly root: number;
  readonly #session: Uint8Array;
  readonly #seqids: number[] = [];

  private constructor(wire: Wire, session: Uint8Array, root: number) {
    this.wire = wire;
    this.#session = session;
    this.root = root;
  }

  static async join(wire: Wire, owner: string): Promise<Peer> {
    const introduction: RequestOf<typeof operations.EXCHANGE_ID> = [
      Buffer.from(owner),
      Buffer.alloc(8, 1),
      exchangeFlag.USE_PNFS_MDS,
      'bench',
      1000,
      [0, 0, []],
      null,
    ];
    const [id, sequence, , , , , root] = await ask(wire, null, 0, 0, operations.EXCHANGE_ID, introduction);
    if (typeof id !== 'number' || typeof sequence !== 'number') throw new TypeError('no client');
    const [session] = await ask(wire, null, 0, 0, operations.CREATE_SESSION, [id, sequence, 32, 1]);
    if (!(session instanceof Uint8Array) || typeof root !== 'number') throw new TypeError('no session');
    await ask(wire, session, 0, 1, operations.RECLAIM_COMPLETE, []);
    const peer = new Peer(wire, session, root);
    peer.#seqids[0] = 1;
    return peer;
  }

  /** For who takes any session: the echo. */
  static pretend(wire: Wire): Peer {
    return new Peer(wire, Buffer.alloc(16), 1);
  }

  /** @throws FsError EIO what was not answered with OK */
  call<A extends unknown[]>(operation: Operation<A, unknown>, args: A, slot = 0): Promise<readonly unknown[]> {
    return ask(this.wire, this.#session, slot, this.#next(slot), operation, args);
  }

  /** Without a promise. */
  send<A extends unknown[]>(
    operation: Operation<A, unknown>,
    args: A,
    slot: number,
    done: (results: readonly unknown[]) => void,
  ): void {
    this.wire.send(this.#session, slot, this.#next(slot), operation.number, args, (reply) => {
      done(resultsOf(operation, reply));
    });
  }

  async open(name: string): Promise<Opened> {
    const target: RequestOf<typeof operations.OPEN>[0] = [2, this.root, Buffer.from(name), 0o644, false];
    const [stateid, attr] = await this.call(operations.OPEN, [target, 3, false, false]);
    if (!isState(stateid) || !Array.isArray(attr) || typeof attr[0] !== 'number') throw new TypeError('not opened');
    return { ino: attr[0], stateid };
  }

  #next(slot: number): number {
    const seqid = (this.#seqids[slot] ?? 0) + 1;
    this.#seqids[slot] = seqid;
    return seqid;
  }
}

export interface Opened {
  readonly ino: number;
  readonly stateid: WireState;
}

export function isState(value: unknown): value is WireState {
  return Array.isArray(value) && typeof value[0] === 'number' && value[1] instanceof Uint8Array;
}

function ask<A extends unknown[]>(
  wire: Wire,
  session: Uint8Array | null,
  slot: number,
  seqid: number,
  operation: Operation<A, unknown>,
  args: A,
): Promise<readonly unknown[]> {
  return new Promise((resolve, reject) => {
    wire.send(session, slot, seqid, operation.number, args, (reply) => {
      try {
        resolve(resultsOf(operation, reply));
      } catch (error) {
        reject(error);
      }
    });
  });
}

function resultsOf({ name }: { readonly name: string }, [, , code, results, error]: Reply): readonly unknown[] {
  if (code === status.OK && Array.isArray(results)) return results;
  const detail = Array.isArray(error) ? String(error[0]) : '';
  throw new FsError('EIO', { op: name, detail: `status ${String(code)}: ${detail}` });
}
