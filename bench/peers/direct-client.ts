/**
 * A client that writes its own file under a layout: `direct-client.js ADDRESS FILE MIB`, driven over the channel of fork(). Told
 * `{ bytes, count }` it makes so many writes of so many bytes all over the file and answers how long that took, in ms.
 */
import { connect } from '../../client/index.ts';
import { FsError } from '../../fs/errors.ts';
import { Random } from './random.ts';

const [address = '', name = '', mib = '1'] = process.argv.slice(2);
const size = Number(mib) * 2 ** 20;
const client = await connect(address, { engine: 'mmap' });
const file = await client.open(name, 'r+');
const buffer = Buffer.alloc(2 ** 20, name);
const random = new Random(process.pid);

process.on('message', (message) => void obey(message));
process.once('disconnect', () => void client.close().then(() => process.exit()));
// All layouts are held, and all pages touched, before anything is measured.
for (let at = 0; at < size; at += buffer.length) await write(buffer, at);
process.send?.('ready');

async function obey(message: unknown): Promise<void> {
  if (!isTask(message)) throw new FsError('EPROTO', { detail: 'no task' });
  const { bytes, count } = message;
  const part = buffer.subarray(0, bytes);
  const begin = performance.now();
  for (let n = 0; n < count; n++) await write(part, random.below(size / bytes) * bytes);
  process.send?.(performance.now() - begin);
}

async function write(part: Buffer, at: number): Promise<void> {
  const { path, reason } = await file.write(part, 0, part.length, at);
  if (path !== 'direct') throw new FsError('EIO', { detail: `not direct: ${reason}` });
}

interface Task {
  readonly bytes: number;
  readonly count: number;
}

function isTask(message: unknown): message is Task {
  return typeof message === 'object' && message !== null && 'bytes' in message && 'count' in message;
}
