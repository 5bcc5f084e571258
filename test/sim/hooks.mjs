/**
 * What the product's modules get of the outside world, exchanged for parts of the simulated one:
 * `node --import ./test/support/typescript.mjs --import ./test/sim/hooks.mjs test/sim/main.ts`. The product itself is
 * what is run, unchanged, but for what `--mutation NAME` breaks on purpose (mutations/); time (setTimeout and the like)
 * is exchanged by loop.ts.
 */
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { compiled } from '../support/typescript.mjs';

const root = new URL('../../', import.meta.url).href;

if (isMainThread) {
  const { mutate, mutationNamed } = await import('./mutations/index.ts');
  const at = process.argv.indexOf('--mutation');
  const mutation = at < 0 ? undefined : mutationNamed(process.argv[at + 1] ?? '');
  const read = (module) => readFile(fileURLToPath(root + module), 'utf8');
  const data = new Map();
  if (mutation !== undefined)
    for (const [module, source] of await mutate(mutation, read)) data.set(root + module, source);
  register(import.meta.url, { data });
}

const shim = (name) => new URL(`./shims/${name}`, import.meta.url).href;
const builtins = new Map([
  ['node:net', shim('net.ts')],
  ['node:timers/promises', shim('timers.ts')],
  ['node:crypto', shim('crypto.ts')],
]);
const modules = new Map([
  [`${root}client/clock.ts`, shim('lease-clock.ts')],
  [`${root}client/dma/mmap.ts`, shim('engine.ts')],
]);
/** Sources of modules with the mutation, by address. */
let mutated = new Map();

export function initialize(data) {
  mutated = data;
}

function isProduct(url) {
  return ['fs/', 'layout/', 'mds/', 'client/', 'tools/'].some((folder) => url?.startsWith(root + folder));
}

export async function resolve(specifier, context, next) {
  const builtin = isProduct(context.parentURL) ? builtins.get(specifier) : undefined;
  if (builtin !== undefined) return { url: builtin, shortCircuit: true };
  const found = await next(specifier, context);
  const module = isProduct(context.parentURL) ? modules.get(found.url) : undefined;
  return module === undefined ? found : { url: module, shortCircuit: true };
}

export async function load(url, context, next) {
  const source = mutated.get(url);
  return source === undefined ? next(url, context) : compiled(url, source);
}
