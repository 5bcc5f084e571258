/**
 * Who the clients are (RFC 8881 §2.4, §8.3, §8.4): incarnations of owners, their leases, and what is left of those that
 * are gone.
 *
 * 1. A client exists from EXCHANGE_ID and counts from its first CREATE_SESSION. Only then does it replace the former
 *    incarnation of its owner, for only then it is known that it heard us.
 * 2. An incarnation ends when its lease does, when the next one of its owner is confirmed, or when its process, which is one
 *    of this host, is known to be gone (fencing/). Its files are closed, its
 *    layouts revoked and fenced, before anybody is told.
 * 3. What is left of an incarnation that ended, or that a restart of the server cut off, is in the hands of `PastClients`.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Filesystem } from '../fs/engine/filesystem.ts';
import { Client, type Introduction } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { ClientFacts } from './fencing/provider.ts';
import { Reach } from './fencing/reach.ts';
import { serverLimits } from './limits.ts';
import type { Log } from './log.ts';
import { PastClients } from './past-clients.ts';
import { wireLimits } from './protocol/limits.ts';
import { StatusError } from './protocol/status.ts';
import { ReplyBudget } from './reply-budget.ts';
import { Session, type SessionShape } from './session.ts';

/** What ends with a client, in other parts of the server. */
export interface ClientState {
  /** Closes its files, revokes and fences its layouts. Settles when the fence holds. @throws FsError ESHUTDOWN */
  end(client: number): Promise<void>;
  /** It needs no fence any more; settles when none of it is under way. @throws FsError ESHUTDOWN, EIO */
  endFence(client: number): Promise<void>;
  /** Its process is gone: its fence may hold by now. */
  processGone(client: number): void;
  /** It has layouts, open files or a fence under way. */
  busy(client: number): boolean;
}

interface Ending {
  readonly owner: string;
  readonly client: Client;
  /** The next one of its owner is coming. */
  superseded: boolean;
  finished: Promise<void>;
}

export class Clients {
  readonly #fs: Filesystem;
  readonly #state: ClientState;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #boot: Uint8Array;
  readonly #log: Log;
  readonly #confirmed = new Map<number, Client>();
  readonly #byOwner = new Map<string, Client>();
  readonly #unconfirmed = new Map<number, Client>();
  readonly #sessions = new Map<string, Session>();
  readonly #replies = new ReplyBudget();
  readonly #ending = new Map<number, Ending>();
  readonly past: PastClients;
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  constructor(fs: Filesystem, state: ClientState, clock: Clock, leaseMs: number, boot: Uint8Array, log: Log) {
    this.#fs = fs;
    this.#state = state;
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#boot = boot;
    this.#log = log;
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
    const id = this.#fs.newClientId();
    const reach = new Reach(introduction.process, () => this.#processGone(id));
    const client = new Client(id, introduction, reach, randomInt(2 ** 32), leaseEndsAt);
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
    client.reach.over(connection); // before it is answered, while the client surely lives
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
    await this.past.ended(client, this.#remove(client));
    await this.past.releaseFormers(client);
  }

  /**
   * The administrator says that the client is dead: what it had is revoked, what it could reach is free.
   * @throws StatusError NOENT, FsError ESHUTDOWN, EIO
   */
  async evict(clientId: number): Promise<void> {
    const client = this.#confirmed.get(clientId);
    const ending = client === undefined ? this.#ending.get(clientId)?.finished : this.#end(client, 'it was evicted');
    await ending;
    if (client !== undefined) await this.past.releaseFormers(client);
    if (this.past.all.has(clientId)) await this.past.release(clientId);
    else if (ending === undefined) throw new StatusError('NOENT', `client ${clientId} is not known`);
  }

  /** All incarnations of the owner, also those that are gone and whose blocks are in quarantine. */
  ofOwner(owner: Uint8Array): readonly number[] {
    const name = hex(owner);
    const living = this.#byOwner.get(name);
    const gone = [...this.#ending, ...this.past.all].filter(([, each]) => each.owner === name).map(([id]) => id);
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
    return { client: id, owner, ioMaxMs, leaseEndsAt, superseded: ending?.superseded === true, reach, ranges };
  }

  /** A fence holds: nothing of the client reaches the device. @throws FsError EIO */
  async cutOff(id: number): Promise<void> {
    await this.#ending.get(id)?.finished;
    if (this.past.all.has(id)) await this.past.cutOff(id);
    else await this.#fs.layouts.releaseQuarantine(id);
  }

  renew(client: Client): void {
    client.leaseEndsAt = this.#clock.now() + this.#leaseMs;
    this.#arm();
  }

  /** Its record is durable when it settles; before that it gets no layout. */
  async record(client: Client): Promise<void> {
    // Where nothing is ever written no block changes hands, and what a client still reaches does not matter.
    if (client.recorded === undefined && this.#fs.status().readOnly) return;
    const process = client.reach.record;
    if (client.recordedProcess !== process) client.recorded = undefined;
    client.recordedProcess = process;
    client.recorded ??= this.#fs
      .putClient({
        clientId: client.id,
        owner: client.introduction.owner,
        verifier: client.introduction.verifier,
        uid: client.introduction.credentials[0],
        since: Math.floor(Date.now() / 1000),
        leaseMs: this.#leaseMs,
        ioMaxMs: client.introduction.ioMaxMs,
        boot: this.#boot,
        process: Buffer.from(process),
      })
      .catch((error: unknown) => {
        client.recorded = undefined;
        throw error;
      });
    await client.recorded;
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
    for (const session of this.#sessions.values()) session.unbind(connection);
    if (connection.pid !== undefined) {
      for (const [id, { reach }] of this.#confirmed) if (reach.gone) this.#processGone(id);
      for (const id of this.past.gone()) this.#processGone(id);
    }
    this.past.releaseQuiet();
  }

  close(): void {
    this.#closed = true;
    this.past.close();
    this.#cancelTimer?.();
    for (const { reach } of this.#confirmed.values()) reach.close();
    for (const { client } of this.#ending.values()) client.reach.close();
  }

  /** Invariants 1 to 3: whatever this owner was before is over now. */
  async #confirm(client: Client, connection: Connection): Promise<void> {
    const owner = hex(client.introduction.owner);
    const former = this.#byOwner.get(owner);
    if (former !== undefined) await this.#end(former, 'its owner came back as a new incarnation', true);
    for (const ending of this.#ending.values()) {
      if (ending.owner !== owner) continue;
      ending.superseded = true;
      await ending.finished;
    }
    await this.past.supersede(client, connection);
    this.#arm();
    if (this.#unconfirmed.get(client.id) !== client) {
      throw new StatusError('STALE_CLIENTID', `client ${client.id} was replaced by a newer incarnation`);
    }
    this.#unconfirmed.delete(client.id);
    this.#confirmed.set(client.id, client);
    this.#byOwner.set(owner, client);
  }

  /** Invariant 2. */
  #end(client: Client, why: string, superseded = false): Promise<void> {
    const already = this.#ending.get(client.id);
    if (already !== undefined) return already.finished;
    this.#log.info({ client: client.id, why }, 'client ended');
    const connections = this.#remove(client);
    const owner = hex(client.introduction.owner);
    const ending: Ending = { owner, client, superseded, finished: Promise.resolve() };
    this.#ending.set(client.id, ending); // who fences it looks here
    ending.finished = this.#state
      .end(client.id)
      .then(() => this.past.ended(client, connections))
      .finally(() => this.#ending.delete(client.id));
    return ending.finished;
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

  #processGone(id: number): void {
    if (this.#closed) return;
    const client = this.#confirmed.get(id);
    if (client === undefined) this.#state.processGone(id);
    // It rejects only where the server closes or the filesystem shut down, which everybody hears of.
    else if (client.reach.gone) this.#endAndRelease(client, 'its process is gone').catch(() => {});
  }

  #arm(): void {
    if (this.#closed || this.#cancelTimer !== undefined) return;
    const ends = [...this.#confirmed.values(), ...this.#unconfirmed.values()].map((client) => client.leaseEndsAt);
    const first = ends.reduce((a, b) => Math.min(a, b), this.past.nextQuietAt());
    if (first === Infinity) return;
    this.#cancelTimer = this.#clock.after(first - this.#clock.now(), () => {
      this.#cancelTimer = undefined;
      this.#expire();
      this.past.releaseQuiet();
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
      if (client.leaseEndsAt <= now) this.#endAndRelease(client, 'its lease ended').catch(() => {});
    }
  }

  /** What it could have reclaimed is nobody's now. */
  async #endAndRelease(client: Client, why: string): Promise<void> {
    await this.#end(client, why);
    await this.past.releaseFormers(client);
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
