import { StatusError } from './protocol/status.ts';

/**
 * What concerns all files is for root and for the user who runs the server: the filesystem of an ordinary user, made and
 * mounted by nobody else, is theirs to manage.
 * @throws StatusError PERM
 */
export function requireAdministrator({ uid }: { readonly uid: number }): void {
  if (uid === 0 || uid === process.geteuid?.()) return;
  throw new StatusError('PERM', 'this is for root and for the owner of the server', 'EPERM');
}
