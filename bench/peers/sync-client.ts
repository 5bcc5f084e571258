/**
 * A client of the synchronous path: `sync-client.js ADDRESS FILE MIB`, driven over the channel of fork(). Told
 * `{ kind, bytes, count }` it moves so many pieces all over the file and answers how long that took, in ms. `copy-in` and `copy-out` are
 * memcpy(3) between the same buffer and the same memory of the device.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { load } from 'koffi';
import { connect } from '../../client/index.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { FsError } from '../../fs/errors.ts';
import { Random } from './random.ts';

/** What is moved before others get their turn: recalls are heard, and no clock is looked at in between. */
const sliceBytes = 32 * 2 ** 20;

const [address = '', name = '', mib = '1'] = process.argv.slice(2);
const size = Number(mib) * 2 ** 20;
const client = await connect(address, { engine: 'mmap' });
const file = await client.open(name, 'r+');
const buffer = Buffer.alloc(2 ** 20, name);
const random = new Random(1);
const memcpy = load('libc.so.6').func('void *memcpy(void *to, const void *from, size_t length)');
const { filesystem } = await client.admin.status();
const device = await openDevice(filesystem.device, { writable: true });
// A copy of it would be another memory: the same pages, mapped once more.
const [extent, ...more] = await client.map(name);
if (extent === undefined || more.length > 0) throw new FsError('EIO', { detail: `${name} is not in one piece` });
const [memory, ...rest] = device.views(extent.storageOffset, size);
if (memory === undefined || rest.length > 0) throw new FsError('EIO', { detail: 'the mapping is not in one piece' });

for (let at = 0; at < size; at += buffer.length) await file.write(buffer, 0, buffer.length, at);
await file.sync();

const kinds = {
  read: (part: Buffer, at: number) => file.readSync(part, 0, part.length, at),
  write: (part: Buffer, at: number) => file.writeSync(part, 0, part.length, at),
  'copy-in': (part: Buffer, at: number) => {
    memcpy(part, memory.subarray(at), part.length);
    return part.length;
  },
  'copy-out': (part: Buffer, at: number) => {
    memcpy(memory.subarray(at), part, part.length);
    return part.length;
  },
} as const;

process.on('message', (message) => void obey(message));
process.once('disconnect', () => void client.close().then(() => process.exit()));
process.send?.('ready');

async function obey(message: unknown): Promise<void> {
  if (!isTask(message)) throw new FsError('EPROTO', { detail: 'no task' });
  const { kind, bytes, count } = message;
  const part = buffer.subarray(0, bytes);
  const move = kinds[kind];
  const perSlice = sliceBytes / bytes;
  const places = size / bytes;
  let took = 0;
  for (let done = 0; done < count; done += perSlice) {
    // Layouts may have been given back: this gets them again.
    await (kind === 'read' ? file.read(part, 0, bytes, 0) : file.write(part, 0, bytes, 0));
    const end = Math.min(count, done + perSlice);
    const begin = performance.now();
    for (let n = done; n < end; n++) {
      if (move(part, random.below(places) * bytes) !== bytes) throw new FsError('EIO', { detail: 'moved too little' });
    }
    took += performance.now() - begin;
    await turn();
  }
  process.send?.(took);
}

interface Task {
  readonly kind: keyof typeof kinds;
  readonly bytes: number;
  readonly count: number;
}

function isTask(message: unknown): message is Task {
  return (
    typeof message === 'object' && message !== null && 'kind' in message && 'bytes' in message && 'count' in message
  );
}
