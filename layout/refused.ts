import type { LayoutStatus, Refused } from './types.ts';

/** A refusal that names the client, the file and, where there is one, the range. */
export function refused(
  status: LayoutStatus,
  about: { readonly client: number; readonly ino: number; readonly offset?: number; readonly length?: number },
  why: string,
): Refused {
  const bytes = about.offset === undefined ? '' : `, bytes ${about.offset}+${about.length}`;
  return { kind: 'refused', status, detail: `client ${about.client}, inode ${about.ino}${bytes}: ${why}` };
}
