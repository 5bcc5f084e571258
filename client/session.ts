import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Address,
  type Credentials,
  exchangeFlag,
  formatAddress,
  type Operation,
  operations,
  type ReplyOf,
} from '../mds/protocol/index.ts';
import { abortable, onAbort } from './abort.ts';
import { Call, type CallOptions } from './call.ts';
import { type CallbackEvents, Callbacks } from './callbacks.ts';
import { leaseNow } from './clock.ts';
import { Connection } from './connection.ts';
import { dial } from './dial.ts';
import { attempts, ClientError } from './errors.ts';
import { Lease } from './lease.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { clientLimits } from './limits.ts';
import type { SendReclaim } from './reclaim.ts';
import { isSessionGone, Requests } from './requests.ts';
import { Silence } from './silence.ts';

export interface SessionOptions {
  readonly addresses: readonly Address[];
  /** co_ownerid: the same for every incarnation of this client (RFC 8881 §2.4). */
  readonly owner: Uint8Array;
  readonly implementation: string;
  readonly credentials: Credentials;
  /** The longest single direct I/O, in milliseconds (RFC 5663 §2.4, layout hint). */
  readonly maxIoMs: number;
  /** All accesses to the device are those of this process and end with it (docs/protocol.md §4); null: others' too. */
  readonly process: string | null;
  /** PCI function that reads and writes for this client; null: loads and stores of a processor. */
  readonly pci: string | null;
  /** Of calls that name none. */
  readonly callTimeoutMs: number;
  /** When the server has not been heard of for a lease everything that waits fails with TIMEOUT, until it is heard again. */
  readonly failsWhenSilent?: boolean;
}

export interface SessionEvents extends CallbackEvents {
  /** sr_status_flags of a reply, not 0 (RFC 8881 §18.46.3). */
  flagged(flags: number): void;
  /** All state of this incarnation is gone on the server: opens, layouts, devices. */
  lost(why: ClientError): void;
  /** A new incarnation begins: what the former one wrote and did not commit, by `send`, before anything else. */
  reclaim(send: SendReclaim): Promise<void>;
  /** Whether the function of `pci` may reach the device, and how. */
  placed(place: ReplyOf<typeof operations.CLIENT_DEVICE>): void;
  /** The lease cannot be proven any more; it may still be renewed. */
  leaseEnded(): void;
  /** The library's own accesses of the former incarnation, until they are over; undefined: none is under way (S2). */
  settling(): Promise<void> | undefined;
  /** The connection broke; the session may live on. Once for each `connected`. */
  disconnected(): void;
  /** The session has a connection, and requests leave. */
  connected(): void;
  /** Nothing outside of this library can still touch what was granted (S2). */
  quiet(): boolean;
}

/** What the server said of itself. */
export interface ServerIdentity {
  readonly uuid: Uint8Array;
  readonly rootIno: number;
  /** Bytes in one READ or WRITE. */
  readonly dataMax: number;
}

type State =
  /** No connection; the session may live on at the server. */
  | { readonly kind: 'down' }
  /** Connected, the session is being made or bound. */
  | { readonly kind: 'binding'; readonly connection: Connection }
  | { readonly kind: 'up'; readonly connection: Connection }
  /** State was lost while the program may still drive engines. */
  | { readonly kind: 'barred'; readonly why: ClientError }
  | { readonly kind: 'closed'; readonly why: ClientError };

/**
 * The client's side of a session (RFC 8881 §2.10), over one connection at a time.
 *
 * S1 A request keeps slot and sequence number over reconnects, so that the reply cache makes it happen exactly once.
 * S2 A new incarnation has a new verifier, by which it says that nothing reaches what the old one was granted; so it
 *    begins only when that is true.
 * S3 The lease counts from the first sending of the last request that was answered.
 * S4 A new incarnation first reclaims what the former one wrote, then says RECLAIM_COMPLETE, then does what waits.
 * S5 No call waits longer than its timeout, connected or not.
 */
export class Session {
  readonly lease = new Lease();
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #keeper: LeaseKeeper;
  readonly #requests: Requests;
  readonly #silence: Silence;
  readonly #ending = new AbortController();
  #state: State = { kind: 'down' };
  #incarnation = 1;
  #verifier = randomBytes(8);
  #clientId = 0;
  #sessionId: Uint8Array | undefined;
  #callbacks: Callbacks | undefined;
  #server: ServerIdentity | undefined;
  /** What was to be reclaimed has been, and RECLAIM_COMPLETE is said: in this session. */
  #isPrepared = false;
  #preparing: Promise<void> | undefined;
  #nextAddress = 0;
  #unbar: () => void = () => {};

  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
    this.#keeper = new LeaseKeeper(this.lease, {
      renew: () => this.call(operations.SEQUENCE, [], { urgent: true, probes: true, timeoutMs: this.lease.leaseMs }),
      ended: () => events.leaseEnded(),
    });
    this.#silence = new Silence(() => this.#requests.failWaiting(this.#silent()));
    this.#requests = new Requests({
      renewed: (sentAt, flags) => {
        this.lease.renewed(sentAt);
        this.#silence.heard();
        if (flags !== 0) events.flagged(flags);
      },
      gone: (why) => this.#gone(why),
    });
  }

  /** Connects for the first time: each address once. @throws ClientError UNREACHABLE, TIMEOUT…; the signal's reason */
  async open(signal: AbortSignal | undefined): Promise<void> {
    const forget = onAbort(signal, () => this.#ending.abort(signal?.reason));
    try {
      signal?.throwIfAborted();
      const connection = await this.#connectAny();
      void this.#stayConnected(connection);
    } catch (error) {
      this.#end(new ClientError('CLOSED', 'the connection was never made'));
      throw error;
    } finally {
      forget();
    }
  }

  /** Changes with every loss of state: stateids and devices of an earlier one mean nothing. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** @throws ClientError CLOSED before `open` */
  get server(): ServerIdentity {
    if (this.#server === undefined) throw new ClientError('CLOSED', 'there is no session');
    return this.#server;
  }

  get state(): State['kind'] {
    return this.#state.kind;
  }

  /**
   * One operation, over reconnects, and again while the server puts it off, until its timeout.
   * `late` gets the results of a request whose caller had stopped waiting.
   * @throws ClientError with the status of the reply, TIMEOUT, STATE_LOST, ENGINES_UNKNOWN, OVERLOAD, CLOSED
   */
  call<A extends unknown[], R>(
    operation: Operation<A, R>,
    args: A,
    options: CallOptions = {},
    late?: (results: R) => void,
  ): Promise<R> {
    const refusal =
      this.#refusal() ?? (this.#silence.isTooLong && options.probes !== true ? this.#silent() : undefined);
    if (refusal !== undefined) return Promise.reject(refusal);
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs;
    const call = new Call(operation, args, { ...options, timeoutMs }, late);
    this.#requests.submit(call);
    return call.result;
  }

  /** An operation outside of the session. @throws as `call` */
  async callOutside<A extends unknown[], R>(
    operation: Operation<A, R>,
    args: A,
    { signal, timeoutMs = this.#options.callTimeoutMs }: CallOptions = {},
  ): Promise<R> {
    if (this.#state.kind !== 'up') await this.call(operations.SEQUENCE, [], { signal, timeoutMs });
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    if (this.#state.kind !== 'up') throw new ClientError('UNREACHABLE', `${operation.name}: there is no connection`);
    return await abortable(this.#state.connection.call(operation, args, timeoutMs), signal);
  }

  /** `SessionEvents.quiet` may have become true. */
  reconsider(): void {
    if (this.#state.kind !== 'barred' || !this.#events.quiet()) return;
    this.#state = { kind: 'down' };
    this.#unbar();
  }

  /** Ends session and client id at the server if it can be reached at once, then fails what still waits. */
  async close(): Promise<void> {
    if (this.#state.kind === 'up' && this.#sessionId !== undefined) {
      const { connection } = this.#state;
      try {
        await connection.call(operations.DESTROY_SESSION, [this.#sessionId], clientLimits.closeTimeoutMs);
        await connection.call(operations.DESTROY_CLIENTID, [this.#clientId], clientLimits.closeTimeoutMs);
      } catch (error) {
        // The server finds out by the end of the lease.
        if (!(error instanceof ClientError)) throw error;
      }
    }
    this.#end(new ClientError('CLOSED', 'the client was closed'));
  }

  #silent(): ClientError {
    return new ClientError('TIMEOUT', `the server has not been heard of for ${this.lease.leaseMs} ms`);
  }

  #refusal(): ClientError | undefined {
    if (this.#state.kind === 'closed') return this.#state.why;
    if (this.#state.kind !== 'barred') return undefined;
    const cause = this.#state.why;
    return new ClientError('ENGINES_UNKNOWN', `${cause.detail}; return the layouts once no engine uses them`, {
      cause,
    });
  }

  async #stayConnected(first: Connection): Promise<void> {
    let connection: Connection | undefined = first;
    let waitMs: number = clientLimits.reconnectFirstMs;
    while (!this.#ending.signal.aborted) {
      try {
        if (connection !== undefined) {
          await connection.closed;
          waitMs = clientLimits.reconnectFirstMs;
          this.#disconnected();
        }
        connection = undefined;
        await this.#untilQuiet();
        connection = await this.#connectAny();
      } catch (error) {
        if (error instanceof ClientError && error.status === 'OTHER_FILESYSTEM') this.#end(error);
        await pause(waitMs, undefined, { signal: this.#ending.signal }).catch(() => {});
        waitMs = Math.min(waitMs * 2, clientLimits.reconnectMaxMs);
      }
    }
  }

  /** Each address once, beginning with the one after the last that failed. */
  async #connectAny(): Promise<Connection> {
    const { addresses } = this.#options;
    if (addresses.length === 0) throw new ClientError('ARGUMENT', 'no address was given');
    let failure: unknown;
    for (let tries = 0; tries < addresses.length; tries++) {
      const address = addresses[this.#nextAddress % addresses.length];
      if (address === undefined) break;
      try {
        return await this.#connect(address);
      } catch (error) {
        this.#ending.signal.throwIfAborted();
        failure = attempts(failure, error);
        this.#nextAddress += 1;
      }
    }
    throw failure;
  }

  async #connect(address: Address): Promise<Connection> {
    const socket = await dial(address, clientLimits.dialTimeoutMs, this.#ending.signal);
    const connection = new Connection(socket, formatAddress(address), {
      reply: (frame) => this.#requests.reply(frame),
      callback: (frame) => (this.#sessionId === undefined ? undefined : this.#callbacks?.answer(frame)) ?? 'BADSESSION',
    });
    const forget = onAbort(this.#ending.signal, () => connection.destroy());
    void connection.closed.then(forget);
    try {
      this.#ending.signal.throwIfAborted();
      this.#state = { kind: 'binding', connection };
      if (!(await this.#bind(connection))) await this.#create(connection);
      await this.#prepare(connection);
      this.#ending.signal.throwIfAborted();
      const refusal = this.#refusal();
      if (refusal !== undefined) throw refusal;
    } catch (error) {
      connection.destroy();
      this.#disconnected();
      throw error;
    }
    this.#state = { kind: 'up', connection };
    this.#requests.resume(connection);
    this.#events.connected();
    this.#keeper.watch(true);
    return connection;
  }

  /** false: there is no session, or the server does not know it any more. */
  async #bind(connection: Connection): Promise<boolean> {
    if (this.#sessionId === undefined) return false;
    try {
      await connection.call(operations.BIND_CONN_TO_SESSION, [this.#sessionId], clientLimits.dialTimeoutMs);
      if (!this.#isPrepared) this.#requests.rejoin(connection);
      return true;
    } catch (error) {
      if (!(error instanceof ClientError) || !isSessionGone(error.status)) throw error;
      this.#lose(error);
      const refusal = this.#refusal();
      if (refusal !== undefined) throw refusal;
      return false;
    }
  }

  async #create(connection: Connection): Promise<void> {
    const settling = this.#events.settling();
    if (settling !== undefined) await settling;
    const { owner, implementation, maxIoMs, credentials, process } = this.#options;
    const [clientId, sequence, , uuid, , leaseMs, rootIno] = await connection.call(
      operations.EXCHANGE_ID,
      [owner, this.#verifier, exchangeFlag.USE_PNFS_MDS, implementation, maxIoMs, credentials, process],
      clientLimits.dialTimeoutMs,
    );
    if (this.#server !== undefined && Buffer.compare(this.#server.uuid, uuid) !== 0) {
      throw new ClientError('OTHER_FILESYSTEM', `${connection.address} serves another filesystem than before`);
    }
    const [[sessionId, slots, callbackSlots, , dataMax], sentAt] = await this.#createSession(
      connection,
      clientId,
      sequence,
    );
    this.#callbacks = new Callbacks(sessionId, callbackSlots, this.#requests, this.#events);
    this.#clientId = clientId;
    this.#sessionId = sessionId;
    this.#server = { uuid, rootIno, dataMax };
    this.lease.begin(leaseMs, sentAt);
    if (this.#options.failsWhenSilent === true) this.#silence.begin(leaseMs);
    this.#requests.begin(sessionId, slots, connection);
  }

  /** DELAY: the former incarnation of this owner is being fenced. The second answer is when it was sent. */
  async #createSession(
    connection: Connection,
    clientId: number,
    sequence: number,
  ): Promise<readonly [ReplyOf<typeof operations.CREATE_SESSION>, number]> {
    const giveUpAt = leaseNow() + this.#options.callTimeoutMs;
    for (let pauseMs: number = clientLimits.delayFirstMs; ; pauseMs = Math.min(2 * pauseMs, clientLimits.delayMaxMs)) {
      const sentAt = leaseNow();
      try {
        const { slotsWanted, callbackSlots, dialTimeoutMs } = clientLimits;
        const created = await connection.call(
          operations.CREATE_SESSION,
          [clientId, sequence, slotsWanted, callbackSlots],
          dialTimeoutMs,
        );
        return [created, sentAt];
      } catch (error) {
        if (!(error instanceof ClientError) || error.status !== 'DELAY' || leaseNow() > giveUpAt) throw error;
        await pause(pauseMs, undefined, { signal: this.#ending.signal });
      }
    }
  }

  /** A session whose connection breaks meanwhile goes on with it over the next one. @throws ClientError UNREACHABLE, TIMEOUT, STATE_LOST */
  async #prepare(connection: Connection): Promise<void> {
    if (this.#isPrepared) return;
    const { incarnation } = this;
    this.#preparing ??= this.#reclaim().finally(() => {
      if (incarnation === this.#incarnation) this.#preparing = undefined;
    });
    const broken = connection.closed.then(() => {
      throw new ClientError('UNREACHABLE', `${connection.address}: the connection ended`);
    });
    await Promise.race([this.#preparing, broken]);
    this.#isPrepared = true;
  }

  /** Nothing else is allowed before that is said (RFC 8881 §18.51). */
  async #reclaim(): Promise<void> {
    await this.#events.reclaim(async (args) => (await this.#first(operations.LAYOUTCOMMIT, args))[0]);
    try {
      await this.#first(operations.RECLAIM_COMPLETE, []);
    } catch (error) {
      if (!(error instanceof ClientError && error.status === 'COMPLETE_ALREADY')) throw error;
    }
    const { pci } = this.#options;
    if (pci !== null) this.#events.placed(await this.#first(operations.CLIENT_DEVICE, [pci]));
  }

  #first<A extends unknown[], R>(operation: Operation<A, R>, args: A): Promise<R> {
    const options = { timeoutMs: this.#options.callTimeoutMs, patient: false, stateful: true };
    const call = new Call(operation, args, options);
    this.#requests.sendFirst(call);
    return call.result;
  }

  #disconnected(): void {
    this.#requests.suspend();
    if (this.#state.kind !== 'up' && this.#state.kind !== 'binding') return;
    if (this.#state.kind === 'up') this.#events.disconnected();
    this.#state = { kind: 'down' };
    if (this.#sessionId !== undefined) this.#keeper.watch(false);
  }

  /** S2. */
  async #untilQuiet(): Promise<void> {
    if (this.#state.kind !== 'barred') return;
    await new Promise<void>((resolve) => {
      this.#unbar = resolve;
      this.#ending.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** A reply said that the session is gone; the connection goes with it, and the next one makes another. */
  #gone(why: ClientError): void {
    const connection = this.#connection;
    this.#lose(why);
    connection?.destroy();
  }

  #lose(why: ClientError): void {
    if (this.#sessionId === undefined) return;
    this.#silence.heard();
    this.#incarnation += 1;
    this.#verifier = randomBytes(8);
    this.#sessionId = undefined;
    this.#isPrepared = false;
    this.#preparing = undefined;
    this.#keeper.stop();
    this.lease.end();
    const lost = new ClientError('STATE_LOST', why.detail, { cause: why });
    this.#events.lost(lost);
    this.#requests.abandonSession(why);
    if (this.#events.quiet()) return;
    this.#state = { kind: 'barred', why: lost };
    const refusal = this.#refusal();
    if (refusal !== undefined) this.#requests.failAll(refusal);
  }

  #end(why: ClientError): void {
    if (this.#state.kind === 'closed') return;
    const connection = this.#connection;
    this.#state = { kind: 'closed', why };
    this.#sessionId = undefined;
    this.#keeper.stop();
    this.#silence.stop();
    this.lease.end();
    this.#ending.abort(why);
    connection?.destroy();
    this.#requests.failAll(why);
  }

  get #connection(): Connection | undefined {
    return this.#state.kind === 'up' || this.#state.kind === 'binding' ? this.#state.connection : undefined;
  }
}
