/**
 * Framing: a length of 4 bytes, big-endian, then that many bytes of one msgpack array. The first element of the
 * array says what kind of message it is.
 */
import type { Duplex } from 'node:stream';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { Credentials, SessionId, Text, U32 } from './fields.ts';
import { wireLimits } from './limits.ts';
import { decodeMessage, encodeMessage } from './msgpack.ts';
import { ProtocolError } from './protocol-error.ts';

export const frameKind = { request: 0, reply: 1, callback: 2, callbackReply: 3 } as const;

/** The arguments are checked against the operation's own schema (ops.ts), not here. */
const Body = Type.Array(Type.Unknown());

/** kind, xid, session or null, slot, seqid, cacheThis, operation number, arguments, credentials or null. */
export const RequestFrame = Type.Tuple([
  Type.Literal(frameKind.request),
  U32,
  Type.Union([SessionId, Type.Null()]),
  U32,
  U32,
  Type.Boolean(),
  U32,
  Body,
  Type.Union([Credentials, Type.Null()]),
]);
export type RequestFrame = Static<typeof RequestFrame>;

/** Flags of SEQUENCE (status.ts) and the highest slot that the server wants used. */
export const SequenceResult = Type.Tuple([U32, U32]);
export type SequenceResult = Static<typeof SequenceResult>;

/** Words for people, and the errno behind the status where a file operation failed. */
export const ErrorBody = Type.Tuple([Text, Type.Union([Text, Type.Null()])]);
export type ErrorBody = Static<typeof ErrorBody>;

/** kind, xid, status number, results or null, error or null, sequence part or null. */
export const ReplyFrame = Type.Tuple([
  Type.Literal(frameKind.reply),
  U32,
  U32,
  Type.Union([Body, Type.Null()]),
  Type.Union([ErrorBody, Type.Null()]),
  Type.Union([SequenceResult, Type.Null()]),
]);
export type ReplyFrame = Static<typeof ReplyFrame>;

/** session, slot, seqid of a request whose reply a callback depends on (RFC 8881 §2.10.6.3). */
export const ReferringCall = Type.Tuple([SessionId, U32, U32]);
export type ReferringCall = Static<typeof ReferringCall>;

/** kind, xid, session, slot, seqid, referring calls, operation number, arguments. */
export const CallbackFrame = Type.Tuple([
  Type.Literal(frameKind.callback),
  U32,
  SessionId,
  U32,
  U32,
  Type.Array(ReferringCall, { maxItems: wireLimits.referringMax }),
  U32,
  Body,
]);
export type CallbackFrame = Static<typeof CallbackFrame>;

/** kind, xid, status number. */
export const CallbackReplyFrame = Type.Tuple([Type.Literal(frameKind.callbackReply), U32, U32]);
export type CallbackReplyFrame = Static<typeof CallbackReplyFrame>;

export type Frame = RequestFrame | ReplyFrame | CallbackFrame | CallbackReplyFrame;

const isRequest = Compile(RequestFrame);
const isReply = Compile(ReplyFrame);
const isCallback = Compile(CallbackFrame);
const isCallbackReply = Compile(CallbackReplyFrame);

/** Of the length before each body. */
const lengthBytes = 4;
/** Chunks that are shorter together become one: a chunk of one byte costs a hundred times its length. */
const chunkMin = 2048;

/** @throws ProtocolError oversized: the message must be made smaller by its sender */
export function encodeFrame(frame: Frame): Buffer {
  const whole = encodeMessage(frame, lengthBytes);
  const length = whole.length - lengthBytes;
  if (length > wireLimits.frameMax) throw new ProtocolError('oversized', `message of ${length} bytes`);
  whole.writeUInt32BE(length, 0);
  return whole;
}

/** @throws ProtocolError */
export function parseFrame(body: Uint8Array): Frame {
  const message = decodeMessage(body);
  if (isRequest.Check(message)) return message;
  if (isReply.Check(message)) return message;
  if (isCallback.Check(message)) return message;
  if (isCallbackReply.Check(message)) return message;
  throw new ProtocolError('bad-frame', `kind ${String(message[0])} with ${message.length} fields is no frame`);
}

/**
 * Takes bytes as they come and gives whole frames. Holds at most one frame of `frameMax` bytes plus the chunk being
 * taken; a length beyond the bound is refused when its 4 bytes are in, before any of the body is kept.
 * After a ProtocolError it must not be used any more.
 */
export class FrameDecoder {
  #chunks: Uint8Array[] = [];
  #buffered = 0;

  /** @throws ProtocolError */
  push(chunk: Uint8Array): readonly Frame[] {
    this.#append(chunk);
    const frames: Frame[] = [];
    for (let body = this.#nextBody(); body !== undefined; body = this.#nextBody()) frames.push(parseFrame(body));
    if (frames.length > 0) this.#letGoOfRead();
    return frames;
  }

  /** Bytes of a frame that is not complete. */
  get buffered(): number {
    return this.#buffered;
  }

  /** A frame was begun and is not complete: the peer must not end here. */
  get partial(): boolean {
    return this.#buffered > 0;
  }

  #append(chunk: Uint8Array): void {
    this.#buffered += chunk.length;
    const last = this.#chunks.at(-1);
    if (last === undefined || last.length + chunk.length > chunkMin) this.#chunks.push(chunk);
    else this.#chunks[this.#chunks.length - 1] = joined([last, chunk]);
  }

  /** What is left of the last chunk must not keep the memory of the frames before it. */
  #letGoOfRead(): void {
    const [rest] = this.#chunks;
    if (rest !== undefined && 2 * rest.length < rest.buffer.byteLength) this.#chunks[0] = joined([rest]);
  }

  #nextBody(): Uint8Array | undefined {
    if (this.#buffered < 4) return undefined;
    let head = this.#chunks[0] ?? new Uint8Array(0);
    if (head.length < 4) head = this.#join();
    const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0);
    if (length === 0 || length > wireLimits.frameMax) {
      throw new ProtocolError('oversized', `frame of ${length} bytes, 1 to ${wireLimits.frameMax} are allowed`);
    }
    if (this.#buffered < 4 + length) return undefined;
    const all = head.length >= 4 + length ? head : this.#join();
    const rest = all.subarray(4 + length);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
    this.#buffered -= 4 + length;
    return all.subarray(4, 4 + length);
  }

  #join(): Uint8Array {
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}

/** In memory of its own: that of small Buffers is shared with others. */
function joined(chunks: readonly Uint8Array[]): Buffer {
  const all = Buffer.allocUnsafeSlow(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/**
 * What is written in one turn of the event loop leaves together, but no more than some frames: the peer works on those
 * while this end makes the next.
 */
export class FrameWriter {
  readonly #stream: Duplex;
  /** Written, and kept back. */
  #gathered = 0;

  constructor(stream: Duplex) {
    this.#stream = stream;
  }

  /**
   * @returns false when the stream wants to drain first (`drain` event)
   * @throws ProtocolError oversized
   */
  write(frame: Frame): boolean {
    const bytes = encodeFrame(frame);
    if (this.#gathered === 0) {
      this.#stream.cork();
      setImmediate(() => this.#flush());
    }
    this.#gathered++;
    const canTakeMore = this.#stream.write(bytes);
    if (this.#gathered >= wireLimits.framesTogether) this.#flush();
    return canTakeMore;
  }

  #flush(): void {
    if (this.#gathered === 0) return;
    this.#gathered = 0;
    this.#stream.uncork();
  }
}
