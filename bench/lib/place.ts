import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Directories of one run, gone with it: one in memory, and one on the machine's disk. */
export interface Place {
  readonly memory: string;
  readonly disk: string;
}

/** Runs `body` with directories of its own, which are removed afterwards whatever happened. */
export async function inPlace<T>(body: (place: Place) => Promise<T>): Promise<T> {
  const memory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'iopmemfs-bench-'));
  const disk = await mkdtemp(join(tmpdir(), 'iopmemfs-bench-'));
  try {
    return await body({ memory, disk });
  } finally {
    await rm(memory, { recursive: true, force: true });
    await rm(disk, { recursive: true, force: true });
  }
}
