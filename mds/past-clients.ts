/**
 * Incarnations of clients that are gone, and what is left of them: blocks that they may still reach, and grants of the
 * former run of the server of which nobody knows yet.
 *
 * 1. What a fenced incarnation could reach stays in quarantine until its owner comes with another verifier: by that it
 *    says that nothing of the former incarnation reaches the device any more. Two programs may use one owner by mistake,
 *    and then the second speaks for a first that lives on (RFC 8881 §18.35): while that one still has a connection,
 *    which the second does not share, the quarantine lasts until its lease is over and its accesses are done.
 *    Before that the quarantine ends where a fence proves that nothing of the incarnation reaches the device (fencing/).
 * 2. An incarnation that the restart of the server cut off (`returning`) counts as holding what the store says was granted
 *    to it. In the grace period its owner may come back and reclaim (RFC 8881 §8.4.2, §18.42): until the
 *    RECLAIM_COMPLETE of the new incarnation, the end of that one's lease or the end of grace nothing of the former one is
 *    given free.
 * 3. Reclaimed is what stands on record for an incarnation that nobody has put away. A fence takes the record of what was
 *    granted along, so whoever missed a run of the server with its grace period, or had lost its lease before the crash,
 *    finds nothing (the edge conditions of RFC 8881 §8.4.3). A run that ended within its grace took nothing away: the right stays.
 * 4. What was written and not committed may not have outlived the machine that the device is in: of another start of it, or
 *    an unknown one, nothing is reclaimed. Blocks that hold something else would become part of a file.
 * 5. A record in the store, made before the first grant, keeps all that true over restarts. It goes when nothing is in
 *    quarantine for the incarnation.
 */
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type { ClientRecord } from '../fs/format/records.ts';
import type { Access } from '../fs/space/space.ts';
import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { ioUnbounded } from './fencing/limits.ts';
import type { ClientFacts } from './fencing/provider.ts';
import { type PeerConnection, Reach } from './fencing/reach.ts';
import type { Log } from './log.ts';
import { MultiMap } from './multimap.ts';

export interface PastClient {
  /** Hex of co_ownerid. */
  readonly owner: string;
  /** The incarnation of the same owner that has come since. */
  readonly successor: Client | undefined;
}

interface Incarnation extends PastClient {
  /** The principal that it came as: of another one the owner is another. */
  readonly uid: number;
  readonly verifier: string;
  /** Hex of the start of the machine that it was known in. */
  readonly boot: string;
  /** Those it had at its end; none that was cut off by a restart. */
  readonly connections: readonly Connection[];
  readonly reach: Reach;
  readonly ioMaxMs: number;
  readonly leaseEndsAt: number;
  successor: Client | undefined;
  /** Of rule 1: it is waited for the end of its lease and its accesses no longer. */
  cancelQuiet: () => void;
}

export class PastClients {
  readonly #fs: Filesystem;
  readonly #endFence: (client: number) => Promise<void>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #boot: string;
  /** Incarnations with a record that are not among the living. */
  readonly #past = new Map<number, Incarnation>();
  readonly #byOwner = new MultiMap<string, number>();
  readonly #byConnection = new MultiMap<PeerConnection, number>();
  /** Those of `#past` that the restart of the server cut off: nobody has fenced them yet. */
  readonly #returning: Set<number>;
  #graceEnded = false;
  #closed = false;
  #returned: () => void = () => {};

  /** Of the lease that the former run promised, in ms; 0 if nobody is waited for. */
  readonly formerLeaseMs: number;

  /** `endFence` settles when no fence of the client is under way. */
  constructor(
    fs: Filesystem,
    endFence: (client: number) => Promise<void>,
    processGone: (client: number) => void,
    clock: Clock,
    boot: Uint8Array,
    log: Log,
  ) {
    this.#fs = fs;
    this.#endFence = endFence;
    this.#clock = clock;
    this.#log = log;
    this.#boot = hex(boot);
    const records = fs.clientRecords();
    for (const record of records) {
      const { leaseMs, ioMaxMs } = record;
      // Its last renewal was before the start of this run.
      const reach = Reach.ofFormer(Buffer.from(record.process).toString(), () => processGone(record.clientId));
      const known = { reach, ioMaxMs, leaseEndsAt: clock.now() + leaseMs };
      this.#keep(record.clientId, incarnationOf(record, [], known));
    }
    const returning = records.filter(({ clientId }) => fs.layouts.granted(clientId).size > 0);
    this.#returning = new Set(returning.map(({ clientId }) => clientId));
    this.formerLeaseMs = returning.reduce((longest, { leaseMs }) => Math.max(longest, leaseMs), 0);
  }

  get all(): ReadonlyMap<number, PastClient> {
    return this.#past;
  }

  /** @param owner hex of co_ownerid */
  ofOwner(owner: string): readonly number[] {
    return this.#byOwner.get(owner);
  }

  /** Clients from before the restart that may have layouts, and are neither fenced nor let go. */
  get returning(): ReadonlySet<number> {
    return this.#returning;
  }

  /** Somebody is waited for still. On a filesystem that is never written nothing was granted that could be reclaimed. */
  get mayReclaim(): boolean {
    return !this.#graceEnded && this.#returning.size > 0 && !this.#fs.status().readOnly;
  }

  /** Those of `returning` that nobody has come back for. */
  unheard(): readonly number[] {
    return [...this.#returning].filter((id) => this.#past.has(id) && this.#past.get(id)?.successor === undefined);
  }

  /** One of `returning` may have layouts on the file: any, or for writing. */
  reaches(ino: number, access: Access): boolean {
    for (const client of this.#returning) {
      const granted = this.#fs.layouts.granted(client).get(ino);
      if (granted === 'write' || (granted !== undefined && access === 'read')) return true;
    }
    return false;
  }

  /** Called when one of `returning` is returning no more. */
  onReturned(task: () => void): void {
    this.#returned = task;
  }

  /** `client` is confirmed as the next incarnation of its owner: rules 1 and 2. @throws FsError ESHUTDOWN, EIO */
  async supersede(client: Client, connection: Connection): Promise<void> {
    if (this.#fs.status().readOnly) return;
    const { introduction } = client;
    const [owner, verifier, [uid]] = [hex(introduction.owner), hex(introduction.verifier), introduction.credentials];
    for (const id of this.#byOwner.get(owner)) {
      const past = this.#past.get(id);
      if (past === undefined || past.uid !== uid || past.verifier === verifier) continue;
      past.successor?.formers.delete(id);
      past.successor = client;
      await this.#endFence(id); // what cuts off the former incarnation would cut off this one
      if (this.mayReclaim && this.#returning.has(id) && past.boot === this.#boot && this.#boot !== '')
        client.formers.add(id);
      else if (this.#isQuiet(past) || past.connections.includes(connection)) await this.release(id);
      else this.#awaitQuiet(id, past);
    }
  }

  /** The client has reclaimed what it wanted to, or never will. @throws FsError ESHUTDOWN, EIO */
  async releaseFormers(client: Client): Promise<void> {
    for (const id of client.formers) await this.release(id);
  }

  /** Grace is over: who came back and did not say RECLAIM_COMPLETE has had its time. Settles when what it had is free. */
  async endReclaims(): Promise<void> {
    this.#graceEnded = true;
    for (const id of this.#returning) if (this.#past.get(id)?.successor !== undefined) await this.release(id);
  }

  /** Nothing of this incarnation reaches the device: its blocks are free, and its record is not needed. @throws FsError ESHUTDOWN, EIO */
  async release(id: number): Promise<void> {
    this.#forget(id);
    await this.#endFence(id);
    await this.#free(id);
  }

  /** The same, as the end of a fence. @throws FsError EIO */
  async cutOff(id: number): Promise<void> {
    this.#forget(id);
    await this.#free(id);
  }

  #keep(id: number, past: Incarnation): void {
    this.#past.set(id, past);
    this.#byOwner.add(past.owner, id);
    for (const connection of [...past.connections, ...past.reach.connections]) this.#byConnection.add(connection, id);
  }

  #forget(id: number): void {
    const past = this.#past.get(id);
    if (past === undefined) return;
    this.#past.delete(id);
    this.#byOwner.delete(past.owner, id);
    for (const connection of [...past.connections, ...past.reach.connections])
      this.#byConnection.delete(connection, id);
    past.cancelQuiet();
    past.successor?.formers.delete(id);
    past.reach.close();
  }

  async #free(id: number): Promise<void> {
    if (this.#returning.has(id)) await this.#fs.layouts.quarantine(id, []);
    await this.#fs.layouts.releaseQuarantine(id);
    await this.#fs.removeClient(id);
    this.returned(id);
  }

  /** A client from before the restart is fenced, or let go. */
  returned(id: number): void {
    if (this.#returning.delete(id)) this.#returned();
  }

  /** Rule 5. A record that could not be removed is only looked at once more after the next start. */
  async ended(client: Client, connections: readonly Connection[]): Promise<void> {
    const { introduction, leaseEndsAt, reach } = client;
    if (client.recorded === undefined) return reach.close();
    const { ioMaxMs } = introduction;
    const [uid] = introduction.credentials;
    const past = incarnationOf({ ...introduction, uid, boot: new Uint8Array() }, connections, {
      reach,
      ioMaxMs,
      leaseEndsAt,
    });
    try {
      await client.recorded;
      if (this.#fs.quarantined().has(client.id)) return this.#keep(client.id, past);
      reach.close();
      await this.#fs.removeClient(client.id);
    } catch (error) {
      this.#keep(client.id, past);
      this.#log.error({ client: client.id, error }, 'the record of a client could not be removed');
    }
  }

  /** The connection is gone: rule 1. Answers those of its clients whose process is gone, too. */
  unbind(connection: Connection): readonly number[] {
    const clients = this.#byConnection.get(connection);
    for (const id of clients) {
      const past = this.#past.get(id);
      this.#byConnection.delete(connection, id);
      if (past !== undefined && this.#awaitsQuiet(id, past) && this.#isQuiet(past)) this.letGo(id);
    }
    return clients.filter((id) => this.#past.get(id)?.reach.gone === true);
  }

  /** `release`, in the background. */
  letGo(id: number): void {
    if (this.#closed || this.#fs.status().readOnly) return;
    this.release(id).catch((error: unknown) => {
      this.#log.error({ client: id, error }, 'the quarantine of a client could not be released');
    });
  }

  /** What the fence of one of them needs to know. */
  facts(id: number): ClientFacts | undefined {
    const past = this.#past.get(id);
    if (past === undefined) return undefined;
    const { owner, ioMaxMs, leaseEndsAt, successor, reach } = past;
    const ranges = (): ReturnType<ClientFacts['ranges']> => this.#fs.layouts.held(id);
    const superseded = successor !== undefined;
    const isOver = superseded && !successor.formers.has(id) && this.#isQuiet(past);
    return { client: id, owner: Buffer.from(owner, 'hex'), ioMaxMs, leaseEndsAt, superseded, isOver, reach, ranges };
  }

  /** Those whose process is gone. */
  gone(): readonly number[] {
    return [...this.#past].filter(([, { reach }]) => reach.gone).map(([id]) => id);
  }

  close(): void {
    this.#closed = true;
    for (const { reach, cancelQuiet } of this.#past.values()) {
      cancelQuiet();
      reach.close();
    }
  }

  /** Rule 1: a living program has long begun its last access. */
  #awaitQuiet(id: number, past: Incarnation): void {
    past.cancelQuiet();
    const at = quietAt(past);
    if (this.#closed || at === Infinity) return;
    past.cancelQuiet = this.#clock.after(at - this.#clock.now(), () => {
      if (this.#isQuiet(past)) this.letGo(id);
      else this.#awaitQuiet(id, past); // a clock that does not go so far
    });
  }

  #awaitsQuiet(id: number, { successor }: Incarnation): boolean {
    return successor !== undefined && !successor.formers.has(id);
  }

  #isQuiet(past: Incarnation): boolean {
    return isQuiet(past.connections, quietAt(past), this.#clock.now());
  }
}

function incarnationOf(
  of: Pick<ClientRecord, 'owner' | 'verifier' | 'uid' | 'boot'>,
  connections: readonly Connection[],
  known: Pick<Incarnation, 'reach' | 'ioMaxMs' | 'leaseEndsAt'>,
): Incarnation {
  const { uid } = of;
  return {
    owner: hex(of.owner),
    uid,
    verifier: hex(of.verifier),
    boot: hex(of.boot),
    connections,
    ...known,
    successor: undefined,
    cancelQuiet: () => {},
  };
}

/** When a living program has long begun its last access: lease and longest access are over. */
function quietAt({ leaseEndsAt, ioMaxMs }: Incarnation): number {
  return quietAfter(leaseEndsAt, ioMaxMs);
}

export function quietAfter(leaseEndsAt: number, ioMaxMs: number): number {
  return leaseEndsAt + (ioMaxMs === ioUnbounded ? Infinity : ioMaxMs);
}

/** What a next incarnation says of one that had these connections is believed (rule 1). */
export function isQuiet(connections: readonly Connection[], at: number, now: number): boolean {
  return at <= now || connections.every((connection) => connection.closed);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
