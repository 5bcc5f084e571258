/**
 * One connection of a client: requests come in, replies and callbacks go out.
 *
 * Back-pressure: no more than `requestsPerConnectionMax` requests run at once, and none is begun while the client does
 * not take its replies. What is not begun stays in the socket, but for the frames of one chunk already read.
 */
import type { Socket } from 'node:net';
import type { Reply } from '../fs/vfs.ts';
import { peerPid } from './fencing/peer-process.ts';
import type { HalfFrames } from './half-frames.ts';
import { serverLimits } from './limits.ts';
import { formatAddress } from './protocol/address.ts';
import {
  type CallbackReplyFrame,
  type Frame,
  FrameDecoder,
  FrameWriter,
  frameKind,
  type ReferringCall,
  type ReplyFrame,
  type RequestFrame,
} from './protocol/frame.ts';
import { ProtocolError } from './protocol/protocol-error.ts';
import { status } from './protocol/status.ts';

export interface ConnectionEvents {
  /** Answers the request; never rejects. */
  request(connection: Connection, frame: RequestFrame): Reply<ReplyFrame>;
  closed(connection: Connection): void;
  /** The client broke the protocol; the connection closes. */
  fault(connection: Connection, error: ProtocolError): void;
}

/** session, slot, seqid, referring calls, operation number, arguments. */
export type CallbackBody = readonly [Uint8Array, number, number, readonly ReferringCall[], number, unknown[]];

export class Connection {
  /** Of the client: `tcp://HOST:PORT`, or `unix`. */
  readonly address: string;
  /** Of this host, as the client reaches it. */
  readonly host: string;
  /** Of the process that connected over a Unix socket. */
  readonly pid: number | undefined;
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #decoder = new FrameDecoder();
  readonly #halfFrames: HalfFrames;
  readonly #writer: FrameWriter;
  readonly #waiting: RequestFrame[] = [];
  /** Sent and not answered. */
  readonly #callbacks = new Map<number, (answer: number | undefined) => void>();
  #inProgress = 0;
  #nextXid = 1;
  #closed = false;

  constructor(socket: Socket, events: ConnectionEvents, halfFrames: HalfFrames) {
    const { remoteAddress: host, remotePort: port = 0 } = socket;
    this.address = host === undefined ? 'unix' : formatAddress({ kind: 'tcp', host, port });
    this.host = hostOf(socket);
    this.pid = peerPid(socket);
    this.#socket = socket;
    this.#events = events;
    this.#halfFrames = halfFrames;
    this.#writer = new FrameWriter(socket);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => this.#begin());
    // The reason of an error follows as 'close', and there is nothing to do before that.
    socket.on('error', () => {});
    socket.on('end', () => this.#ended());
    socket.on('close', () => this.#gone());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a callback; false: the connection is gone or takes none now. `answered` is called once, with the status, or
   * with undefined when the connection ends before there is one.
   */
  callback(body: CallbackBody, answered: (answer: number | undefined) => void): boolean {
    if (this.#closed || this.#callbacks.size >= serverLimits.callbacksPerConnectionMax) return false;
    const xid = this.#nextXid;
    this.#nextXid = (xid + 1) >>> 0;
    this.#callbacks.set(xid, answered);
    const [session, slot, seqid, referring, operation, args] = body;
    this.#send([frameKind.callback, xid, session, slot, seqid, [...referring], operation, args]);
    return true;
  }

  close(): void {
    this.#socket.destroy();
  }

  tooSlow(): void {
    this.#fault(new ProtocolError('half-frame', 'too many requests are not complete, and this one began first'));
  }

  #received(chunk: Buffer): void {
    try {
      const frames = this.#decoder.push(chunk);
      for (const frame of frames) this.#take(frame);
      this.#halfFrames.account(this, this.#decoder.buffered, frames.length > 0);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fault(error);
      return;
    }
    this.#begin();
  }

  #take(frame: Frame): void {
    if (frame[0] === frameKind.request) this.#waiting.push(frame);
    else if (frame[0] === frameKind.callbackReply) this.#answered(frame);
    else throw new ProtocolError('bad-frame', `a client does not send frames of kind ${frame[0]}`);
  }

  #answered([, xid, answer]: CallbackReplyFrame): void {
    const answered = this.#callbacks.get(xid);
    if (answered === undefined)
      throw new ProtocolError('bad-frame', `an answer to callback ${xid}, which waits for none`);
    this.#callbacks.delete(xid);
    answered(answer);
  }

  #begin(): void {
    while (!this.#closed && this.#ready()) {
      const frame = this.#waiting.shift();
      if (frame === undefined) break;
      const reply = this.#events.request(this, frame);
      if (reply instanceof Promise) this.#replyLater(reply);
      else this.#reply(reply);
    }
    if (this.#waiting.length > 0) this.#socket.pause();
    else if (this.#ready()) this.#socket.resume();
  }

  #replyLater(coming: Promise<ReplyFrame>): void {
    this.#inProgress++;
    void coming.then((reply) => {
      this.#inProgress--;
      this.#reply(reply);
      this.#begin();
    });
  }

  #ready(): boolean {
    return this.#inProgress < serverLimits.requestsPerConnectionMax && !this.#socket.writableNeedDrain;
  }

  #reply(reply: ReplyFrame): void {
    try {
      this.#send(reply);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const [kind, xid, , , , sequence] = reply;
      this.#send([kind, xid, status.REP_TOO_BIG, null, [error.message, null], sequence]);
    }
  }

  #send(frame: Frame): void {
    if (!this.#closed) this.#writer.write(frame);
  }

  #ended(): void {
    if (this.#decoder.partial) this.#fault(new ProtocolError('truncated', 'the connection ended inside a frame'));
    else this.close();
  }

  #fault(error: ProtocolError): void {
    this.#events.fault(this, error);
    this.close();
  }

  #gone(): void {
    this.#closed = true;
    this.#halfFrames.account(this, 0, false);
    this.#waiting.length = 0;
    const unanswered = [...this.#callbacks.values()];
    this.#callbacks.clear();
    this.#events.closed(this);
    for (const answered of unanswered) answered(undefined);
  }
}

/** A socket for both families shows addresses of IPv4 as those of IPv6 (RFC 4291 §2.5.5.2). */
function hostOf({ localAddress }: Socket): string {
  return localAddress === undefined ? '127.0.0.1' : localAddress.replace(/^::ffff:(?=\d+\.)/, '');
}
