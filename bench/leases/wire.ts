/** Frames of the wire protocol as cheaply as they can be had: what a load generator needs, and no check of anything. */
import { Packr, Unpackr } from 'msgpackr';

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** A length of 4 bytes, and the message. */
export function encode(message: readonly unknown[]): Buffer {
  const body = packr.pack(message);
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, 4);
  return frame;
}

export function decode(body: Uint8Array): readonly unknown[] {
  const message: unknown = unpackr.unpack(body);
  if (!Array.isArray(message)) throw new TypeError('no message');
  return message;
}

/** Bytes as they come, cut into the bodies of frames. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer, take: (body: Uint8Array) => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 4) {
      const end = at + 4 + bytes.readUInt32BE(at);
      if (end > bytes.length) break;
      take(bytes.subarray(at + 4, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }
}
