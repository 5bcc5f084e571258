/** Blocks [block, block + length). */
export interface BlockRange {
  readonly block: number;
  readonly length: number;
}

/** What a block is for. Each has exactly one role. */
export type Role =
  | { readonly role: 'free' }
  /** Free, and kept for a file that is being written, until it is closed or space is short. */
  | { readonly role: 'kept' }
  /** Free, and closed to allocation: the range is being evacuated, or something is about to move in. */
  | { readonly role: 'withheld' }
  /** Nothing is ever put there: its memory cells are not to be trusted. */
  | { readonly role: 'bad' }
  /** Superblocks. */
  | { readonly role: 'reserved' }
  /** Mapped by `count` extents of files. */
  | { readonly role: 'file'; readonly count: number }
  /** Granted to a client for writing, not yet committed. */
  | { readonly role: 'provisional'; readonly client: number }
  /** Given up in a group that is not durable yet: after a crash the old file would still map it. */
  | { readonly role: 'freeing'; readonly group: number }
  /** Given up (in `group`), but a fenced client may still touch it. */
  | { readonly role: 'quarantined'; readonly group: number };

export const free: Role = { role: 'free' };
export const reserved: Role = { role: 'reserved' };
export const kept: Role = { role: 'kept' };
export const withheld: Role = { role: 'withheld' };
export const bad: Role = { role: 'bad' };
const unshared: Role = { role: 'file', count: 1 };

/** One object for nearly all the pieces of a map. */
export function fileRole(count: number): Role {
  return count === 1 ? unshared : { role: 'file', count };
}

export function sameRole(a: Role, b: Role): boolean {
  if (a === b) return true;
  if (a.role === 'file') return b.role === 'file' && a.count === b.count;
  if (a.role === 'provisional') return b.role === 'provisional' && a.client === b.client;
  if (a.role === 'freeing' || a.role === 'quarantined') return a.role === b.role && a.group === b.group;
  return a.role === b.role;
}

export function describeRole(role: Role): string {
  if (role.role === 'file') return role.count === 1 ? 'of a file' : `mapped by ${role.count} extents`;
  if (role.role === 'provisional') return `provisional of client ${role.client}`;
  if (role.role === 'freeing' || role.role === 'quarantined') return `${role.role} since group ${role.group}`;
  return role.role;
}
