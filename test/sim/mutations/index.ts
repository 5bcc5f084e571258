/**
 * Faults put into the product on purpose, each in a copy that one run of the simulation loads (hooks.mjs): the proof that
 * its checks find what they are for.
 */
import { ofClient } from './client.ts';
import { ofFilesystem } from './filesystem.ts';
import { ofLeasing } from './leasing.ts';
import type { Change, Mutation } from './mutation.ts';

export type { Mutation } from './mutation.ts';

export const mutations: readonly Mutation[] = [...ofLeasing, ...ofFilesystem, ...ofClient];

/**
 * The sources with the mutation, by module; `read` answers them as they are.
 * @throws Error where a text does not stand in its module exactly once
 */
export async function mutate(
  { name, module, changes, also = [] }: Mutation,
  read: (module: string) => Promise<string>,
): Promise<ReadonlyMap<string, string>> {
  const mutated = new Map<string, string>();
  for (const change of [{ module, changes }, ...also])
    mutated.set(change.module, changed(name, change, await read(change.module)));
  return mutated;
}

function changed(name: string, { module, changes }: Change, source: string): string {
  return changes.reduce((mutated, [text, by]) => {
    const times = mutated.split(text).length - 1;
    if (times !== 1) throw new Error(`mutation ${name}: stands in ${module} ${times} times, not once:\n${text}`);
    return mutated.replace(text, () => by);
  }, source);
}

/** @throws Error: there is none of this name */
export function mutationNamed(name: string): Mutation {
  const found = mutations.find((each) => each.name === name);
  if (found === undefined)
    throw new Error(`no mutation ${name}; there are ${mutations.map((each) => each.name).join()}`);
  return found;
}
