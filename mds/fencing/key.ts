import type { Clock } from '../clock.ts';
import type { Attempt, ClientFacts, FenceResult, FencingProvider } from './provider.ts';

/** Whatever hands out keys that reach the memory: registrations of RDMA memory, windows of a bridge. */
export interface KeyOwner {
  readonly name: string;
  /** The client has said that keys of this owner are its only way to the device. */
  knows(client: number): boolean;
  /**
   * No key of the client works any more when it settles, and what came in under one has landed. false: it has none. May be
   * called again, with the client or another, before and after it settled.
   */
  revoke(client: number): Promise<boolean>;
}

/**
 * The client reaches the device by keys, and they are void (RFC 8154 §2.4.10; draft-hellwig-nfsv4-rdma-layout: invalidating
 * the handle is the fence). Without owners there are no keys that anything checks: whoever maps the device needs none.
 */
export class KeyProvider implements FencingProvider {
  readonly name = 'key';
  readonly #owners: readonly KeyOwner[];
  readonly #clock: Clock;
  /** One call at a time for a client, also when it did not settle in time. */
  readonly #revoking = new Map<number, Promise<readonly boolean[]>>();

  constructor(owners: readonly KeyOwner[], clock: Clock) {
    this.#owners = owners;
    this.#clock = clock;
  }

  serves({ client }: Pick<ClientFacts, 'client'>): boolean {
    return this.#owners.some((owner) => owner.knows(client));
  }

  async fence({ client }: ClientFacts, { deadline, givenUp }: Attempt): Promise<FenceResult> {
    if (!this.serves({ client })) return { kind: 'cannot' };
    const had = await this.#before(deadline, givenUp, this.#revoke(client));
    if (had === undefined) throw new Error(`not revoked in time by ${this.#owners.map(({ name }) => name).join(', ')}`);
    // Who has no key reaches the device in another way, if at all.
    return { kind: had.some((each) => each) ? 'fenced' : 'cannot' };
  }

  withdraw(client: number): void {
    // The administrator has said that nothing comes in under them.
    this.#revoke(client).catch(() => {});
  }

  #revoke(client: number): Promise<readonly boolean[]> {
    const running = this.#revoking.get(client);
    if (running !== undefined) return running;
    const revoking = Promise.all(this.#owners.map((owner) => owner.revoke(client)));
    this.#revoking.set(client, revoking);
    const over = (): void => void this.#revoking.delete(client);
    revoking.then(over, over);
    return revoking;
  }

  #before<T>(deadline: number, givenUp: AbortSignal, task: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const give = (): void => resolve(undefined);
      const cancel = this.#clock.after(deadline - this.#clock.now(), give);
      givenUp.addEventListener('abort', give);
      if (givenUp.aborted) give();
      task.then(resolve, reject).finally(() => {
        cancel();
        givenUp.removeEventListener('abort', give);
      });
    });
  }
}
