/** The daemon on a filesystem that was made before, and what it takes. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, onCores } from '../lib/command.ts';
import type { Place } from '../lib/place.ts';
import { cpuSeconds, cpuSecondsAtRest } from '../lib/processor.ts';
import { pidOf } from '../lib/systems.ts';
import type { Made } from './populate.ts';

const program = fileURLToPath(new URL('../../tools/iopmemfs.js', import.meta.url));

export interface Daemon {
  readonly pid: number;
  readonly mountPoint: string;
  /** Seconds from the start of the command to its end, when the mount answers. */
  readonly mountSeconds: number;
  /** Processor seconds of the daemon until then. */
  readonly mountCpuSeconds: number;
  /** Waits until it does nothing. Answers the processor seconds since the mount. */
  rest(): Promise<number>;
  /** Resident now, in bytes. */
  resident(): Promise<number>;
  stop(): Promise<void>;
}

export async function mountMade(place: Place, made: Made, cores: string): Promise<Daemon> {
  const mountPoint = join(place.memory, 'grown.mnt');
  await mkdir(mountPoint, { recursive: true });
  const env = { IOPMEMFS_STATE: join(place.disk, 'state'), IOPMEMFS_RUN: join(place.disk, 'run') };
  const began = performance.now();
  const args = ['mount', made.image, mountPoint, '--meta', made.meta, '--json'];
  const pid = pidOf(await command(...onCores(cores, process.execPath, program, ...args), env));
  const mountSeconds = (performance.now() - began) / 1000;
  const mountCpuSeconds = await cpuSeconds(pid);
  return {
    pid,
    mountPoint,
    mountSeconds,
    mountCpuSeconds,
    rest: async () => (await cpuSecondsAtRest(pid)) - mountCpuSeconds,
    resident: () => resident(pid),
    stop: async () => {
      await command(process.execPath, [program, 'umount', mountPoint], env);
    },
  };
}

async function resident(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
