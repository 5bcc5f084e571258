import type { Caller } from '../../fs/vfs.ts';

/** Who creates something; undefined: the umask is taken from the mode already. */
export function withUmask(caller: Caller, umask: number | undefined): Caller {
  return umask === undefined ? caller : { ...caller, umask };
}
