/**
 * The metadata server: one filesystem, any number of listening sockets. Files, names and layouts of its clients pass
 * through here; their data need not.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Filesystem } from '../fs/engine/filesystem.ts';
import { assert } from '../fs/errors.ts';
import type { ProviderName } from '../fs/fabric/providers.ts';
import { buffersIno } from '../fs/format/session-buffers.ts';
import type { Reply } from '../fs/vfs.ts';
import { Layouts } from '../layout/layouts.ts';
import { bootId } from './boot.ts';
import { SessionBuffers } from './buffers.ts';
import { sendBuffersRecall, sendHint, sendRecall } from './callbacks.ts';
import { Challenges } from './challenges.ts';
import { Clients } from './clients.ts';
import { type Clock, systemClock } from './clock.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import type { Context } from './context.ts';
import { newCounters } from './counters.ts';
import { tellOfVoidDevices, voidDevices } from './devices.ts';
import { answerRequest } from './dispatch.ts';
import { Drain } from './drain.ts';
import { Fences } from './fencing/fences.ts';
import { HookProvider } from './fencing/hook.ts';
import { type KeyOwner, KeyProvider } from './fencing/key.ts';
import { ProcessProvider } from './fencing/process.ts';
import type { FencingProvider } from './fencing/provider.ts';
import { TimedProvider } from './fencing/timed.ts';
import { Generosity } from './generosity.ts';
import { HalfFrames } from './half-frames.ts';
import { LayoutLeases } from './leases.ts';
import { serverLimits } from './limits.ts';
import { type Log, silent } from './log.ts';
import { Opens } from './opens.ts';
import { parseAddress } from './protocol/address.ts';
import type { ReplyFrame, RequestFrame } from './protocol/frame.ts';
import type { ServerStatus } from './protocol/server-status.ts';
import { ReturnOnClose } from './return-on-close.ts';
import { keysOfNothing } from './rma/closing.ts';
import { RmaKeys } from './rma/keys.ts';
import { TargetProcess } from './rma/target-process.ts';
import { serverStatus } from './server-status.ts';
import { otherSource } from './stateids.ts';
import { Topology, type TopologyOptions } from './topology.ts';
import { type Listener, listen } from './transport.ts';
import { within } from './within.ts';

export interface MetadataServerOptions {
  /** Lease of a client, and the grace period after a restart, unless the lease was longer before it. */
  readonly leaseMs?: number;
  /** From a recall to the fence of a client that does not return; a lease by default and, but for tests, no less. */
  readonly recallDeadlineMs?: number;
  /** How long a client whose lease has ended keeps what nobody needs; 0: not at all. */
  readonly courtesyMs?: number;
  /** How long LAYOUTGET waits for layouts of others. */
  readonly layoutWaitMs?: number;
  /** Bytes of all session buffers together; 0: there are none. An eighth of the device by default. */
  readonly buffersMax?: number | undefined;
  readonly fencing?: FencingOptions;
  readonly topology?: TopologyOptions;
  /** Providers of one-sided access (docs/rma.md); by default there is none. */
  readonly rma?: readonly ProviderName[] | undefined;
  /** Which start of the machine this is: what clients wrote and had not committed is only reclaimed in the same one. */
  readonly boot?: Uint8Array;
  /** Segments of all clients from which on those that hold most are asked to keep fewer; for tests. */
  readonly segmentsHighMark?: number;
  /** Open files of all clients; for tests. */
  readonly opensMax?: number;
  /** Bytes of requests that are not complete, of all connections; for tests. */
  readonly halfFramesMax?: number;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** What keeps clients that lost their layouts from the device (docs/fencing.md); without any of it, the end of a local process. */
export interface FencingOptions {
  readonly keyOwners?: readonly KeyOwner[] | undefined;
  /** Path of a program of the operator. */
  readonly hook?: string | undefined;
  /** Clients are believed to stop in time. */
  readonly timed?: boolean | undefined;
}

export class MetadataServer {
  readonly #context: Context;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners: Listener[] = [];
  readonly #connections = new Set<Connection>();
  readonly #halfFrames: HalfFrames;
  readonly #inProgress = new Set<Promise<ReplyFrame>>();
  readonly #startedAt: number;
  readonly #graceEndsAt: number;
  readonly #recallDeadlineMs: number;
  #cancelGrace: () => void = () => {};
  #closing: Promise<void> | undefined;

  /** From here on the operations of `fs` wait for the layouts that are in their way. */
  constructor(fs: Filesystem, options: MetadataServerOptions = {}) {
    const leaseMs = options.leaseMs ?? serverLimits.leaseMs;
    assert(leaseMs >= serverLimits.leaseMinMs && leaseMs <= serverLimits.leaseMaxMs, `a lease of ${leaseMs} ms`);
    const clock = options.clock ?? systemClock;
    const log = options.log ?? silent;
    const counters = newCounters();
    this.#recallDeadlineMs = options.recallDeadlineMs ?? leaseMs;
    const newOther = otherSource();
    const table = new Layouts({
      recallDeadlineMs: this.#recallDeadlineMs,
      newOther,
      segmentsPerClientMax: serverLimits.segmentsPerClientMax,
      segmentsHighMark: options.segmentsHighMark ?? serverLimits.segmentsHighMark,
      segmentsMax: serverLimits.segmentsMax,
    });
    const opens = new Opens(fs.vfs, newOther, options.opensMax);
    this.#halfFrames = new HalfFrames(options.halfFramesMax);
    const rma =
      options.rma === undefined || options.rma.length === 0 ? undefined : rmaKeys(options.rma, fs, clock, log);
    const { keyOwners = [], ...otherFencing } = options.fencing ?? {};
    const fencing = { ...otherFencing, keyOwners: rma === undefined ? keyOwners : [...keyOwners, rma] };
    const fences: Fences = new Fences(fs, fencingProviders(fencing, fs, clock, log), clock, log, {
      facts: (client) => clients.facts(client),
      cutOff: (client) => clients.cutOff(client),
    });
    const leases: LayoutLeases = new LayoutLeases(
      table,
      fs,
      {
        recall: async (action) => {
          const client = clients.find(action.client);
          if (action.type === 'recall' && action.ino === buffersIno)
            return sendBuffersRecall(client, action, buffers.within(action.client, action.offset, action.length));
          const reply = await sendRecall(client, action);
          await keysOfNothing(rma, action, reply);
          return reply;
        },
        hint: (action) => sendHint(clients.find(action.client), action),
        devicesVoid: (id) => {
          const client = clients.find(id);
          if (client === undefined) return;
          voidDevices(client, fs.generation);
          tellOfVoidDevices(client, table.heldBy(id));
        },
        revoked: (id) => {
          const client = clients.find(id);
          if (client === undefined) return;
          for (const { stateid } of table.heldBy(id)) client.revoked.add(stateid.other);
          voidDevices(client, fs.generation);
          const expired = opens.countOf(id) > 0 ? 'expired' : 'all-expired';
          client.revocation = clients.isCourteous(id) ? expired : 'recalled';
        },
        isCourteous: (client) => clients.isCourteous(client),
      },
      withoutKeys(fences, rma),
      this.#recallDeadlineMs,
      clock,
      counters,
      log,
    );
    const buffers = new SessionBuffers(fs, leases, options.buffersMax);
    const clients: Clients = new Clients(
      fs,
      {
        async end(client) {
          await Promise.all([opens.closeAll(client), leases.clientLost(client)]);
          table.forgetClient(client);
          await rma?.release(client);
        },
        left: async (client) => rma?.release(client),
        async endFence(client) {
          fences.lookAgain(client); // its owner may speak for it
          await leases.fenceOf(client);
          await fences.end(client);
        },
        lookAgain: (client) => fences.lookAgain(client),
        declareOver: (client) => fences.declareOver(client),
        revoke: (client) => leases.revoke(client),
        lapsed: (client) => {
          // Memory is nobody's by courtesy.
          if (table.isRecalled(client) || buffers.holdsAny(client)) leases.revoke(client);
        },
        busy: (client) => opens.countOf(client) > 0 || table.holdsAny(client) || leases.isFencing(client),
      },
      clock,
      { leaseMs, courtesyMs: options.courtesyMs ?? serverLimits.courtesyMs },
      options.boot ?? bootId(),
      log,
    );
    this.#clock = clock;
    this.#log = log;
    this.#startedAt = clock.now();
    this.#context = {
      fs,
      clients,
      opens,
      leases,
      buffers,
      drain: new Drain(leases, clock),
      challenges: new Challenges(fs.device),
      returnOnClose: new ReturnOnClose(opens, leases, (ino) => fs.isPinned(ino)),
      fences,
      rma,
      generosity: new Generosity({ fs, leases, opens }),
      topology: new Topology(fs.device.path, options.topology),
      counters,
      leaseMs,
      layoutWaitMs: options.layoutWaitMs ?? serverLimits.layoutWaitMs,
      writeVerifier: randomBytes(8),
      after: (ms, task) => clock.after(ms, task),
      status: () => this.status(),
    };
    const graceMs = clients.past.returning.size > 0 ? Math.max(leaseMs, clients.past.formerLeaseMs) : 0;
    this.#graceEndsAt = this.#startedAt + graceMs;
    if (graceMs > 0) this.#beginGrace(graceMs);
    fs.setLeases(leases);
    // Fences that the former run had begun.
    for (const id of clients.past.all.keys()) if (!clients.past.returning.has(id)) fences.cutOff(id);
    // Nobody comes back for what a process had that is gone, and nobody reaches it.
    for (const id of clients.past.gone()) if (clients.past.returning.has(id)) clients.past.letGo(id);
  }

  /**
   * Listens on `unix:PATH` or `tcp://HOST:PORT` and answers the address, with the real port.
   * @throws FsError EINVAL, EADDRINUSE, EADDRNOTAVAIL, EACCES
   */
  async listen(address: string): Promise<string> {
    const listener = await listen(parseAddress(address), (socket) => this.#accept(socket));
    this.#listeners.push(listener);
    return listener.address;
  }

  status(): ServerStatus {
    const { clients } = this.#context;
    const now = this.#clock.now();
    return serverStatus(this.#context, {
      now,
      startedAt: this.#startedAt,
      // It is over when the fences at its end hold.
      graceEndsAt: clients.past.returning.size > 0 ? Math.max(this.#graceEndsAt, now + 1) : this.#startedAt,
      addresses: this.#listeners.map((listener) => listener.address),
    });
  }

  /**
   * Before an orderly `close`: takes back all layouts, while everything else goes on. Settles when none is out, or when
   * whoever did not return in time is fenced; with false if that does not succeed either, or was cut short by `signal`: then what
   * is out stays on record, and the next run of the server waits for it.
   */
  async drain(signal?: AbortSignal): Promise<boolean> {
    const { drain } = this.#context;
    const stop = (): void => drain.stop();
    signal?.addEventListener('abort', stop);
    if (signal?.aborted === true) stop();
    try {
      const isEmpty = await drain.run(this.#recallDeadlineMs + serverLimits.drainFenceMs);
      if (isEmpty) await this.#answered();
      return isEmpty;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /**
   * Ends all connections and waits for what they began. What clients hold stays protected: operations that would need it
   * back fail from now on. The filesystem is the caller's to close, afterwards.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Who returned last gets the answer. */
  async #answered(): Promise<void> {
    const answers = Promise.all(this.#inProgress).then(() => undefined);
    await within(answers, serverLimits.callbackReplyMs, this.#clock);
    // Answers leave with the end of the turn in which they are written.
    for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  }

  async #close(): Promise<void> {
    const { clients, fences, leases, opens } = this.#context;
    const keysGone = this.#context.rma?.shutDown();
    const closed = this.#listeners.map((listener) => listener.close());
    for (const connection of this.#connections) connection.close();
    this.#cancelGrace();
    clients.close();
    leases.close();
    await fences.close();
    await Promise.all(closed);
    await keysGone;
    await Promise.all(this.#inProgress);
    leases.settleAll();
    await opens.closeEverything();
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= serverLimits.connectionsMax || this.#closing !== undefined) {
      this.#log.warn({ connections: this.#connections.size }, 'connection refused');
      socket.destroy();
      return;
    }
    const events: ConnectionEvents = {
      request: (connection, frame) => this.#answer(connection, frame),
      fault: (_, error) => {
        this.#context.counters.protocolErrors++;
        this.#log.warn({ peer: socket.remoteAddress ?? 'local', error: error.message }, 'connection closed');
      },
      closed: (connection) => {
        this.#connections.delete(connection);
        this.#context.clients.unbind(connection);
      },
    };
    this.#connections.add(new Connection(socket, events, this.#halfFrames));
  }

  #answer(connection: Connection, frame: RequestFrame): Reply<ReplyFrame> {
    const answer = answerRequest(frame, connection, this.#context, this.#log);
    if (!(answer instanceof Promise)) return answer;
    this.#inProgress.add(answer);
    return answer.finally(() => this.#inProgress.delete(answer));
  }

  /**
   * RFC 8881 §8.4.2: no shorter than the lease that the former run promised. It ends early when nobody is waited for any
   * more: all have come back and reclaimed, or were evicted.
   */
  #beginGrace(graceMs: number): void {
    const { clients, leases } = this.#context;
    const { past } = clients;
    this.#log.info({ clients: past.returning.size, graceMs }, 'grace period begins');
    leases.grace.begin((ino, access) => past.reaches(ino, access));
    past.onReturned(() => {
      leases.grace.wake();
      if (past.returning.size > 0) return;
      this.#cancelGrace();
      leases.grace.end();
    });
    this.#cancelGrace = this.#clock.after(graceMs, () => {
      this.#endGrace().catch((error: unknown) => this.#log.warn({ error }, 'stopped in the grace period'));
    });
  }

  async #endGrace(): Promise<void> {
    const { clients, leases } = this.#context;
    const { past } = clients;
    const unheard = past.unheard();
    const fenced = leases.fenceFormer(unheard).then(() => {
      for (const client of unheard) past.returned(client);
    });
    await Promise.all([fenced, past.endReclaims()]);
  }
}

function rmaKeys(providers: readonly ProviderName[], { device }: Filesystem, clock: Clock, log: Log): RmaKeys {
  return new RmaKeys({ providers, start: () => TargetProcess.start(device, clock, log), now: () => clock.now() });
}

/** Before anything of a client is put away, or believed to be over, its keys are closed (K4 of rma/keys.ts). */
function withoutKeys(fences: Fences, rma: RmaKeys | undefined): Pick<Fences, 'begin' | 'beginFormer' | 'blocked'> {
  return {
    begin: (client, segments) =>
      rma?.isAttached(client) === true
        ? rma.release(client).then(() => fences.begin(client, segments))
        : fences.begin(client, segments),
    beginFormer: (clients) => fences.beginFormer(clients),
    blocked: (client) => fences.blocked(client),
  };
}

/** In the order in which they are asked: what is certain and costs nothing first. */
function fencingProviders(
  { keyOwners = [], hook, timed = false }: FencingOptions,
  { device, uuid }: Filesystem,
  clock: Clock,
  log: Log,
): readonly FencingProvider[] {
  return [
    new KeyProvider(keyOwners, clock),
    new ProcessProvider(),
    ...(hook === undefined ? [] : [new HookProvider(hook, { path: device.path, uuid }, clock, log)]),
    ...(timed ? [new TimedProvider(clock)] : []),
  ];
}
