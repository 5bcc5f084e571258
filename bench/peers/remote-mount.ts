/** A mount over a server, on the host of the server: what of the local mount's speed is left when names come over a socket. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, onCores } from '../lib/command.ts';
import { iopmemfs, pidOf, type Running, type System, type SystemOptions, writeZeros } from '../lib/systems.ts';
import { type MicroOptions, measureMicro, type RowResult } from '../micro.ts';

const programs = fileURLToPath(new URL('../../tools/', import.meta.url));

/** A server without a mount, and the address it listens on. */
export interface Served {
  readonly address: string;
  readonly pid: number;
  readonly env: NodeJS.ProcessEnv;
  stop(): Promise<void>;
}

export async function serve({ place, cores, imageBytes }: SystemOptions): Promise<Served> {
  const image = join(place.memory, 'served-image');
  const env = { IOPMEMFS_STATE: join(place.disk, 'served-state'), IOPMEMFS_RUN: join(place.disk, 'served-run') };
  await writeZeros(image, imageBytes);
  await command(process.execPath, [join(programs, 'mkfs.js'), image], env);
  const address = `unix:${join(place.memory, 'server')}`;
  const program = join(programs, 'iopmemfs.js');
  const line = onCores(cores, process.execPath, program, 'serve', image, '--listen', address, '--json');
  const pid = pidOf(await command(...line, env));
  return {
    address,
    pid,
    env,
    stop: async () => {
      process.kill(pid, 'SIGTERM');
    },
  };
}

/** Server and mount share the processor that a local mount has for itself. */
export const remoteMount: System = {
  name: 'remote mount',
  start: async (options): Promise<Running> => {
    const { place, cores } = options;
    const served = await serve(options);
    try {
      const mountPoint = join(place.memory, 'remote.mnt');
      await mkdir(mountPoint);
      const program = join(programs, 'iopmemfs.js');
      const line = onCores(cores, process.execPath, program, 'mount', served.address, mountPoint, '--json');
      const serverPid = pidOf(await command(...line, served.env));
      return {
        name: 'remote mount',
        directory: mountPoint,
        serverPid,
        stop: async () => {
          await command(process.execPath, [program, 'umount', mountPoint], served.env);
          await served.stop();
        },
      };
    } catch (error) {
      await served.stop();
      throw error;
    }
  },
};

/** The micro table of a remote mount beside that of a local one: `ratio` is of the first to the second. */
export function measureRemoteMount(options: Omit<MicroOptions, 'systems'>): Promise<readonly RowResult[]> {
  return measureMicro({ ...options, systems: [remoteMount, iopmemfs] });
}
