/**
 * The synchronous path under a cached layout, on one core: small pieces beside pread(2) and pwrite(2) of a C program on a file of
 * tmpfs, large ones beside memcpy(3) of the same process between the same buffer and the same memory.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withServer } from '../leases/place.ts';
import { command, onCores } from '../lib/command.ts';
import type { Place } from '../lib/place.ts';
import { median } from '../lib/statistics.ts';
import { ClientProcess } from './client-process.ts';

export interface SyncIoOptions {
  readonly place: Place;
  readonly rounds: number;
  /** Divides the operations of every row: a try instead of a measurement. */
  readonly divisor: number;
  readonly progress: (text: string) => void;
}

/** Operations a second, medians. */
export interface SyncIoResult {
  readonly kind: 'read' | 'write';
  /** Of one operation. */
  readonly bytes: number;
  readonly ours: number;
  readonly peer: 'pread and pwrite in C' | 'memcpy';
  readonly theirs: number;
  readonly ratio: number;
  readonly target: number;
}

const fileMiB = 32;
const core = '0';
const rows = [
  { bytes: 4096, count: 2_000_000, peer: 'pread and pwrite in C', target: 2 },
  { bytes: 2 ** 20, count: 10_000, peer: 'memcpy', target: 0.95 },
] as const;
/** From dist/bench/peers to bench/peers/. */
const source = fileURLToPath(new URL('../../../bench/peers/pread.c', import.meta.url));

/** @throws FsError EIO: no compiler */
export async function measureSyncIo({ place, rounds, divisor, progress }: SyncIoOptions): Promise<SyncIoResult[]> {
  const program = join(place.memory, 'pread');
  const plain = join(place.memory, 'plain');
  await command('gcc', ['-O2', '-Wall', '-o', program, source]);
  await writeFile(plain, Buffer.alloc(fileMiB * 2 ** 20, 1));
  return await withServer(place, '1', 1, fileMiB * 2 ** 20, async ({ socket }) => {
    const client = await ClientProcess.start('sync-client.js', [`unix:${socket}`, 'f0', String(fileMiB)], core);
    try {
      const results: SyncIoResult[] = [];
      for (const { bytes, count: whole, peer, target } of rows) {
        const count = Math.ceil(whole / divisor);
        for (const kind of ['read', 'write'] as const) {
          const [ours, theirs]: [number[], number[]] = [[], []];
          for (let round = 0; round <= rounds; round++) {
            progress(`${kind}s of ${bytes} bytes, round ${round} of ${rounds}`);
            const took = await client.ask({ kind, bytes, count });
            const copied = kind === 'read' ? 'copy-in' : 'copy-out';
            const tookThem =
              peer === 'memcpy'
                ? await client.ask({ kind: copied, bytes, count })
                : await byProgram(program, [plain, kind, String(bytes), String(count)]);
            if (round === 0) continue; // code compiled, memory touched
            ours.push((count / took) * 1000);
            theirs.push((count / tookThem) * 1000);
          }
          const ratio = median(ours) / median(theirs);
          results.push({ kind, bytes, ours: median(ours), peer, theirs: median(theirs), ratio, target });
        }
      }
      return results;
    } finally {
      await client.end();
    }
  });
}

/** Milliseconds. */
async function byProgram(program: string, args: readonly string[]): Promise<number> {
  return Number(await command(...onCores(core, program, ...args))) * 1000;
}
