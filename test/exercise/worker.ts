/** One of the processes that exercise a filesystem: it makes up operations, or does those of a script again. */
import { existsSync, openSync, writeSync } from 'node:fs';
import { chown, mkdir, open, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { alice, become, root } from '../posix/support/identity.ts';
import { Episode } from './episode.ts';
import { unprotect } from './flags.ts';
import { type Features, Generator, type Known } from './generator.ts';
import { type Operation, printed } from './operations.ts';
import { Random } from './random.ts';
import { Side } from './side.ts';

export interface Bases {
  readonly mount: string;
  readonly reference: string;
}

export type Order =
  | {
      readonly order: 'exercise';
      readonly bases: Bases;
      readonly seed: number;
      readonly count: number;
      readonly features: Features;
      readonly ends: 'remount' | 'crash' | undefined;
      /** Each operation is written here before it is done. */
      readonly log: string;
    }
  | {
      readonly order: 'replay';
      readonly bases: Bases;
      readonly script: readonly Operation[];
      readonly features: Features;
    }
  | { readonly order: 'continue' };

export type Report =
  | { readonly report: 'ready' | 'remount' | 'crash' | 'alive' | 'same' }
  | { readonly report: 'differs'; readonly detail: string; readonly script: readonly Operation[] };

/** Everything is compared after so many operations, and one time in four after a remount. */
const stretch = 250;

let resume: (() => void) | undefined;

function tell(report: Report): void {
  process.send?.(report);
}

/** Everybody stops until it is done. */
async function ask(report: 'remount' | 'crash'): Promise<void> {
  const done = new Promise<void>((resolve) => {
    resume = resolve;
  });
  tell({ report });
  await done;
}

async function begin(bases: Bases, { isRoot }: Features): Promise<Episode> {
  become(root);
  const snapshots = join(bases.mount, '.snapshots');
  for (const name of await readdir(snapshots).catch(() => [])) await rmdir(join(snapshots, name));
  for (const base of [bases.mount, bases.reference]) {
    if (existsSync(base)) unprotect(Buffer.from(base));
    await rm(base, { recursive: true, force: true });
    await mkdir(base, { recursive: true, mode: 0o755 });
    if (!isRoot) await chown(base, alice.uid, alice.gid);
    // A crash takes back what was not synced, but not this.
    const directory = await open(base);
    await directory.sync();
    await directory.close();
  }
  return new Episode(new Side('the filesystem', bases.mount), new Side('tmpfs', bases.reference), isRoot);
}

async function step(episode: Episode, operation: Operation): Promise<string | undefined> {
  if (operation.op === 'crash') {
    await ask('crash');
    episode.closeAll();
    return episode.verifyCrash();
  }
  if (operation.op !== 'remount') return episode.step(operation);
  episode.closeAll();
  await ask('remount');
  return episode.verify();
}

async function exercise(order: Extract<Order, { order: 'exercise' }>): Promise<void> {
  const random = new Random(order.seed);
  const generator = new Generator(random, order.features);
  let episode = await begin(order.bases, order.features);
  const log = openSync(order.log, 'w');
  let script: Operation[] = [];
  let known = knownBy(episode);
  for (let i = 1; i <= order.count; i++) {
    const isEnd = i % stretch === 0;
    const operation: Operation = isEnd && order.ends !== undefined ? { op: order.ends } : generator.next(known);
    script.push(operation);
    writeSync(log, `${printed(operation)}\n`);
    const differs =
      (await step(episode, operation)) ??
      (operation.op !== 'crash' && (isEnd || i === order.count) ? await episode.verify() : undefined);
    if (differs !== undefined) {
      episode.closeAll();
      tell({ report: 'differs', detail: differs, script });
      return;
    }
    if (operation.op === 'crash') {
      // What was lost is not what the others have: all begin again.
      episode = await begin(order.bases, order.features);
      script = [];
    }
    if (i % 8 === 0 || isEnd) known = knownBy(episode);
    if (i % 50 === 0) {
      tell({ report: 'alive' });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  episode.closeAll();
  tell({ report: 'same' });
}

async function replay({ bases, script, features }: Extract<Order, { order: 'replay' }>): Promise<void> {
  const episode = await begin(bases, features);
  let detail: string | undefined;
  for (const operation of script) {
    detail = await step(episode, operation);
    if (detail !== undefined) break;
  }
  if (script.at(-1)?.op !== 'crash') detail ??= await episode.verify();
  episode.closeAll();
  tell(detail === undefined ? { report: 'same' } : { report: 'differs', detail, script });
}

function knownBy({ model }: Episode): Known {
  const paths = [...model.paths()].filter(([path]) => path !== '.');
  const used = new Set([...model.open.values(), ...model.maps.values()].map(({ node }) => node));
  return {
    used: paths.filter(([, node]) => node.isFile && used.has(node)).map(([path]) => path),
    paths: paths.map(([path]) => path),
    directories: paths.filter(([, node]) => node.isDirectory).map(([path]) => path),
  };
}

async function carryOut(order: Order): Promise<void> {
  switch (order.order) {
    case 'exercise':
      return exercise(order);
    case 'replay':
      return replay(order);
    case 'continue':
      resume?.();
  }
}

process.on('message', (order: Order) => {
  carryOut(order).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.once('disconnect', () => process.exit());
tell({ report: 'ready' });
