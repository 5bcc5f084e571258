import type { BarDevice } from '../../fs/bar/device.ts';
import { FsError } from '../../fs/errors.ts';
import { Endpoint, type Registration } from '../../fs/fabric/endpoint.ts';
import { findInfo } from '../../fs/fabric/info.ts';
import { addressOf } from '../../fs/fabric/library.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import type { Answer, NewKey, Opened, Work } from './messages.ts';
import { Progress } from './progress.ts';

interface Attached {
  readonly endpoint: Endpoint;
  readonly progress: Progress;
  readonly keys: Map<number, Registration>;
}

/**
 * The side of one-sided access that is read from and written to: an endpoint for each client, in a domain of its own, so
 * that a key is good for nobody else, and what ends with the endpoint is all that the client had in flight.
 */
export class Target {
  readonly #device: BarDevice;
  readonly #clients = new Map<number, Attached>();

  constructor(device: BarDevice) {
    this.#device = device;
  }

  /** @throws FsError */
  async do(work: Work): Promise<Answer> {
    switch (work.kind) {
      case 'open':
        return { kind: 'opened', address: this.#open(work.client, work.provider, work.host, work.peer) };
      case 'register':
        return { kind: 'registered', keys: await this.#register(work.client, work.keys) };
      case 'close':
        this.#close(work.client, work.ids);
        return { kind: 'done' };
      case 'end':
        this.#end(work.client);
        return { kind: 'done' };
    }
  }

  /** Everything ends; nothing is left to be cleaned up. */
  close(): void {
    for (const client of this.#clients.keys()) this.#end(client);
  }

  #open(client: number, provider: ProviderName, host: string, peer: string): string {
    this.#end(client);
    const endpoint = new Endpoint(findInfo(provider, host), provider !== 'shm');
    try {
      endpoint.insert(Buffer.from(peer, 'hex'));
      const address = Buffer.from(endpoint.name()).toString('hex');
      this.#clients.set(client, { endpoint, progress: new Progress(endpoint), keys: new Map() });
      return address;
    } catch (error) {
      endpoint.close();
      throw error;
    }
  }

  /** All or none. */
  async #register(client: number, wanted: readonly NewKey[]): Promise<Opened[]> {
    if (wanted.some(({ offset, length }) => offset + length > this.#device.size)) await this.#device.refresh();
    const attached = this.#clients.get(client);
    if (attached === undefined) throw new FsError('ENOENT', { client, detail: 'the client is not attached' });
    try {
      return wanted.map((key) => this.#registerOne(attached, key));
    } catch (error) {
      this.#close(
        client,
        wanted.map(({ id }) => id),
      );
      throw error;
    }
  }

  #registerOne({ endpoint, keys }: Attached, { id, offset, length, writable, wish }: NewKey): Opened {
    const [view, ...more] = this.#device.views(offset, length);
    if (view === undefined || more.length > 0) {
      throw new FsError('EINVAL', { range: { offset, length }, detail: 'lies in two windows of the mapping' });
    }
    const access = writable ? 'read-write' : 'read';
    const registration = endpoint.register(addressOf(view), length, access, BigInt(`0x${wish}`));
    keys.set(id, registration);
    return { key: hex64(registration.key), base: hex64(registration.base) };
  }

  #close(client: number, ids: readonly number[]): void {
    const attached = this.#clients.get(client);
    for (const id of ids) {
      attached?.keys.get(id)?.close();
      attached?.keys.delete(id);
    }
  }

  #end(client: number): void {
    const attached = this.#clients.get(client);
    if (attached === undefined) return;
    this.#clients.delete(client);
    attached.progress.stop();
    for (const registration of attached.keys.values()) registration.close();
    attached.endpoint.close();
  }
}

function hex64(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}
