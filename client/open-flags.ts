import { shareAccess } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import type { Access } from './open-state.ts';

/** As node's file system flags; appending is not among them, since no layout makes it atomic. */
export type OpenFlags = 'r' | 'r+' | 'w' | 'w+' | 'wx' | 'wx+';

export interface ParsedFlags {
  readonly access: Access;
  readonly create: boolean;
  readonly exclusive: boolean;
  readonly truncate: boolean;
}

const table: Record<OpenFlags, ParsedFlags> = {
  r: { access: shareAccess.read, create: false, exclusive: false, truncate: false },
  'r+': { access: shareAccess.both, create: false, exclusive: false, truncate: false },
  w: { access: shareAccess.write, create: true, exclusive: false, truncate: true },
  'w+': { access: shareAccess.both, create: true, exclusive: false, truncate: true },
  wx: { access: shareAccess.write, create: true, exclusive: true, truncate: false },
  'wx+': { access: shareAccess.both, create: true, exclusive: true, truncate: false },
};

/** @throws ClientError ARGUMENT */
export function parseFlags(flags: string): ParsedFlags {
  if (!isFlags(flags)) {
    throw new ClientError('ARGUMENT', `flags ${JSON.stringify(flags)}: one of ${Object.keys(table).join(', ')}`);
  }
  return table[flags];
}

function isFlags(flags: string): flags is OpenFlags {
  return Object.hasOwn(table, flags);
}
