/**
 * The fences under way: of clients that lost their layouts and may still reach the device.
 *
 * 1. First what the client could reach is put away, durably: copied where it could write, held where it could read. From then
 *    on others may go on with the files, and a stray access hurts nobody. While that fails the range stays blocked.
 * 2. Then the providers are asked, in order, until one of them says that no access of the client can come any more. The
 *    device is drained: a read of it returns after all writes that were on their way (PCI Express Base
 *    Specification §2.4.1). Only then what is in quarantine for the client is free (I7).
 * 3. What fails is tried again, after 1 s, doubling up to 3 min, without end; STATUS shows it and each attempt is in the
 *    log. Where all providers say that they cannot, the quarantine lasts until the client comes back or is declared dead.
 * 4. One attempt for a client at a time. A client that comes back waits for the one that has begun, so that it does not
 *    cut off what the client is given next. Of one that the administrator declares dead it is given up at once.
 */
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { FencedSegment } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import type { Client } from '../client.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { wireLimits } from '../protocol/limits.ts';
import type { FenceCount, FenceStatus } from '../protocol/server-status.ts';
import { drain } from './drain.ts';
import { type Bell, Fence } from './fence.ts';
import { fencingLimits, ioUnbounded } from './limits.ts';
import { Pace } from './pace.ts';
import type { Attempt, ClientFacts, FenceResult, FencingProvider } from './provider.ts';

/** What fences are about, in other parts of the server. */
export interface FencedClients {
  /** undefined: there is no such client, and there is nothing to fence. */
  facts(client: number): ClientFacts | undefined;
  /** Nothing of the client reaches the device: what is in quarantine for it is free. @throws FsError EIO */
  cutOff(client: number): Promise<void>;
}

/** The name that STATUS shows while blocks are put away, and where that is all that can be done. */
const quarantine = 'quarantine';

type Waiting = { readonly provider: string } & Extract<FenceResult, { kind: 'wait' }>;

export class Fences {
  readonly #fs: Pick<Filesystem, 'layouts' | 'status' | 'quarantined' | 'device'>;
  readonly #providers: readonly FencingProvider[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #clients: FencedClients;
  readonly #fences = new Map<number, Fence>();
  readonly #counts = new Map<string, { fenced: number; waiting: number; failed: number }>();
  readonly #closing = new AbortController();

  constructor(
    fs: Pick<Filesystem, 'layouts' | 'status' | 'quarantined' | 'device'>,
    providers: readonly FencingProvider[],
    clock: Clock,
    log: Log,
    clients: FencedClients,
  ) {
    this.#fs = fs;
    this.#providers = providers;
    this.#clock = clock;
    this.#log = log;
    this.#clients = clients;
  }

  /**
   * A client whose accesses may take any time, and that nothing but time could stop, is given no layouts (RFC 5663
   * §2.3.8): nobody could ever tell when its blocks are free.
   */
  mayGrant({ id, introduction }: Pick<Client, 'id' | 'introduction'>): boolean {
    if (introduction.ioMaxMs !== ioUnbounded) return true;
    const facts = this.#clients.facts(id);
    return facts !== undefined && this.#providers.some((provider) => provider.serves(facts));
  }

  /** Rule 1. Settles when it is done, and goes on with rule 2. @throws FsError ESHUTDOWN, EIO */
  async begin(client: number, segments: readonly FencedSegment[]): Promise<void> {
    await this.#putAway([client], () => this.#fs.layouts.quarantine(client, this.#isOver(client) ? [] : segments));
    this.cutOff(client);
  }

  /** The same for clients of a former run. @throws FsError ESHUTDOWN, EIO */
  async beginFormer(clients: readonly number[]): Promise<void> {
    await this.#putAway(clients, () => this.#fs.layouts.quarantineFormer(clients));
    for (const client of clients) this.cutOff(client);
  }

  /** Why the range of the client is blocked still; undefined: nothing has failed. */
  blocked(client: number): string | undefined {
    return this.#fences.get(client)?.blocked?.error;
  }

  /** Nothing of the client reaches the device any more: what could not be put away need not be. */
  declareOver(client: number): void {
    for (const provider of this.#providers) provider.withdraw?.(client);
    const fence = this.#fences.get(client);
    if (fence === undefined) return;
    fence.isOver = true;
    fence.giveUp('the client was declared dead');
    fence.wake();
  }

  /** Rule 2, for a client whose blocks are in quarantine already. */
  cutOff(client: number): void {
    if (this.#closing.signal.aborted || this.#fs.status().readOnly) return;
    const isNeeded = this.#clients.facts(client)?.superseded === false && this.#fs.quarantined().has(client);
    if (!isNeeded) return void this.#fences.delete(client);
    const fence = this.#fenceOf(client);
    if (fence.goesOn()) void this.#untilCutOff(fence);
  }

  /** Something that a provider looks at is another now. */
  lookAgain(client: number): void {
    this.#fences.get(client)?.wake();
  }

  /** A provider has begun with the client, and has not answered. */
  isRunning(client: number): boolean {
    return this.#fences.get(client)?.running !== undefined;
  }

  /** The client needs no fence any more; settles when none is running. */
  async end(client: number): Promise<void> {
    const fence = this.#fences.get(client);
    if (fence === undefined) return;
    fence.end();
    await fence.running;
    if (this.#fences.get(client) === fence) this.#fences.delete(client);
  }

  status(): readonly FenceStatus[] {
    const bytes = this.#fs.quarantined();
    const now = this.#clock.now();
    return [...this.#fences.values()].map((fence) => {
      const { client, blocked } = fence;
      const { attempts, dueAt } = blocked ?? fence;
      return {
        client,
        provider: blocked === undefined ? fence.provider : quarantine,
        attempts,
        retryMs: dueAt === undefined ? undefined : Math.max(0, Math.round(dueAt - now)),
        error: blocked?.error ?? fence.error,
        bytes: bytes.get(client) ?? 0,
      };
    });
  }

  counts(): readonly FenceCount[] {
    return [...this.#counts].map(([provider, counts]) => ({ provider, ...counts }));
  }

  /** What runs is given up; settles when it is over. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const fence of this.#fences.values()) {
      fence.end();
      fence.giveUp('the server closes');
    }
    for (const { running } of this.#fences.values()) await running;
  }

  /** Of a client that reaches nothing any more nothing is copied: its blocks stay where they are. */
  #isOver(client: number): boolean {
    const facts = this.#clients.facts(client);
    const isOver =
      this.#fences.get(client)?.isOver === true ||
      facts?.isOver === true ||
      (facts !== undefined && this.#providers.some((provider) => provider.holds?.(facts) === true));
    if (isOver) drain(this.#fs.device);
    return isOver;
  }

  /** Where nothing is ever written no block changes hands, and there is nothing to put away. @throws FsError ESHUTDOWN, EIO */
  async #putAway(clients: readonly number[], attempt: () => Promise<void>): Promise<void> {
    const [client] = clients;
    if (client === undefined || this.#fs.status().readOnly) return;
    const fences = clients.map((each) => this.#fenceOf(each));
    const pace = new Pace();
    for (let attempts = 1; !this.#closing.signal.aborted; attempts++) {
      this.#requireNoShutdown(client);
      for (const fence of fences) fence.tries(quarantine, attempts);
      try {
        await attempt();
        this.#count(quarantine).fenced++;
        for (const fence of fences) fence.blocked = undefined;
        return;
      } catch (error) {
        this.#count(quarantine).failed++;
        const retryMs = pace.next();
        const dueAt = this.#clock.now() + retryMs;
        for (const fence of fences) fence.blocked = { error: textOf(error), attempts, dueAt };
        this.#log.error({ clients, retryMs, error }, 'fence failed, its blocks stay blocked');
        // What could not be made durable now never will be: trying again would only move the blocks once more.
        this.#requireNoShutdown(client);
        await this.#sleep(retryMs, this.#closing.signal, fences.length === 1 ? fences[0]?.overBell : undefined);
      }
    }
    throw new FsError('ESHUTDOWN', { client, detail: 'the metadata server closed before a fence held' });
  }

  /** @throws FsError EIO */
  #requireNoShutdown(client: number): void {
    const { shutdown } = this.#fs.status();
    if (shutdown !== undefined) throw new FsError('EIO', { client, detail: `its fence does not hold: ${shutdown}` });
  }

  /** Rule 3. Never rejects. */
  async #untilCutOff(fence: Fence): Promise<void> {
    const { client } = fence;
    const pace = new Pace();
    while (!fence.unneeded.aborted) {
      const attempt = this.#attempt(fence);
      fence.running = attempt;
      const answer = await attempt;
      fence.running = undefined;
      if (answer.kind === 'fenced') {
        if (this.#fences.get(client) === fence) this.#fences.delete(client);
        return;
      }
      const retryMs = answer.kind === 'cannot' ? undefined : pace.next(answer.ms);
      fence.waits(retryMs === undefined ? undefined : this.#clock.now() + retryMs);
      const { provider, attempts, error } = fence;
      this.#log.warn({ client, provider, attempt: attempts, retryMs, error }, 'fence: the client is not cut off');
      await this.#sleep(retryMs, fence.unneeded, fence.bell);
    }
  }

  /** Rule 2. Never rejects. */
  async #attempt(fence: Fence): Promise<FenceResult> {
    const { client } = fence;
    const number = fence.begins(quarantine);
    const facts = this.#clients.facts(client);
    const waiting: Waiting[] = [];
    for (const provider of facts === undefined ? [] : this.#providers) {
      if (facts === undefined || fence.unneeded.aborted) break;
      if (!provider.serves(facts)) continue;
      const { name } = provider;
      fence.provider = name;
      try {
        const result = await provider.fence(facts, this.#about(fence, number));
        if (result.kind === 'fenced') {
          drain(this.#fs.device);
          await this.#clients.cutOff(client);
          this.#count(name).fenced++;
          this.#log.info(
            { client, provider: name, attempt: number },
            'fence: the client is cut off, its blocks are free',
          );
          return result;
        }
        if (result.kind === 'cannot') continue;
        this.#count(name).waiting++;
        waiting.push({ provider: name, ...result });
      } catch (error) {
        this.#count(name).failed++;
        waiting.push({ provider: name, kind: 'wait', why: textOf(error) });
        this.#log.error({ client, provider: name, attempt: number, error }, 'fence failed');
      }
    }
    return this.#next(fence, waiting);
  }

  #about(fence: Fence, number: number): Attempt {
    const deadline = this.#clock.now() + fencingLimits.attemptMs;
    return { number, deadline, unneeded: fence.unneeded, givenUp: fence.givenUp };
  }

  /** When to try again: at a time that all of them name, or with the backoff. */
  #next(fence: Fence, waiting: readonly Waiting[]): FenceResult {
    const last = waiting.at(-1);
    fence.provider = last?.provider ?? quarantine;
    fence.error = last === undefined ? undefined : waiting.map(({ provider, why }) => `${provider}: ${why}`).join('; ');
    if (last === undefined) return { kind: 'cannot' };
    const times = waiting.flatMap(({ ms }) => (ms === undefined ? [] : [ms]));
    if (times.length < waiting.length) return { kind: 'wait', why: last.why };
    return { kind: 'wait', why: last.why, ms: Math.min(...times) };
  }

  #fenceOf(client: number): Fence {
    let fence = this.#fences.get(client);
    if (fence === undefined || fence.unneeded.aborted) {
      fence = new Fence(client);
      this.#fences.set(client, fence);
    }
    return fence;
  }

  #count(provider: string): { fenced: number; waiting: number; failed: number } {
    let counts = this.#counts.get(provider);
    if (counts === undefined) {
      counts = { fenced: 0, waiting: 0, failed: 0 };
      this.#counts.set(provider, counts);
    }
    return counts;
  }

  /** Until the time has passed, if there is one; ends early with `signal`, or when the bell rings. */
  #sleep(ms: number | undefined, signal: AbortSignal, bell?: Bell): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = (): void => {
        cancel();
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = ms === undefined ? () => {} : this.#clock.after(ms, wake);
      signal.addEventListener('abort', wake);
      bell?.listen(wake);
    });
  }
}

function textOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, wireLimits.textMax);
}
