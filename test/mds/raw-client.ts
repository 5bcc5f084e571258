/** A client that knows the protocol and nothing else: every field of every message is in the hands of the test. */
import { connect, type Socket } from 'node:net';
import { parseAddress } from '../../mds/protocol/address.ts';
import { stateIdFromWire } from '../../mds/protocol/fields.ts';
import {
  type CallbackFrame,
  encodeFrame,
  FrameDecoder,
  frameKind,
  type ReplyFrame,
  type RequestFrame,
} from '../../mds/protocol/frame.ts';
import type { Operation, RequestOf } from '../../mds/protocol/operation.ts';
import { callbacks, exchangeFlag, operations } from '../../mds/protocol/ops.ts';
import { type StatusName, status, statusName } from '../../mds/protocol/status.ts';

type RecallArgs = RequestOf<typeof callbacks.CB_LAYOUTRECALL>;
type WireStateId = RequestOf<typeof operations.CLOSE>[0];
/** CB_LAYOUTRECALL of a file. */
export type Recall = [
  stateid: WireStateId,
  ino: number,
  iomode: 1 | 2 | 3,
  offset: number,
  length: number,
  changed: boolean,
];

export class CallFailed extends Error {
  readonly status: string;

  constructor(name: string, detail: string) {
    super(`${name}: ${detail}`);
    this.status = name;
  }
}

export class RawConnection {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  /** What the next recalls are answered with; the last one stays. */
  answers: (StatusName | 'silence')[] = ['OK'];
  /** Decides what a recall is answered with, instead of `answers` and `recall`. */
  onRecall: ((recall: Recall) => StatusName) | undefined;
  /** Every callback that came, as it came. */
  readonly callbacks: CallbackFrame[] = [];
  /** What all callbacks but recalls of files are answered with. */
  onOther: (operation: number, args: unknown[]) => StatusName = () => 'OK';
  readonly #decoder = new FrameDecoder();
  readonly #replies = new Map<number, (frame: ReplyFrame) => void>();
  readonly #recalls: Recall[] = [];
  #wakeRecall: (() => void) | undefined;
  #wakeCallback: (() => void) | undefined;
  #xid = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve());
    });
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      for (const frame of this.#decoder.push(chunk)) {
        if (frame[0] === frameKind.reply) this.#replies.get(frame[1])?.(frame);
        else if (frame[0] === frameKind.callback) this.#called(frame);
      }
    });
  }

  static open(address: string): Promise<RawConnection> {
    const to = parseAddress(address);
    const socket = to.kind === 'unix' ? connect({ path: to.path }) : connect({ host: to.host, port: to.port });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  nextXid(): number {
    return ++this.#xid;
  }

  request(frame: RequestFrame): Promise<ReplyFrame> {
    return new Promise((resolve, reject) => {
      this.#replies.set(frame[1], (reply) => {
        this.#replies.delete(frame[1]);
        resolve(reply);
      });
      void this.closed.then(() => reject(new CallFailed('CLOSED', 'the connection closed')));
      this.socket.write(encodeFrame(frame));
    });
  }

  /** A request outside of any session. */
  async call<A extends unknown[], R>(operation: Operation<A, R>, args: A): Promise<R> {
    const frame: RequestFrame = [0, this.nextXid(), null, 0, 0, false, operation.number, args, null];
    return resultOf(operation, await this.request(frame));
  }

  /** The next CB_LAYOUTRECALL; waits for it. */
  async recall(): Promise<Recall> {
    for (;;) {
      const next = this.#recalls.shift();
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => {
        this.#wakeRecall = resolve;
      });
    }
  }

  end(): Promise<void> {
    this.socket.destroy();
    return this.closed;
  }

  #called(frame: CallbackFrame): void {
    const [, xid, , , , , number, args] = frame;
    this.callbacks.push(frame);
    this.#wakeCallback?.();
    const recall = this.#fileRecall(number, args);
    if (recall === undefined) {
      this.answer(xid, this.onOther(number, args));
      return;
    }
    const { onRecall } = this;
    if (onRecall !== undefined) {
      // After whoever waits for a reply that came in the same chunk.
      setImmediate(() => this.answer(xid, onRecall(recall)));
      return;
    }
    const answer = (this.answers.length > 1 ? this.answers.shift() : this.answers[0]) ?? 'OK';
    if (answer !== 'silence') this.answer(xid, answer);
    this.#recalls.push(recall);
    this.#wakeRecall?.();
  }

  /** undefined: the callback is another one. */
  #fileRecall(number: number, args: unknown[]): Recall | undefined {
    const operation = Object.values(callbacks).find((each) => each.number === number);
    if (operation?.isRequest(args) !== true) throw new Error(`bad callback ${number}`);
    if (!callbacks.CB_LAYOUTRECALL.isRequest(args)) return undefined;
    const [, ino, stateid, ...rest]: RecallArgs = args;
    return ino === null || stateid === null ? undefined : [stateid, ino, ...rest];
  }

  /** The reply to a callback. */
  answer(xid: number, answer: StatusName): void {
    this.socket.write(encodeFrame([frameKind.callbackReply, xid, status[answer]]));
  }

  /** The callback with this place among all that came; waits for it. */
  async callback(index: number): Promise<CallbackFrame> {
    for (;;) {
      const frame = this.callbacks[index];
      if (frame !== undefined) return frame;
      await new Promise<void>((resolve) => {
        this.#wakeCallback = resolve;
      });
    }
  }
}

export function resultOf<R>(operation: Operation<unknown, R>, [, , number, results, error]: ReplyFrame): R {
  if (number !== status.OK) throw new CallFailed(statusName(number) ?? String(number), error?.[0] ?? '');
  if (!operation.isReply(results)) throw new Error(`reply of ${operation.name} does not match its schema`);
  return results;
}

export interface Identity {
  readonly owner?: string;
  readonly verifier?: string;
  readonly uid?: number;
  readonly callbackSlots?: number;
  /** Says RECLAIM_COMPLETE at once, as a client does that has nothing to reclaim: unless false. */
  readonly complete?: boolean;
  readonly ioMaxMs?: number;
  readonly process?: string | null;
}

/** Of a session of a RawClient; tests that count their requests use the others. */
const lastSlot = 7;

/** A client with one connection, one session, and a slot that it uses in order. */
export class RawClient {
  readonly connection: RawConnection;
  readonly id: number;
  readonly session: Uint8Array;
  readonly rootIno: number;
  readonly creation: number;
  /** sr_status_flags of the last reply. */
  flags = 0;
  readonly #seqids: number[] = [];

  private constructor(connection: RawConnection, id: number, session: Uint8Array, rootIno: number, creation: number) {
    this.connection = connection;
    this.id = id;
    this.session = session;
    this.rootIno = rootIno;
    this.creation = creation;
  }

  static async connect(address: string, identity: Identity = {}): Promise<RawClient> {
    const connection = await RawConnection.open(address);
    const [id, sequence, , , , , rootIno] = await connection.call(operations.EXCHANGE_ID, introduction(identity));
    const [session] = await connection.call(operations.CREATE_SESSION, [
      id,
      sequence,
      lastSlot + 1,
      identity.callbackSlots ?? 8,
    ]);
    const client = new RawClient(connection, id, session, rootIno, sequence);
    if (identity.complete !== false) await client.call(operations.RECLAIM_COMPLETE, [], lastSlot);
    return client;
  }

  /** In order on slot 0, or on `slot` beside what waits there. */
  async call<A extends unknown[], R>(operation: Operation<A, R>, args: A, slot = 0): Promise<R> {
    const seqid = (this.#seqids[slot] ?? 0) + 1;
    this.#seqids[slot] = seqid;
    const frame: RequestFrame = [
      0,
      this.connection.nextXid(),
      this.session,
      slot,
      seqid,
      false,
      operation.number,
      args,
      null,
    ];
    const reply = await this.connection.request(frame);
    if (reply[5] !== null) this.flags = reply[5][0];
    return resultOf(operation, reply);
  }

  /** The status that a call fails with, or OK. */
  async statusOf<A extends unknown[], R>(operation: Operation<A, R>, args: A, slot = 0): Promise<string> {
    try {
      await this.call(operation, args, slot);
      return 'OK';
    } catch (error) {
      if (error instanceof CallFailed) return error.status;
      throw error;
    }
  }

  /** Creates a file in the root directory and opens it for reading and writing. */
  async create(name: string, content?: Uint8Array) {
    const [stateid, attr] = await this.call(operations.OPEN, [
      [2, this.rootIno, Buffer.from(name), 0o644, true],
      3,
      false,
      false,
    ]);
    if (content !== undefined) await this.call(operations.WRITE, [stateid, 0, 2, content]);
    return { ino: attr[0], stateid };
  }

  async open(ino: number, access: 1 | 2 | 3 = 3) {
    const [stateid] = await this.call(operations.OPEN, [[0, ino], access, false, false]);
    return stateid;
  }

  /** Of exactly these bytes, or to the end. */
  async layout(
    ino: number,
    stateid: RequestOf<typeof operations.CLOSE>[0],
    iomode: number,
    offset: number,
    length: number,
    slot = 0,
  ) {
    const [layout, segment, extents] = await this.call(
      operations.LAYOUTGET,
      [ino, stateid, iomode, offset, length, length === Infinity ? 1 : length, 4096, false],
      slot,
    );
    return { stateid: layout, segment, extents };
  }

  async returnLayout(ino: number, stateid: RequestOf<typeof operations.CLOSE>[0], slot = 0) {
    const [left] = await this.call(operations.LAYOUTRETURN, [1, ino, stateid, 3, 0, Infinity, false], slot);
    return left === null ? null : stateIdFromWire(left);
  }
}

export function introduction({
  owner = 'peer',
  verifier = 'v1',
  uid = 0,
  ioMaxMs = 1000,
  process = null,
}: Identity): RequestOf<typeof operations.EXCHANGE_ID> {
  const padded = Buffer.alloc(8);
  padded.write(verifier);
  return [Buffer.from(owner), padded, exchangeFlag.USE_PNFS_MDS, 'raw test client', ioMaxMs, [uid, uid, []], process];
}
