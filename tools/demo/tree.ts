/** Steps 1 and 2: a filesystem on a fresh image, and a real tree of files copied into it. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Checks } from './checks.ts';
import type { Stage } from './stage.ts';

const filesMin = 1000;
const bytesMin = 5 << 20;
const bytesMax = 200 << 20;

export async function makeAndMount(stage: Stage, checks: Checks, options: { readonly leaseMs: number }): Promise<void> {
  checks.begin('1 mkfs, mount, serve');
  await stage.must(stage.program('mkfs', '-q', '-L', 'demo', stage.image));
  await stage.mount(options);
  const mounted = await stage.must(stage.run('findmnt', '-n', '-o', 'FSTYPE,SOURCE', stage.mountPoint));
  checks.hold(mounted.includes('iopmemfs'), `the mount is ours, not ${mounted.trim()}`);
  checks.done(
    `512 MiB image formatted and mounted (${mounted.trim().replace(/\s+/g, ' of ')}), MDS on a Unix socket and ${stage.tcpAddress}`,
  );
}

/** The source of the tree copied. */
export async function copyTree(stage: Stage, checks: Checks): Promise<string> {
  checks.begin('2 copy a tree');
  const { source, files, bytes } = await findTree(stage);
  await stage.must(stage.run('cp', '-a', source, stage.path('tree')));
  checks.done(`cp -a ${source}: ${files} files, ${(bytes / 1e6).toFixed(0)} MB`);
  await compareTree(stage, source);
  checks.done(`diff -r finds no difference`);
  return source;
}

export async function compareTree(stage: Stage, source: string): Promise<void> {
  await stage.must(stage.run('diff', '-r', '--no-dereference', source, stage.path('tree')));
}

/** A tree of this machine that is big enough to mean something and small enough for the image. */
async function findTree(stage: Stage): Promise<{ source: string; files: number; bytes: number }> {
  const node = dirname(dirname(process.execPath));
  const project = fileURLToPath(new URL('../../../node_modules', import.meta.url));
  for (const source of [
    '/usr/include',
    join(node, 'include/node'),
    join(node, 'lib/node_modules'),
    join(project, 'typescript'),
    project,
  ]) {
    if (!existsSync(source)) continue;
    const files = Number(await stage.must(stage.run('sh', '-c', 'find "$0" -type f | wc -l', source)));
    const bytes = Number((await stage.must(stage.run('du', '-sb', source))).split('\t')[0]);
    if (files >= filesMin && bytes >= bytesMin && bytes <= bytesMax) return { source, files, bytes };
  }
  throw new Error('no tree of some thousand files found to copy');
}
