/** By the names that are used between client and server, the providers of libfabric that are asked for. */
export const providers = { tcp: 'tcp;ofi_rxm', shm: 'shm', verbs: 'verbs;ofi_rxm' } as const;
export type ProviderName = keyof typeof providers;

export function isProvider(name: string): name is ProviderName {
  return Object.hasOwn(providers, name);
}
