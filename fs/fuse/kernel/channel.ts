import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { node } from 'koffi';
import { FsError } from '../../errors.ts';
import { Cursor } from './cursor.ts';
import { addressOf, lastErrno, read, systemError, write, writev } from './libc.ts';
import { kernelLimits } from './limits.ts';
import { Polling } from './polling.ts';
import type { ReplySink } from './session.ts';

const { EAGAIN, ECONNABORTED, EINTR, ENODEV, ENOENT, ENOTCONN } = constants.errno;

/** Serves one request; the promise, if any, says until when the request's bytes are in use. */
export type Serve = (request: Cursor) => Promise<void> | undefined;

/** What the channel asks of those whom it serves. */
export interface Served {
  readonly serve: Serve;
  /** Whether requests wait inside the filesystem: then the event loop has something to do. */
  readonly isWaiting: () => boolean;
  /** Called once, with the error when the end was not an unmount. */
  readonly onEnd: (error?: FsError) => void;
}

/** How a turn ends: nothing to do, somebody else's turn, or the end of the mount. */
type TurnEnd = 'sleep' | 'others' | 'unmounted' | FsError;

/** Where one request is read to, and stays until it is served. */
class RequestBuffer {
  readonly bytes = Buffer.allocUnsafeSlow(kernelLimits.requestMax);
  readonly address = Number(addressOf(this.bytes));
  readonly cursor = new Cursor(this.bytes);
}

/**
 * The connection to the kernel: an open /dev/fuse (O_NONBLOCK) on the event loop. Requests are read until there is
 * none, each into a buffer of its own while it is in use; replies go out in one call each, file data straight from the
 * memory that holds it.
 */
export class Channel implements ReplySink {
  readonly fd: number;
  readonly #idle: RequestBuffer[] = [];
  #next = new RequestBuffer();
  #poll: node.PollHandle | undefined;
  #closed = false;
  readonly #polling: Polling;
  /** A turn is to follow without waiting for the poll handle. */
  #following: NodeJS.Immediate | undefined;

  /** struct iovec of each piece: address and length, each as its low and its high half. */
  readonly #iovecs = new Uint32Array(4 * kernelLimits.iovecsMax);
  readonly #iovecsAddress = Number(addressOf(new Uint8Array(this.#iovecs.buffer)));
  /** The memory that the last piece was of, and where it is: mostly the same window of the device. */
  #memory: ArrayBufferLike | undefined;
  #memoryAddress = 0;
  #replyBytes: Buffer | undefined;
  #replyAddress = 0;

  /** @param pollMaxMs how long the next request may be waited for without sleeping */
  constructor(fd: number, pollMaxMs: number) {
    this.fd = fd;
    this.#polling = new Polling(pollMaxMs);
  }

  start(served: Served): void {
    // koffi hands the status first, unlike its types say; a negative one means that the kernel hung up.
    this.#poll = node.poll(this.fd, { readable: true }, () => {
      // A turn follows in any case.
      if (this.#following !== undefined) return;
      this.#turn(served);
      // Callbacks of a poll handle do not run the promise queue; an immediate does, in the same turn.
      if (this.#following === undefined) setImmediate(nothing);
    });
  }

  #turn(served: Served): void {
    if (this.#closed) return;
    const end = this.#drain(served);
    if (end === 'sleep') return;
    if (end === 'others') {
      this.#following = setImmediate(() => {
        this.#following = undefined;
        this.#turn(served);
      });
      return;
    }
    this.#stop();
    served.onEnd(end === 'unmounted' ? undefined : end);
  }

  send(bytes: Buffer, length: number): boolean {
    if (this.#closed) return false;
    return this.#taken(write(this.fd, this.#addressOfReply(bytes), length));
  }

  sendPieces(bytes: Buffer, headerLength: number, pieces: readonly Uint8Array[]): boolean {
    if (this.#closed) return false;
    if (pieces.length >= kernelLimits.iovecsMax) {
      return this.sendPieces(bytes, headerLength, [Buffer.concat(pieces)]);
    }
    this.#setIovec(0, this.#addressOfReply(bytes), headerLength);
    let count = 1;
    for (const piece of pieces) {
      if (piece.byteLength > 0) this.#setIovec(count++, this.#addressOfPiece(piece), piece.byteLength);
    }
    return this.#taken(writev(this.fd, this.#iovecsAddress, count));
  }

  #setIovec(index: number, address: number, length: number): void {
    const iovecs = this.#iovecs;
    iovecs[4 * index] = address;
    iovecs[4 * index + 1] = address / 2 ** 32;
    iovecs[4 * index + 2] = length;
    iovecs[4 * index + 3] = length / 2 ** 32;
  }

  #addressOfPiece(piece: Uint8Array): number {
    const { buffer } = piece;
    if (buffer !== this.#memory) {
      this.#memory = buffer;
      this.#memoryAddress = Number(addressOf(new Uint8Array(buffer)));
    }
    return this.#memoryAddress + piece.byteOffset;
  }

  /** Ends the connection from this side: whatever the kernel still asks answers ENOTCONN. */
  close(): void {
    this.#stop();
    closeSync(this.fd);
  }

  #stop(): void {
    this.#closed = true;
    if (this.#following !== undefined) clearImmediate(this.#following);
    this.#poll?.close();
    this.#poll = undefined;
  }

  /**
   * Serves what is there, and what comes soon after, at most one turn's worth. The poll handle is level-triggered: what
   * is left when nobody follows calls again.
   */
  #drain({ serve, isWaiting }: Served): TurnEnd {
    this.#polling.turn();
    for (let n = 0; n < kernelLimits.requestsPerTurn; n++) {
      const buffer = this.#next;
      const length = this.#read(buffer, isWaiting);
      if (typeof length !== 'number') return length;
      this.#polling.arrived();
      buffer.cursor.rewind(length);
      const inUse = serve(buffer.cursor);
      if (inUse !== undefined) {
        this.#next = this.#idle.pop() ?? new RequestBuffer();
        void inUse.then(() => {
          if (this.#idle.length < kernelLimits.idleBuffersMax) this.#idle.push(buffer);
        });
      }
    }
    return 'others';
  }

  /** Bytes of the next request, or why there is none now. */
  #read(buffer: RequestBuffer, isWaiting: () => boolean): number | TurnEnd {
    for (;;) {
      const length = read(this.fd, buffer.address, kernelLimits.requestMax);
      if (length >= 0) return length;
      const errno = lastErrno();
      if (errno === EAGAIN) {
        const wait = this.#polling.none(isWaiting());
        if (wait !== 'look') return wait;
        continue;
      }
      if (errno === ENODEV) return 'unmounted';
      // ENOENT: the request was taken back before it was read.
      if (errno !== EINTR && errno !== ENOENT) return systemError(errno, 'read', '/dev/fuse');
    }
  }

  #taken(result: number): boolean {
    if (result >= 0) return true;
    const errno = lastErrno();
    // ENOENT: the request was aborted. The others: the mount ended, which the next read will say.
    if (errno !== ENOENT && errno !== ENODEV && errno !== ENOTCONN && errno !== ECONNABORTED) {
      process.emitWarning(systemError(errno, 'reply', '/dev/fuse'));
    }
    return false;
  }

  #addressOfReply(bytes: Buffer): number {
    if (bytes !== this.#replyBytes) {
      this.#replyBytes = bytes;
      this.#replyAddress = Number(addressOf(bytes));
    }
    return this.#replyAddress;
  }
}

function nothing(): void {}
