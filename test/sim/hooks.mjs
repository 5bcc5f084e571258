/**
 * What the product's modules get of the outside world, exchanged for parts of the simulated one:
 * `node --import ./test/support/typescript.mjs --import ./test/sim/hooks.mjs test/sim/main.ts`. The product itself is
 * what is run, unchanged; time (setTimeout and the like) is exchanged by loop.ts.
 */
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

const root = new URL('../../', import.meta.url).href;
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
