/**
 * Who the clients are (RFC 8881 §2.4, §8.3, §8.4): incarnations of owners, their leases, and what is left of those that
 * are gone.
 *
 * 1. A client exists from EXCHANGE_ID and counts from its first CREATE_SESSION. Only then does it replace the former
 *    incarnation of its owner, for only then it is known that it heard us.
 * 2. An incarnation ends when its lease does, or when the next one of its owner is confirmed. Its files are closed, its
 *    layouts revoked and fenced, before anybody is told.
 * 3. What a fenced incarnation could reach stays in quarantine until the owner comes with another verifier: by that
 *    it says that nothing of the former incarnation reaches the device any more. Two programs may use one owner by
 *    mistake, and then the second speaks for a first that lives on (RFC 8881 §18.35): while that one still has a
 *    connection, which the second does not share, the quarantine lasts until its lease is over and its accesses are done.
 * 4. A record in the store, made before the first grant, keeps 3 true over a restart of the server. It goes when nothing
 *    is in quarantine for it. Only those that the store says had layouts are waited for after a restart: of the others
 *    all that they could reach has been put away.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type { ClientRecord } from '../fs/format/records.ts';
import { Client, type Introduction } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { serverLimits } from './limits.ts';
import type { Log } from './log.ts';
import { wireLimits } from './protocol/limits.ts';
import { StatusError } from './protocol/status.ts';
import { ReplyBudget } from './reply-budget.ts';
import { Session, type SessionShape } from './session.ts';

/** What ends with a client, in other parts of the server. */
export interface ClientState {
  /** Closes its files, revokes and fences its layouts. Settles when the fence holds. @throws FsError ESHUTDOWN */
  end(client: number): Promise<void>;
  /** Settles when no fence of it is under way. @throws FsError ESHUTDOWN, EIO */
  fenced(client: number): Promise<void>;
  /** It has layouts, open files or a fence under way. */
  busy(client: number): boolean;
}

interface Incarnation {
  readonly owner: string;
  readonly verifier: string;
  /** Those it had at its end; none that was cut off by a restart. */
  readonly connections: readonly Connection[];
  /** When a living program has long begun its last access: lease and longest access are over. */
  readonly quietAt: number;
  /** Its owner came with another verifier. */
  superseded: boolean;
}

export class Clients {
  readonly #fs: Filesystem;
  readonly #state: ClientState;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #log: Log;
  readonly #confirmed = new Map<number, Client>();
  readonly #byOwner = new Map<string, Client>();
  readonly #unconfirmed = new Map<number, Client>();
  readonly #sessions = new Map<string, Session>();
  readonly #replies = new ReplyBudget();
  readonly #ending = new Map<number, { readonly owner: string; readonly finished: Promise<void> }>();
  /** Incarnations with a record that are not among the living. */
  readonly #past = new Map<number, Incarnation>();
  /** Those of `#past` that the restart of the server cut off: nobody has fenced them yet. */
  readonly #returning: Set<number>;
  #cancelTimer: (() => void) | undefined;
  #closed = false;
  #allReturned: () => void = () => {};

  constructor(fs: Filesystem, state: ClientState, clock: Clock, leaseMs: number, log: Log) {
    this.#fs = fs;
    this.#state = state;
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#log = log;
    for (const record of fs.clientRecords()) this.#past.set(record.clientId, incarnationOf(record, [], clock.now()));
    this.#returning = new Set([...this.#past.keys()].filter((client) => fs.layouts.granted(client).size > 0));
  }

  /** Clients from before the restart that may have layouts, and have not been heard of, nor fenced. */
  get returning(): ReadonlySet<number> {
    return this.#returning;
  }

  /** Those of `returning` that have not come back either: what they could reach is not being given free. */
  unheard(): readonly number[] {
    return [...this.#returning].filter((client) => this.#past.has(client));
  }

  /** One of `returning` may have layouts on the file. */
  reaches(ino: number): boolean {
    for (const client of this.#returning) if (this.#fs.layouts.granted(client).has(ino)) return true;
    return false;
  }

  get past(): ReadonlyMap<number, { readonly owner: string }> {
    return this.#past;
  }

  living(): Iterable<Client> {
    return this.#confirmed.values();
  }

  find(client: number): Client | undefined {
    return this.#confirmed.get(client);
  }

  /** @throws StatusError BADSESSION */
  session(id: Uint8Array): Session {
    const session = this.#sessions.get(Buffer.from(id).toString('hex'));
    if (session === undefined) throw new StatusError('BADSESSION', 'no such session, or it ended with its lease');
    return session;
  }

  /** RFC 8881 §18.35. The same owner with the same verifier is the same client. @throws StatusError DELAY */
  exchangeId(introduction: Introduction): { readonly client: Client; readonly confirmed: boolean } {
    const known = this.#byOwner.get(hex(introduction.owner));
    if (known !== undefined && hex(known.introduction.verifier) === hex(introduction.verifier)) {
      return { client: known, confirmed: true };
    }
    if (this.#confirmed.size + this.#unconfirmed.size >= serverLimits.clientsMax) {
      throw new StatusError('DELAY', `${serverLimits.clientsMax} clients are known; their leases end in time`);
    }
    for (const [id, other] of this.#unconfirmed) {
      if (hex(other.introduction.owner) === hex(introduction.owner)) this.#unconfirmed.delete(id);
    }
    const leaseEndsAt = this.#clock.now() + this.#leaseMs;
    const client = new Client(this.#fs.newClientId(), introduction, randomInt(2 ** 32), leaseEndsAt);
    this.#unconfirmed.set(client.id, client);
    this.#arm();
    return { client, confirmed: false };
  }

  /**
   * RFC 8881 §18.36. A sequence of its own makes it run once.
   * @throws StatusError STALE_CLIENTID, SEQ_MISORDERED, DELAY
   */
  async createSession(
    clientId: number,
    sequence: number,
    wanted: Pick<SessionShape, 'slots' | 'callbackSlots'>,
    connection: Connection,
  ): Promise<Session> {
    const client = this.#confirmed.get(clientId) ?? this.#unconfirmed.get(clientId);
    if (client === undefined) throw new StatusError('STALE_CLIENTID', `client ${clientId} is not known`);
    if (sequence === (client.nextCreation - 1) >>> 0 && client.creating !== 'never') {
      if (client.creating === 'running') throw new StatusError('DELAY', 'the first one is still running');
      return client.creating;
    }
    if (sequence !== client.nextCreation) {
      throw new StatusError('SEQ_MISORDERED', `sequence ${sequence}, ${client.nextCreation} is next`);
    }
    if (client.creating === 'running') throw new StatusError('DELAY', 'another one is still running');
    if (client.sessions.size >= serverLimits.sessionsPerClientMax) {
      throw new StatusError('DELAY', `client ${clientId} has ${client.sessions.size} sessions`);
    }
    const before = client.creating;
    client.creating = 'running';
    try {
      if (!this.#confirmed.has(clientId)) await this.#confirm(client, connection);
    } catch (error) {
      client.creating = before;
      throw error;
    }
    client.nextCreation = (client.nextCreation + 1) >>> 0;
    const shape = {
      id: randomBytes(16),
      slots: Math.min(Math.max(wanted.slots, 1), wireLimits.slotsMax),
      callbackSlots: Math.min(Math.max(wanted.callbackSlots, 1), wireLimits.callbackSlotsMax),
    };
    const session = new Session(client, shape, this.#clock, this.#replies);
    client.creating = session;
    client.sessions.set(hex(session.id), session);
    this.#sessions.set(hex(session.id), session);
    this.renew(client);
    return session;
  }

  destroySession(session: Session): void {
    this.#sessions.delete(hex(session.id));
    session.client.sessions.delete(hex(session.id));
  }

  /** @throws StatusError STALE_CLIENTID, CLIENTID_BUSY */
  async destroyClient(clientId: number): Promise<void> {
    if (this.#unconfirmed.delete(clientId)) return;
    const client = this.#confirmed.get(clientId);
    if (client === undefined) throw new StatusError('STALE_CLIENTID', `client ${clientId} is not known`);
    if (client.sessions.size > 0 || client.fenced || this.#state.busy(clientId)) {
      throw new StatusError('CLIENTID_BUSY', `client ${clientId} has sessions, open files or layouts`);
    }
    await this.#settlePast(client, this.#remove(client));
  }

  /**
   * The administrator says that the client is dead: what it had is revoked, what it could reach is free.
   * @throws StatusError NOENT, FsError ESHUTDOWN, EIO
   */
  async evict(clientId: number): Promise<void> {
    const client = this.#confirmed.get(clientId);
    const ending = client === undefined ? this.#ending.get(clientId)?.finished : this.#end(client, 'it was evicted');
    await ending;
    if (this.#past.has(clientId)) await this.#release(clientId);
    else if (ending === undefined) throw new StatusError('NOENT', `client ${clientId} is not known`);
  }

  renew(client: Client): void {
    client.leaseEndsAt = this.#clock.now() + this.#leaseMs;
    this.#arm();
  }

  /** Its record is durable when it settles; before that it gets no layout. */
  async record(client: Client): Promise<void> {
    // Where nothing is ever written no block changes hands, and what a client still reaches does not matter.
    if (client.recorded === undefined && this.#fs.status().readOnly) return;
    client.recorded ??= this.#fs
      .putClient({
        clientId: client.id,
        owner: client.introduction.owner,
        verifier: client.introduction.verifier,
        since: Math.floor(Date.now() / 1000),
      })
      .catch((error: unknown) => {
        client.recorded = undefined;
        throw error;
      });
    await client.recorded;
  }

  /** A client from before the restart is fenced, or was replaced by a new incarnation. */
  returned(client: number): void {
    this.#returning.delete(client);
    if (this.#returning.size === 0) this.#allReturned();
  }

  onAllReturned(task: () => void): void {
    this.#allReturned = task;
  }

  /** @throws StatusError EXPIRED */
  requireLiving(client: Client): void {
    if (!this.#closed && this.#confirmed.get(client.id) === client) return;
    throw new StatusError('EXPIRED', `the lease of client ${client.id} ended, or it has a new incarnation`);
  }

  unbind(connection: Connection): void {
    for (const session of this.#sessions.values()) session.unbind(connection);
    this.#releaseQuiet();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
  }

  /** Invariant 1 and 3: whatever this owner was before is over now. */
  async #confirm(client: Client, connection: Connection): Promise<void> {
    const owner = hex(client.introduction.owner);
    const verifier = hex(client.introduction.verifier);
    const former = this.#byOwner.get(owner);
    if (former !== undefined) await this.#end(former, 'its owner came back as a new incarnation');
    for (const ending of this.#ending.values()) if (ending.owner === owner) await ending.finished;
    for (const [id, past] of this.#fs.status().readOnly ? [] : this.#past) {
      if (past.owner !== owner || past.verifier === verifier) continue;
      past.superseded = true;
      if (this.#isQuiet(past) || past.connections.includes(connection)) await this.#release(id);
    }
    this.#arm();
    if (this.#unconfirmed.get(client.id) !== client) {
      throw new StatusError('STALE_CLIENTID', `client ${client.id} was replaced by a newer incarnation`);
    }
    this.#unconfirmed.delete(client.id);
    this.#confirmed.set(client.id, client);
    this.#byOwner.set(owner, client);
  }

  /** Invariant 2. */
  #end(client: Client, why: string): Promise<void> {
    const already = this.#ending.get(client.id);
    if (already !== undefined) return already.finished;
    this.#log.info({ client: client.id, why }, 'client ended');
    const connections = this.#remove(client);
    const ended = this.#state.end(client.id).then(() => this.#settlePast(client, connections));
    const finished = ended.finally(() => this.#ending.delete(client.id));
    this.#ending.set(client.id, { owner: hex(client.introduction.owner), finished });
    return finished;
  }

  /** Answers the connections that it had. */
  #remove(client: Client): readonly Connection[] {
    const connections = [...client.sessions.values()].flatMap((session) => [...session.connections]);
    for (const session of client.sessions.values()) this.#sessions.delete(hex(session.id));
    client.sessions.clear();
    this.#confirmed.delete(client.id);
    if (this.#byOwner.get(hex(client.introduction.owner)) === client) {
      this.#byOwner.delete(hex(client.introduction.owner));
    }
    return connections;
  }

  #isQuiet({ connections, quietAt }: Incarnation): boolean {
    return quietAt <= this.#clock.now() || connections.every((connection) => connection.closed);
  }

  /** Invariant 3. */
  #releaseQuiet(): void {
    if (this.#closed) return;
    for (const [id, past] of this.#past) {
      if (!past.superseded || !this.#isQuiet(past)) continue;
      this.#release(id).catch((error: unknown) => {
        this.#log.error({ client: id, error }, 'the quarantine of a client could not be released');
      });
    }
  }

  /** Nothing of this incarnation reaches the device: its blocks are free, and its record is not needed. */
  async #release(client: number): Promise<void> {
    this.#past.delete(client);
    await this.#state.fenced(client);
    if (this.#returning.has(client)) await this.#fs.layouts.quarantine(client, []);
    await this.#fs.layouts.releaseQuarantine(client);
    await this.#fs.removeClient(client);
    this.returned(client);
  }

  /** Invariant 4. A record that could not be removed is only looked at once more after the next start. */
  async #settlePast(client: Client, connections: readonly Connection[]): Promise<void> {
    if (client.recorded === undefined) return;
    const { introduction, leaseEndsAt } = client;
    const past = incarnationOf(introduction, connections, leaseEndsAt + introduction.ioMaxMs);
    try {
      await client.recorded;
      if (this.#fs.quarantined().has(client.id)) this.#past.set(client.id, past);
      else await this.#fs.removeClient(client.id);
    } catch (error) {
      this.#past.set(client.id, past);
      this.#log.error({ client: client.id, error }, 'the record of a client could not be removed');
    }
  }

  #arm(): void {
    if (this.#closed || this.#cancelTimer !== undefined) return;
    const ends = [...this.#confirmed.values(), ...this.#unconfirmed.values()].map((client) => client.leaseEndsAt);
    for (const past of this.#past.values()) if (past.superseded) ends.push(past.quietAt);
    if (ends.length === 0) return;
    const first = ends.reduce((a, b) => Math.min(a, b));
    this.#cancelTimer = this.#clock.after(first - this.#clock.now(), () => {
      this.#cancelTimer = undefined;
      this.#expire();
      this.#releaseQuiet();
      this.#arm();
    });
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const [id, client] of this.#unconfirmed) {
      if (client.leaseEndsAt <= now && client.creating !== 'running') this.#unconfirmed.delete(id);
    }
    for (const client of this.#confirmed.values()) {
      // It rejects only where the server closes or the filesystem shut down, which everybody hears of.
      if (client.leaseEndsAt <= now) this.#end(client, 'its lease ended').catch(() => {});
    }
  }
}

function incarnationOf(
  of: Pick<ClientRecord, 'owner' | 'verifier'>,
  connections: readonly Connection[],
  quietAt: number,
): Incarnation {
  return { owner: hex(of.owner), verifier: hex(of.verifier), connections, quietAt, superseded: false };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
