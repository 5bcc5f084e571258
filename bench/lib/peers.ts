/**
 * The strongest filesystems in C on FUSE that Debian has, with the options that each has by itself: attributes and names
 * believed for a second, no write-back cache. Besides, all check access in the kernel (default_permissions), as ours does.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FsError } from '../../fs/errors.ts';
import { command } from './command.ts';
import { peer, type System } from './systems.ts';

/** libfuse3's own example, as Debian's libfuse3-dev ships its source. */
const passthroughSource = '/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c';

/** Compiles what has to be, into `directory`. @throws FsError ENOENT with what to install */
export async function peers(directory: string): Promise<readonly System[]> {
  return [await passthrough(directory), await bindfs(), await mergerfs()];
}

async function passthrough(directory: string): Promise<System> {
  if (!existsSync(passthroughSource)) throw missing('passthrough_ll', 'libfuse3-dev');
  const program = join(directory, 'passthrough_ll');
  const flags = (await command('pkg-config', ['fuse3', '--cflags', '--libs'])).trim().split(/\s+/);
  await command('gcc', ['-O2', '-w', passthroughSource, '-o', program, ...flags]);
  return peer('passthrough_ll', (files, at) => [program, '-f', '-o', `source=${files},default_permissions`, at]);
}

export async function bindfs(): Promise<System> {
  await requireProgram('bindfs');
  return peer('bindfs', (files, at) => ['bindfs', '-f', files, at]);
}

/** Its reserve of 4 GiB would leave no room on a small machine. */
async function mergerfs(): Promise<System> {
  await requireProgram('mergerfs');
  return peer('mergerfs', (files, at) => ['mergerfs', '-f', '-o', 'minfreespace=0', files, at]);
}

async function requireProgram(name: string): Promise<void> {
  try {
    await command('which', [name]);
  } catch {
    throw missing(name, name);
  }
}

function missing(name: string, debianPackage: string): FsError {
  return new FsError('ENOENT', { op: name, detail: `not installed: apt-get install ${debianPackage}` });
}
