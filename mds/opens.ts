/** Open files of the clients (RFC 8881 §9): each OPEN makes a state of its own, which stands for a handle of the filesystem. */
import type { Handle, Vfs } from '../fs/vfs.ts';
import type { StateId } from '../layout/types.ts';
import { serverLimits } from './limits.ts';
import { StatusError } from './protocol/status.ts';

export interface Open {
  readonly stateid: StateId;
  readonly client: number;
  readonly ino: number;
  readonly handle: Handle;
  readonly read: boolean;
  readonly write: boolean;
}

export class Opens {
  readonly #vfs: Vfs;
  readonly #newOther: () => string;
  readonly #byOther = new Map<string, Open>();
  readonly #byClient = new Map<number, Set<Open>>();
  /** By inode number. */
  readonly #byFile = new Map<number, Set<Open>>();

  constructor(vfs: Vfs, newOther: () => string) {
    this.#vfs = vfs;
    this.#newOther = newOther;
  }

  countOf(client: number): number {
    return this.#byClient.get(client)?.size ?? 0;
  }

  /** @throws StatusError DELAY: the client has too many open files */
  requireRoom(client: number): void {
    if (this.countOf(client) < serverLimits.opensPerClientMax) return;
    throw new StatusError('DELAY', `client ${client} has ${serverLimits.opensPerClientMax} open files`, 'EMFILE');
  }

  add(open: Omit<Open, 'stateid'>): StateId {
    const added: Open = { ...open, stateid: { seqid: 1, other: this.#newOther() } };
    this.#byOther.set(added.stateid.other, added);
    addTo(this.#byClient, open.client, added);
    addTo(this.#byFile, open.ino, added);
    return added.stateid;
  }

  /** undefined: not an open of this client. The seqid of an open never changes; 0 stands for the newest (RFC 8881 §8.2.2). */
  peek(stateid: StateId, client: number): Open | undefined {
    const open = this.#byOther.get(stateid.other);
    return open?.client === client && stateid.seqid <= 1 ? open : undefined;
  }

  /** @throws StatusError BAD_STATEID */
  find(stateid: StateId, client: number): Open {
    const open = this.peek(stateid, client);
    if (open === undefined) throw new StatusError('BAD_STATEID', `client ${client} has no open ${stateid.other}`);
    return open;
  }

  /** @throws StatusError BAD_STATEID, OPENMODE */
  findFor(access: 'read' | 'write', stateid: StateId, client: number): Open {
    const open = this.find(stateid, client);
    if (!open[access]) throw new StatusError('OPENMODE', `inode ${open.ino} is not open for ${access}ing`);
    return open;
  }

  /** Has the client opened the file for this? */
  hasOpen(access: 'read' | 'write', ino: number, client: number): boolean {
    for (const open of this.#byFile.get(ino) ?? []) if (open.client === client && open[access]) return true;
    return false;
  }

  isOpen(ino: number, client: number): boolean {
    return this.hasOpen('read', ino, client) || this.hasOpen('write', ino, client);
  }

  isOpenByOthers(ino: number, client: number): boolean {
    for (const open of this.#byFile.get(ino) ?? []) if (open.client !== client) return true;
    return false;
  }

  async close(open: Open): Promise<void> {
    this.#byOther.delete(open.stateid.other);
    deleteFrom(this.#byClient, open.client, open);
    deleteFrom(this.#byFile, open.ino, open);
    await this.#vfs.release(open.handle);
  }

  async closeAll(client: number): Promise<void> {
    for (const open of this.#byClient.get(client) ?? []) await this.close(open);
  }

  async closeEverything(): Promise<void> {
    for (const open of this.#byOther.values()) await this.close(open);
  }
}

function addTo(index: Map<number, Set<Open>>, key: number, open: Open): void {
  const opens = index.get(key);
  if (opens === undefined) index.set(key, new Set([open]));
  else opens.add(open);
}

function deleteFrom(index: Map<number, Set<Open>>, key: number, open: Open): void {
  const opens = index.get(key);
  opens?.delete(open);
  if (opens?.size === 0) index.delete(key);
}
