/** What the direct path costs, measured in one process beside a memcpy of the same sizes. */
import type { Client } from '../../client/index.ts';
import type { PeerReply } from './peer-protocol.ts';

const piece = 1 << 20;
/** Alternating rounds; the median counts. */
const rounds = 7;

export async function measureThroughput(client: Client, path: string, bytes: number): Promise<PeerReply> {
  const file = await client.open(path, 'w+');
  const source = Buffer.alloc(piece, 0x5a);
  const target = Buffer.alloc(piece);
  const plain = Buffer.alloc(bytes, 0xa5);
  for (let at = 0; at < bytes; at += piece) await file.write(source, 0, piece, at);
  await file.sync();
  const before = client.counters.serverBytesRead + client.counters.serverBytesWritten;
  const reads: number[] = [];
  const writes: number[] = [];
  const copies: number[] = [];
  for (let round = 0; round < rounds; round++) {
    // The awaited calls get the layouts; the timed ones run under them.
    await file.write(source, 0, piece, 0);
    writes.push(timed(bytes, (at) => file.writeSync(source, 0, piece, at)));
    await file.read(target, 0, piece, 0);
    reads.push(timed(bytes, (at) => file.readSync(target, 0, piece, at)));
    copies.push(timed(bytes, (at) => plain.copy(target, 0, at, at + piece)));
  }
  const { counters } = client;
  const serverBytes = counters.serverBytesRead + counters.serverBytesWritten - before;
  await file.close();
  return { readGBps: median(reads), writeGBps: median(writes), memcpyGBps: median(copies), serverBytes };
}

export async function measureLayoutGet(client: Client, path: string, times: number): Promise<PeerReply> {
  const file = await client.open(path, 'r+');
  const microseconds: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    const layout = await file.layout({ offset: 0, length: piece, iomode: 'RW' });
    microseconds.push((performance.now() - started) * 1000);
    await layout.return();
  }
  await file.close();
  return { microseconds };
}

/** GB/s of `bytes` moved piece by piece. */
function timed(bytes: number, move: (at: number) => unknown): number {
  const started = performance.now();
  for (let at = 0; at < bytes; at += piece) move(at);
  return bytes / ((performance.now() - started) * 1e6);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
