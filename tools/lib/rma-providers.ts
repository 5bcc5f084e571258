import { FsError } from '../../fs/errors.ts';
import { isProvider, type ProviderName, providers } from '../../fs/fabric/providers.ts';

/** `tcp,shm`. @throws FsError EINVAL */
export function parseProviders(list: string): readonly ProviderName[] {
  return [...new Set(list.split(','))].map((name) => {
    if (isProvider(name)) return name;
    const known = Object.keys(providers).join(', ');
    throw new FsError('EINVAL', { op: 'rma', detail: `${name} is no provider: ${known} are` });
  });
}
