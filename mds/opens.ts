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
  /** By client: opens under way, which have a place already. */
  readonly #coming = new Map<number, number>();
  #comingOfAll = 0;
  readonly #most: number;

  /** @param most open files of all clients */
  constructor(vfs: Vfs, newOther: () => string, most: number = serverLimits.opensMax) {
    this.#vfs = vfs;
    this.#newOther = newOther;
    this.#most = most;
  }

  countOf(client: number): number {
    return this.#byClient.get(client)?.size ?? 0;
  }

  /**
   * While half of all places are free everybody takes what it wants; then nobody takes more than an equal part of the other
   * half, so that who has few open files is not kept out by who has many.
   */
  hasRoomFor(client: number): boolean {
    const all = this.#byOther.size + this.#comingOfAll;
    if (all >= this.#most) return false;
    const clients = this.#byClient.size + (this.#byClient.has(client) ? 0 : 1);
    return all < this.#most / 2 || this.#taken(client) < this.#most / 2 / clients;
  }

  /**
   * Runs what ends in an `add`, with a place kept for it.
   * @throws StatusError DELAY: the client, or all together, have too many open files; and what `open` throws
   */
  async withPlace<T>(client: number, open: () => Promise<T>): Promise<T> {
    if (this.#taken(client) >= serverLimits.opensPerClientMax)
      throw new StatusError('DELAY', `client ${client} has ${serverLimits.opensPerClientMax} open files`, 'EMFILE');
    if (!this.hasRoomFor(client))
      throw new StatusError('DELAY', `${this.#byOther.size} files are open, ${this.#most} may be`, 'ENFILE');
    this.#expect(client, 1);
    try {
      return await open();
    } finally {
      this.#expect(client, -1);
    }
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

  #taken(client: number): number {
    return this.countOf(client) + (this.#coming.get(client) ?? 0);
  }

  #expect(client: number, change: 1 | -1): void {
    const coming = (this.#coming.get(client) ?? 0) + change;
    this.#comingOfAll += change;
    if (coming === 0) this.#coming.delete(client);
    else this.#coming.set(client, coming);
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
