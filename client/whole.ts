/** Files read and written as a whole. */
import type { Attr } from '../fs/vfs.ts';
import { bytesOf, type Data } from './arguments.ts';
import { ClientError } from './errors.ts';
import type { FileIo } from './file-io.ts';
import type { Limits } from './operation.ts';

/** All at once, or piece by piece: an iterable, a stream. */
export type WholeData = Data | Iterable<Data> | AsyncIterable<Data>;

/** What a Buffer of node holds. */
const bufferMax = 2 ** 31;

/** Up to what is the end of the file now. @throws ClientError FBIG */
export async function readWhole(io: FileIo, { size }: Attr, limits: Limits): Promise<Buffer> {
  if (size >= bufferMax) throw new ClientError('FBIG', `${size} bytes do not fit a Buffer`);
  const content = Buffer.allocUnsafe(size);
  let done = 0;
  while (done < size) {
    const { count } = await io.read(content.subarray(done), done, 0, limits);
    if (count === 0) break;
    done += count;
  }
  return content.subarray(0, done);
}

/** `put` writes some of the bytes, where the last ones ended, and answers how many. @throws ClientError NOSPC, ARGUMENT */
export async function writeWhole(
  data: WholeData,
  encoding: BufferEncoding,
  { signal }: Limits,
  put: (bytes: Uint8Array) => Promise<number>,
): Promise<void> {
  for await (const piece of isPiece(data) ? [data] : data) {
    const bytes = bytesOf(piece, encoding);
    for (let done = 0; done < bytes.length; ) {
      signal?.throwIfAborted();
      const count = await put(bytes.subarray(done));
      if (count === 0) throw new ClientError('NOSPC', `${bytes.length - done} bytes are left to write`);
      done += count;
    }
  }
}

function isPiece(data: WholeData): data is Data {
  return typeof data === 'string' || ArrayBuffer.isView(data);
}

/** Runs `work`, then closes: what fails first is said. */
export async function thenClose<T>(file: { close(): Promise<void> }, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await file.close().catch(() => {
      // The first error is the one that explains.
    });
    throw error;
  }
  await file.close();
  return result;
}
