import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type Fuse from 'fuse-native';
import koffi from 'koffi';
import { FsError } from '../../errors.ts';

/**
 * Loads fuse-native when a mount first needs it. Its addon wants libfuse.so.2, which Debian no longer installs by
 * itself; the package brings one along, without a run path to it, so that is loaded first, and the dynamic linker is
 * content with a library of that soname which is there already (dlopen(3)).
 * @throws FsError ENOSYS with what to install
 */
export async function loadFuseNative(): Promise<typeof Fuse> {
  const bundled = join(packageFolder(), 'prebuilds', `linux-${process.arch}`, 'libfuse.so');
  try {
    if (existsSync(bundled)) koffi.load(bundled);
    return (await import('fuse-native')).default;
  } catch (cause) {
    throw new FsError(
      'ENOSYS',
      { op: 'mount', detail: 'fuse-native does not load; install libfuse2, or use -o driver=kernel' },
      cause,
    );
  }
}

function packageFolder(): string {
  return join(createRequire(import.meta.url).resolve('fuse-native'), '..');
}
