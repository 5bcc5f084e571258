import type { Socket } from 'node:net';
import {
  type CallbackFrame,
  errnoOfStatus,
  FrameDecoder,
  FrameWriter,
  frameKind,
  type Operation,
  type ReplyFrame,
  type RequestFrame,
  type StatusName,
  status,
  statusName,
} from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';

export interface ConnectionEvents {
  /** A reply to a request of a session. */
  reply(frame: ReplyFrame): void;
  /** Answered by the status returned, once it is there. */
  callback(frame: CallbackFrame): Promise<StatusName> | StatusName;
}

/** The outcome of a reply: its results, or the error that it names. */
export function errorOfReply([, , number, , error]: ReplyFrame, operation: string): ClientError {
  const name = statusName(number);
  const [detail, code] = error ?? ['no reason given', null];
  if (name === undefined) return new ClientError('BAD_REPLY', `${operation}: status ${number}: ${detail}`);
  return new ClientError(name, `${operation}: ${detail}`, code === null ? {} : { code: errnoOfStatus(name, code) });
}

/** One connection to the server: frames in, frames out, and the calls that belong to no session. */
export class Connection {
  readonly address: string;
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #decoder = new FrameDecoder();
  readonly #events: ConnectionEvents;
  readonly #waiting = new Map<number, (frame: ReplyFrame | ClientError) => void>();
  /** Apart from those of session requests, which outlive connections and stay below. */
  #xid = 0x8000_0000;

  constructor(socket: Socket, address: string, events: ConnectionEvents) {
    this.#socket = socket;
    this.address = address;
    this.#events = events;
    this.#writer = new FrameWriter(socket);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#failWaiting('the connection ended');
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#take(chunk));
  }

  send(frame: RequestFrame): void {
    if (!this.#socket.destroyed) this.#writer.write(frame);
  }

  /** @throws ClientError with the status of the reply, TIMEOUT, UNREACHABLE when the connection ends first */
  call<A extends unknown[], R>(operation: Operation<A, R>, args: A, timeoutMs: number): Promise<R> {
    return new Promise((resolve, reject) => {
      const xid = this.#xid++;
      const timer = setTimeout(
        () => settle(new ClientError('TIMEOUT', `${operation.name}: no reply within ${timeoutMs} ms`)),
        timeoutMs,
      );
      const settle = (outcome: ReplyFrame | ClientError): void => {
        clearTimeout(timer);
        this.#waiting.delete(xid);
        if (outcome instanceof ClientError) return reject(outcome);
        if (outcome[2] !== status.OK) return reject(errorOfReply(outcome, operation.name));
        const results = outcome[3];
        if (operation.isReply(results)) return resolve(results);
        reject(new ClientError('BAD_REPLY', `${operation.name}: results of another form`));
      };
      this.#waiting.set(xid, settle);
      if (this.#socket.destroyed) return settle(new ClientError('UNREACHABLE', `${this.address}: connection ended`));
      this.send([frameKind.request, xid, null, 0, 0, false, operation.number, args, null]);
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(chunk: Uint8Array): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (frame[0] === frameKind.reply) this.#reply(frame);
        // After the replies that came before it have reached their callers: a recall quotes what they said.
        else if (frame[0] === frameKind.callback) setImmediate(() => void this.#callback(frame));
        else throw new ClientError('BAD_REPLY', `the server sent a frame of kind ${frame[0]}`);
      }
    } catch (error) {
      // Nothing after it on this connection can be trusted.
      this.#failWaiting(error instanceof Error ? error.message : String(error));
      this.#socket.destroy();
    }
  }

  #reply(frame: ReplyFrame): void {
    const settle = this.#waiting.get(frame[1]);
    if (settle === undefined) this.#events.reply(frame);
    else settle(frame);
  }

  /** What can be answered at once is, in this turn: returns follow the answer. */
  async #callback(frame: CallbackFrame): Promise<void> {
    if (this.#socket.destroyed) return;
    const outcome = this.#events.callback(frame);
    const answer = typeof outcome === 'string' ? outcome : await outcome;
    if (!this.#socket.destroyed) this.#writer.write([frameKind.callbackReply, frame[1], status[answer]]);
  }

  #failWaiting(why: string): void {
    const error = new ClientError('UNREACHABLE', `${this.address}: ${why}`);
    for (const settle of this.#waiting.values()) settle(error);
  }
}
