/** Many small files, opened, read and closed: through the library, and through a mount over the same server. */
import { closeSync, openSync, readSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, connect } from '../../client/index.ts';
import { FsError } from '../../fs/errors.ts';
import type { Place } from '../lib/place.ts';
import { median } from '../lib/statistics.ts';
import { remoteMount } from './remote-mount.ts';

export interface SmallFilesOptions {
  readonly place: Place;
  readonly files: number;
  /** Bytes of each. */
  readonly size: number;
  readonly rounds: number;
  readonly progress: (text: string) => void;
}

/** Files a second, medians. */
export interface SmallFilesResult {
  /** Files open at once. */
  readonly atOnce: number;
  readonly library: number;
  readonly mount: number;
  readonly ratio: number;
}

const imageBytes = 256 * 2 ** 20;

/** One after the other, and several at once: programs that wait for one file at a time, and those that do not. */
export async function measureSmallFiles(options: SmallFilesOptions): Promise<readonly SmallFilesResult[]> {
  const { place, files, size, rounds, progress } = options;
  const mount = await remoteMount.start({ place, cores: '0', backing: place.memory, imageBytes });
  try {
    const names = Array.from({ length: files }, (_, n) => `d${n % 100}/f${n}`);
    for (let n = 0; n < 100; n++) await mkdir(join(mount.directory, `d${n}`));
    for (const name of names) await writeFile(join(mount.directory, name), Buffer.alloc(size, name));
    const client = await connect(`unix:${join(place.memory, 'server')}`);
    try {
      const results: SmallFilesResult[] = [];
      for (const atOnce of [1, 16]) {
        const [library, mounted]: [number[], number[]] = [[], []];
        for (let round = 0; round <= rounds; round++) {
          progress(`${atOnce} at once, round ${round} of ${rounds}`);
          const here = await perSecond(names, atOnce, (name) => readByLibrary(client, name, size));
          const there = await perSecond(names, atOnce, (name) => {
            const path = join(mount.directory, name);
            return atOnce === 1 ? readHere(path, size) : readByPromises(path, size);
          });
          if (round === 0) continue; // code compiled, memory touched
          library.push(here);
          mounted.push(there);
        }
        const [fast, slow] = [median(library), median(mounted)];
        results.push({ atOnce, library: fast, mount: slow, ratio: fast / slow });
      }
      return results;
    } finally {
      await client.close();
    }
  } finally {
    await mount.stop();
  }
}

async function perSecond(
  names: readonly string[],
  atOnce: number,
  read: (name: string) => void | Promise<void>,
): Promise<number> {
  let next = 0;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let name = names[next++]; name !== undefined; name = names[next++]) await read(name);
    }),
  );
  return (names.length / (performance.now() - begin)) * 1000;
}

async function readByLibrary(client: Client, name: string, size: number): Promise<void> {
  const file = await client.open(name);
  const { bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, 0);
  await file.close();
  requireWhole(name, bytesRead, size);
}

function readHere(path: string, size: number): void {
  const fd = openSync(path, 'r');
  const bytesRead = readSync(fd, Buffer.allocUnsafe(size), 0, size, 0);
  closeSync(fd);
  requireWhole(path, bytesRead, size);
}

async function readByPromises(path: string, size: number): Promise<void> {
  const file = await open(path, 'r');
  const { bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, 0);
  await file.close();
  requireWhole(path, bytesRead, size);
}

function requireWhole(path: string, bytesRead: number, size: number): void {
  if (bytesRead !== size) throw new FsError('EIO', { op: 'read', path, detail: `${bytesRead} bytes of ${size}` });
}
