/** Frames that leave together. */
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { FrameDecoder, FrameWriter, frameKind } from '../../mds/protocol/frame.ts';
import { wireLimits } from '../../mds/protocol/limits.ts';

/** Notes how many frames each system call would take. */
class Calls extends Duplex {
  readonly counts: number[] = [];
  readonly #decoder = new FrameDecoder();

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#took([chunk]);
    done();
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: () => void): void {
    this.#took(chunks.map(({ chunk }) => chunk));
    done();
  }

  #took(chunks: readonly Buffer[]): void {
    this.counts.push(this.#decoder.push(Buffer.concat(chunks)).length);
  }
}

test('at most so many leave together, and the rest with the end of the turn', async () => {
  const most = wireLimits.framesTogether;
  const stream = new Calls();
  const writer = new FrameWriter(stream);
  for (let xid = 0; xid < 2 * most + 3; xid++) writer.write([frameKind.callbackReply, xid, 0]);
  expect(stream.counts).toEqual([most, most]);
  await new Promise(setImmediate);
  expect(stream.counts).toEqual([most, most, 3]);
  writer.write([frameKind.callbackReply, 0, 0]);
  expect(stream.counts).toHaveLength(3);
  await new Promise(setImmediate);
  expect(stream.counts).toEqual([most, most, 3, 1]);
});
