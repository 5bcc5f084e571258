/**
 * Who the clients are (RFC 8881 §2.4, §8.3, §8.4): incarnations of owners, their leases, and what is left of those that
 * are gone.
 *
 * 1. A client exists from EXCHANGE_ID and counts from its first CREATE_SESSION. Only then does it replace the former
 *    incarnation of its owner, for only then it is known that it heard us.
 * 2. When its lease ends an incarnation keeps what it has, by courtesy, until somebody needs some of it: then its layouts
 *    are revoked and fenced without asking it. It ends when the courtesy does (lease-ends.ts), or when the next one of its
 *    owner is confirmed: its files are closed, its layouts revoked and fenced, before anybody is told.
 * 3. What is left of an incarnation that ended, or that a restart of the server cut off, is in the hands of `PastClients`.
 */
import { randomInt } from 'node:crypto';
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type { Reply } from '../fs/vfs.ts';
import { Client } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { ClientFacts } from './fencing/provider.ts';
import { Reach } from './fencing/reach.ts';
import { hasVerifier, hex, type Introduction, isSamePrincipal, principalOf, updated } from './introduction.ts';
import { LeaseEnds, type LeaseTimes } from './lease-ends.ts';
import { serverLimits } from './limits.ts';
import type { Log } from './log.ts';
import { MultiMap } from './multimap.ts';
import { isQuiet, PastClients, quietAfter } from './past-clients.ts';
import { StatusError } from './protocol/status.ts';
import type { Session } from './session.ts';
import { Sessions, type WantedSession } from './sessions.ts';
import { within } from './within.ts';

/** What belongs to a client in other parts of the server. */
export interface ClientState {
  /** Closes its files, revokes and fences its layouts. Settles when the fence holds. @throws FsError ESHUTDOWN */
  end(client: number): Promise<void>;
  /** It has ended by its own word, and has no files and layouts. */
  left(client: number): Promise<void>;
  /** It needs no fence any more; settles when none of it is under way. @throws FsError ESHUTDOWN, EIO */
  endFence(client: number): Promise<void>;
  /** Its fence may hold by now: its process is gone, or its owner speaks for it. */
  lookAgain(client: number): void;
  /** Nothing of it reaches the device: its fence holds. */
  declareOver(client: number): void;
  /** It has layouts, open files or a fence under way. */
  busy(client: number): boolean;
  /** Its layouts are revoked at once, and it is being fenced. */
  revoke(client: number): void;
  /** Its lease is over: what it was asked to return is waited for no longer. */
  lapsed(client: number): void;
}

interface Ending {
  readonly owner: string;
  readonly client: Client;
  /** Those it had. */
  readonly connections: readonly Connection[];
  /** The next one of its owner is coming, over this connection. */
  successor: Connection | undefined;
  /** The administrator says so. */
  isDead: boolean;
  finished: Promise<void>;
}

export class Clients {
  readonly #fs: Filesystem;
  readonly #state: ClientState;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #boot: Uint8Array;
  readonly #log: Log;
  readonly #sessions: Sessions;
  readonly #leases: LeaseEnds;
  readonly #confirmed = new Map<number, Client>();
  readonly #byOwner = new Map<string, Client>();
  readonly #unconfirmed = new Map<number, Client>();
  readonly #unconfirmedByOwner = new Map<string, Client>();
  readonly #ending = new Map<number, Ending>();
  readonly #endingByOwner = new MultiMap<string, number>();
  readonly #endingByConnection = new MultiMap<Connection, number>();
  readonly past: PastClients;
  #closed = false;

  constructor(fs: Filesystem, state: ClientState, clock: Clock, times: LeaseTimes, boot: Uint8Array, log: Log) {
    this.#fs = fs;
    this.#state = state;
    this.#clock = clock;
    this.#leaseMs = times.leaseMs;
    this.#boot = boot;
    this.#log = log;
    this.#sessions = new Sessions(clock);
    this.#leases = new LeaseEnds(clock, times, {
      isWorthCourtesy: (client) => state.busy(client.id),
      lapsed: (client) => {
        log.info({ client: client.id }, 'lease ended, courtesy begins');
        state.lapsed(client.id);
        // What it could have reclaimed is nobody's now.
        this.past.releaseFormers(client).catch(() => {});
      },
      // It rejects only where the server closes or the filesystem shut down, which everybody hears of.
      expired: (client) => void this.#endAndRelease(client, 'its lease ended').catch(() => {}),
      forgotten: (client) => this.#forget(client),
    });
    this.past = new PastClients(
      fs,
      (client) => state.endFence(client),
      (client) => this.#processGone(client),
      clock,
      boot,
      log,
    );
  }

  living(): Iterable<Client> {
    return this.#confirmed.values();
  }

  find(client: number): Client | undefined {
    return this.#confirmed.get(client);
  }

  /** Its lease is over, and nobody has taken from it what it has. */
  isCourteous(client: number): boolean {
    const known = this.#confirmed.get(client);
    return known !== undefined && this.#leases.isCourteous(known);
  }

  /** Somebody lacks what those whose lease has ended keep by courtesy. */
  endOldestCourtesy(): void {
    this.#leases.expireOldest();
  }

  /** @throws StatusError BADSESSION */
  session(id: Uint8Array): Session {
    return this.#sessions.find(id);
  }

  /**
   * The cases of RFC 8881 §18.35.5. `update`: of a client that is known, which changes what it says of itself.
   * @throws StatusError CLID_INUSE, NOENT, NOT_SAME, PERM, DELAY
   */
  exchangeId(introduction: Introduction, update: boolean): { readonly client: Client; readonly confirmed: boolean } {
    const known = this.#byOwner.get(hex(introduction.owner));
    if (update) return { client: updated(known, introduction), confirmed: true };
    if (known !== undefined && !isSamePrincipal(known, introduction)) this.#requireReplaceable(known);
    else if (known !== undefined && hasVerifier(known, introduction)) return { client: known, confirmed: true };
    const replaced = this.#unconfirmedByOwner.get(hex(introduction.owner));
    if (replaced !== undefined) this.#forget(replaced);
    this.#requireRoom();
    const leaseEndsAt = this.#clock.now() + this.#leaseMs;
    const id = this.#fs.newClientId();
    const reach = new Reach(introduction.process, () => this.#processGone(id));
    const client = new Client(id, introduction, reach, randomInt(2 ** 32), leaseEndsAt);
    this.#unconfirmed.set(client.id, client);
    this.#unconfirmedByOwner.set(hex(introduction.owner), client);
    this.#leases.introduce(client);
    return { client, confirmed: false };
  }

  /**
   * RFC 8881 §18.36. A sequence of its own makes it run once. `principal`: the uid it comes from, if the request names one.
   * @throws StatusError STALE_CLIENTID, SEQ_MISORDERED, CLID_INUSE, DELAY
   */
  async createSession(
    clientId: number,
    sequence: number,
    wanted: WantedSession,
    connection: Connection,
    principal: number | undefined,
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
    if (!this.#confirmed.has(clientId)) {
      // The former incarnation may be on its way to a fence for long: that goes on, and the client asks again.
      const confirmed = this.#confirmOnce(client, connection, principal);
      if (!(await within(confirmed, serverLimits.confirmWaitMs, this.#clock))) {
        throw new StatusError('DELAY', `client ${clientId} waits for the end of its former incarnation`);
      }
      if (sequence !== client.nextCreation) throw new StatusError('DELAY', 'another one came first');
    }
    client.reach.over(connection); // before it is answered, while the client surely lives
    client.nextCreation = (client.nextCreation + 1) >>> 0;
    const session = this.#sessions.create(client, wanted);
    client.creating = session;
    this.renew(client);
    return session;
  }

  /** Callbacks of the session may take the connection. @throws StatusError DEADSESSION */
  bind(session: Session, connection: Connection): void {
    this.#sessions.bind(session, connection);
    session.client.reach.over(connection);
  }

  async destroySession(session: Session): Promise<void> {
    await this.#sessions.destroy(session);
  }

  /** @throws StatusError STALE_CLIENTID, CLIENTID_BUSY */
  async destroyClient(clientId: number): Promise<void> {
    const unconfirmed = this.#unconfirmed.get(clientId);
    if (unconfirmed !== undefined) {
      this.#forget(unconfirmed);
      return;
    }
    const client = this.#confirmed.get(clientId);
    if (client === undefined) throw new StatusError('STALE_CLIENTID', `client ${clientId} is not known`);
    if (client.sessions.size > 0 || client.fenced || this.#state.busy(clientId)) {
      throw new StatusError('CLIENTID_BUSY', `client ${clientId} has sessions, open files or layouts`);
    }
    const connections = this.#remove(client);
    await this.#state.left(clientId);
    await this.past.ended(client, connections);
    await this.past.releaseFormers(client);
  }

  /**
   * The administrator says that the client is dead: what it had is revoked, what it could reach is free.
   * @throws StatusError NOENT, FsError ESHUTDOWN, EIO
   */
  async evict(clientId: number): Promise<void> {
    const client = this.#confirmed.get(clientId);
    const ending =
      client === undefined
        ? this.#ending.get(clientId)?.finished
        : this.#end(client, 'it was evicted', { isDead: true });
    this.#state.declareOver(clientId);
    await ending;
    if (client !== undefined) await this.past.releaseFormers(client);
    if (this.past.all.has(clientId)) await this.past.release(clientId);
    else if (ending === undefined) throw new StatusError('NOENT', `client ${clientId} is not known`);
  }

  /**
   * The administrator takes the layouts of a client that goes on as it was, as Linux' nfsd does when a filesystem is to be
   * let go (unlock_filesystem). It hears of it in its next reply (RFC 8881 §18.46.3, SEQ4_STATUS_ADMIN_STATE_REVOKED).
   * Answers how many layouts are revoked; they are fenced in the background.
   * @throws StatusError NOENT
   */
  revoke(clientId: number): number {
    const client = this.#confirmed.get(clientId);
    if (client === undefined) throw new StatusError('NOENT', `client ${clientId} is not known`);
    const before = client.revoked.size;
    this.#state.revoke(clientId);
    if (before === 0 && client.fenced) client.revocation = 'administrator';
    return client.revoked.size - before;
  }

  /** All incarnations of the owner, also those that are gone and whose blocks are in quarantine. */
  ofOwner(owner: Uint8Array): readonly number[] {
    const name = hex(owner);
    const living = this.#byOwner.get(name);
    const gone = [...this.#endingByOwner.get(name), ...this.past.ofOwner(name)];
    return [...new Set([...(living === undefined ? [] : [living.id]), ...gone])];
  }

  /** What its fence needs to know. */
  facts(id: number): ClientFacts | undefined {
    const ending = this.#ending.get(id);
    const client = this.#confirmed.get(id) ?? ending?.client;
    if (client === undefined) return this.past.facts(id);
    const { leaseEndsAt, reach } = client;
    const { owner, ioMaxMs } = client.introduction;
    const ranges = (): ReturnType<ClientFacts['ranges']> => this.#fs.layouts.held(id);
    const superseded = ending?.successor !== undefined;
    return { client: id, owner, ioMaxMs, leaseEndsAt, superseded, isOver: this.#isOver(ending), reach, ranges };
  }

  /** A fence holds: nothing of the client reaches the device. @throws FsError EIO */
  async cutOff(id: number): Promise<void> {
    await this.#ending.get(id)?.finished;
    if (this.past.all.has(id)) await this.past.cutOff(id);
    else await this.#fs.layouts.releaseQuarantine(id);
  }

  /** A client that was treated with courtesy is active again. One that has ended stays so. */
  renew(client: Client): void {
    if (this.#confirmed.get(client.id) === client) this.#leases.renew(client);
  }

  /** Its record is durable when it settles; before that it gets no layout. */
  record(client: Client): Reply<void> {
    const process = client.reach.record;
    if (client.isRecorded && client.recordedProcess === process) return undefined;
    // Where nothing is ever written no block changes hands, and what a client still reaches does not matter.
    if (client.recorded === undefined && this.#fs.status().readOnly) return undefined;
    if (client.recordedProcess !== process) client.recorded = undefined;
    client.recordedProcess = process;
    client.isRecorded = false;
    client.recorded ??= this.#putRecord(client, process);
    return client.recorded;
  }

  async #putRecord(client: Client, process: string): Promise<void> {
    try {
      await this.#fs.putClient({
        clientId: client.id,
        owner: client.introduction.owner,
        verifier: client.introduction.verifier,
        uid: principalOf(client.introduction),
        since: Math.floor(Date.now() / 1000),
        leaseMs: this.#leaseMs,
        ioMaxMs: client.introduction.ioMaxMs,
        boot: this.#boot,
        process: Buffer.from(process),
      });
      client.isRecorded = client.recordedProcess === process;
    } catch (error) {
      client.recorded = undefined;
      throw error;
    }
  }

  /**
   * RFC 8881 §18.51: the client has reclaimed all that it wants to. Before that it gets no new state.
   * @throws StatusError COMPLETE_ALREADY; FsError ESHUTDOWN, EIO
   */
  async reclaimComplete(client: Client): Promise<void> {
    if (client.reclaimComplete) throw new StatusError('COMPLETE_ALREADY', `client ${client.id} said so before`);
    client.reclaimComplete = true;
    await this.past.releaseFormers(client);
  }

  /** @throws StatusError EXPIRED */
  requireLiving(client: Client): void {
    if (!this.#closed && this.#confirmed.get(client.id) === client) return;
    throw new StatusError('EXPIRED', `the lease of client ${client.id} ended, or it has a new incarnation`);
  }

  unbind(connection: Connection): void {
    const clients = new Set(this.#sessions.unbind(connection).map(({ client }) => client));
    if (connection.pid !== undefined) {
      for (const { id, reach } of clients) if (reach.gone) this.#processGone(id);
    }
    for (const id of this.past.unbind(connection)) this.#processGone(id);
    for (const id of this.#endingByConnection.get(connection)) this.#state.lookAgain(id);
  }

  close(): void {
    this.#closed = true;
    this.past.close();
    this.#leases.close();
    for (const { reach } of this.#confirmed.values()) reach.close();
    for (const { client } of this.#ending.values()) client.reach.close();
  }

  /** @throws StatusError CLID_INUSE: the principal has changed before it was confirmed, or the owner is in use */
  async #confirmOnce(client: Client, connection: Connection, principal: number | undefined): Promise<void> {
    if (principal !== undefined && principal !== principalOf(client.introduction)) {
      throw new StatusError('CLID_INUSE', `client ${client.id} was introduced by another user`);
    }
    const before = client.creating;
    client.creating = 'running';
    try {
      await this.#confirm(client, connection);
    } finally {
      client.creating = before;
    }
  }

  /** Invariants 1 to 3: whatever this owner was before is over now. */
  async #confirm(client: Client, connection: Connection): Promise<void> {
    const owner = hex(client.introduction.owner);
    const former = this.#byOwner.get(owner);
    if (former !== undefined) {
      const isSame = isSamePrincipal(former, client.introduction);
      if (!isSame) this.#requireReplaceable(former);
      await this.#end(former, 'its owner came back as a new incarnation', isSame ? { successor: connection } : {});
    }
    for (const id of this.#endingByOwner.get(owner)) {
      const ending = this.#ending.get(id);
      if (ending === undefined) continue;
      if (isSamePrincipal(ending.client, client.introduction)) ending.successor = connection;
      this.#state.lookAgain(id);
      await ending.finished;
    }
    await this.past.supersede(client, connection);
    if (this.#unconfirmed.get(client.id) !== client) {
      throw new StatusError('STALE_CLIENTID', `client ${client.id} was replaced by a newer incarnation`);
    }
    this.#forget(client);
    this.#confirmed.set(client.id, client);
    this.#byOwner.set(owner, client);
    this.renew(client); // whoever waited for this may be gone
    this.#sessions.replies.clients = this.#confirmed.size;
  }

  /** RFC 8881 §18.35.5, case 3: another user may have the owner only if nothing is lost by it. @throws StatusError CLID_INUSE */
  #requireReplaceable(client: Client): void {
    if (this.#leases.isCourteous(client) || (!client.fenced && !this.#state.busy(client.id))) return;
    throw new StatusError('CLID_INUSE', `the owner is client ${client.id} of another user`);
  }

  /** @throws StatusError DELAY */
  #requireRoom(): void {
    if (this.#confirmed.size + this.#unconfirmed.size < serverLimits.clientsMax) return;
    if (this.#leases.expireOldest()) return;
    throw new StatusError('DELAY', `${serverLimits.clientsMax} clients are known; their leases end in time`);
  }

  /** It is not among the unconfirmed any more. */
  #forget(client: Client): void {
    this.#leases.delete(client);
    this.#unconfirmed.delete(client.id);
    const owner = hex(client.introduction.owner);
    if (this.#unconfirmedByOwner.get(owner) === client) this.#unconfirmedByOwner.delete(owner);
  }

  /** Invariant 2. */
  #end(client: Client, why: string, over: Partial<Pick<Ending, 'successor' | 'isDead'>> = {}): Promise<void> {
    const already = this.#ending.get(client.id);
    if (already !== undefined) return already.finished;
    this.#log.info({ client: client.id, why }, 'client ended');
    const connections = this.#remove(client);
    const owner = hex(client.introduction.owner);
    const { successor, isDead = false } = over;
    const ending: Ending = { owner, client, connections, successor, isDead, finished: Promise.resolve() };
    this.#ending.set(client.id, ending); // who fences it looks here
    this.#endingByOwner.add(owner, client.id);
    for (const connection of connections) this.#endingByConnection.add(connection, client.id);
    ending.finished = this.#state
      .end(client.id)
      .then(() => this.past.ended(client, connections))
      .finally(() => this.#ended(ending));
    return ending.finished;
  }

  #ended({ owner, client, connections }: Ending): void {
    this.#ending.delete(client.id);
    this.#endingByOwner.delete(owner, client.id);
    for (const connection of connections) this.#endingByConnection.delete(connection, client.id);
  }

  /** Somebody has said that it is over: its owner, as far as that is believed (`PastClients`, rule 1), or the administrator. */
  #isOver(ending: Ending | undefined): boolean {
    if (ending?.isDead === true) return true;
    if (ending?.successor === undefined) return false;
    const { client, connections, successor } = ending;
    const quietAt = quietAfter(client.leaseEndsAt, client.introduction.ioMaxMs);
    return isQuiet(connections, quietAt, this.#clock.now()) || connections.includes(successor);
  }

  /** Answers the connections that it had. */
  #remove(client: Client): readonly Connection[] {
    this.#leases.delete(client);
    this.#confirmed.delete(client.id);
    const owner = hex(client.introduction.owner);
    if (this.#byOwner.get(owner) === client) this.#byOwner.delete(owner);
    this.#sessions.replies.clients = this.#confirmed.size;
    return this.#sessions.dropAll(client);
  }

  #processGone(id: number): void {
    if (this.#closed) return;
    const client = this.#confirmed.get(id);
    if (client === undefined) this.#state.lookAgain(id);
    // It rejects only where the server closes or the filesystem shut down, which everybody hears of.
    else if (client.reach.gone) this.#endAndRelease(client, 'its process is gone').catch(() => {});
  }

  /** What it could have reclaimed is nobody's now. */
  async #endAndRelease(client: Client, why: string): Promise<void> {
    await this.#end(client, why);
    await this.past.releaseFormers(client);
  }
}
