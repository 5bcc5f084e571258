import { after } from '../../reply.ts';
import type { Attr, Caller, Reply, Vfs } from '../../vfs.ts';
import { mode } from './abi.ts';

const privilegeBits = mode.setuid | mode.setgid;

/** What an executable may do beyond its user (capabilities(7)). */
const capability = 'security.capability';

/**
 * Takes set-user-ID and set-group-ID from files that are written, truncated or given away: with HANDLE_KILLPRIV_V2
 * that is the server's part, and the kernel only says whether the caller lacks CAP_FSETID (fuse.h; write(2),
 * chown(2)). File capabilities go whoever writes; the kernel takes these itself (file_remove_privs), but not before
 * writes past its page cache (fuse_direct_write_iter). Remembers which inodes have nothing to take, as the kernel does
 * by S_NOSEC.
 */
export class Privileges {
  readonly #vfs: Vfs;
  readonly #onTaken: (ino: number) => void;
  /** Neither bits nor capabilities. */
  readonly #clean = new Set<number>();
  /** No bits. */
  readonly #plain = new Set<number>();

  /** `onTaken`: the mode of the inode is no longer what the kernel knows. */
  constructor(vfs: Vfs, onTaken: (ino: number) => void) {
    this.#vfs = vfs;
    this.#onTaken = onTaken;
  }

  /** Mode or attributes of the inode may have changed, or the kernel has let go of it. */
  forget(ino: number): void {
    this.#clean.delete(ino);
    this.#plain.delete(ino);
  }

  /** Clears the bits of `ino`; undefined when there is nothing to wait for. */
  kill(ino: number, by: Caller): Reply<void> {
    if (this.#plain.has(ino)) return undefined;
    if (this.#vfs.takesPrivileges === true) return this.#taken(ino);
    return after(this.#vfs.getattr(ino, by), (attr) => this.#take(attr, by));
  }

  /** The same for a write past the page cache, with the capabilities; the bits stay where the writer may keep them. */
  killForDirectWrite(ino: number, by: Caller, takesBits: boolean): Reply<void> {
    if (this.#clean.has(ino)) return undefined;
    if (this.#vfs.takesPrivileges === true) return this.#taken(ino);
    return after(this.#takeCapabilities(ino, by), () => {
      if (takesBits) {
        return after(this.kill(ino, by), () => {
          if (this.#plain.has(ino)) this.#clean.add(ino);
        });
      }
      return after(this.#vfs.getattr(ino, by), (attr) => {
        if ((attr.mode & privilegeBits) === 0) this.#clean.add(ino);
      });
    });
  }

  /** A new access control list by whoever could not have set the bit takes it (posix_acl_update_mode of Linux). */
  takeSetgid(ino: number, by: Caller): Reply<void> {
    return after(this.#vfs.getattr(ino, by), ({ mode: bits }) =>
      bits & mode.setgid
        ? after(this.#vfs.setattr(ino, { mode: bits & 0o7777 & ~mode.setgid }, by), () => undefined)
        : undefined,
    );
  }

  /** Below us, with the first write: the kernel is to ask what is left. */
  #taken(ino: number): void {
    this.#plain.add(ino);
    this.#clean.add(ino);
    this.#onTaken(ino);
  }

  #takeCapabilities(ino: number, by: Caller): Reply<void> {
    return after(this.#vfs.findxattr(ino, capability, by), (value) =>
      value === undefined ? undefined : this.#vfs.removexattr(ino, capability, by),
    );
  }

  #take(attr: Attr, by: Caller): Reply<void> {
    const cleared = withoutPrivileges(attr, by.gid === attr.gid);
    if (((cleared ?? attr.mode) & privilegeBits) === 0) this.#plain.add(attr.ino);
    if (cleared === undefined) return undefined;
    return after(this.#vfs.setattr(attr.ino, { mode: cleared }, by), () => this.#onTaken(attr.ino));
  }
}

/**
 * The permission bits that are left, undefined when all are. On directories they mean something else and stay
 * (chown_common). Set-group-ID without group execution, which meant mandatory locking, stays where the caller `mayKeep` it:
 * with CAP_FSETID, or in the group of the file (setattr_should_drop_sgid), of which only the caller's first is known here.
 */
export function withoutPrivileges(attr: Attr, mayKeep: boolean): number | undefined {
  if ((attr.mode & mode.typeMask) === mode.directory) return undefined;
  const drop = mode.setuid | ((attr.mode & mode.groupExec) !== 0 || !mayKeep ? mode.setgid : 0);
  return attr.mode & drop ? attr.mode & 0o7777 & ~drop : undefined;
}
