import type { ProviderName } from '../../fs/fabric/providers.ts';
import type { DeviceInfo } from '../devices.ts';
import type { DmaEngine } from './engine.ts';
import { RmaEngine, type RmaSession } from './rma.ts';
import type { Way } from './way.ts';

export interface RmaWayOptions {
  /** Those of libfabric that are tried, in this order. */
  readonly providers: readonly ProviderName[];
  readonly timeoutMs?: number;
}

/** By keys of the server (docs/rma.md): the memory is the server's own by construction, nothing has to be proven. */
export class RmaWay implements Way {
  readonly name = 'rma';
  readonly #session: RmaSession;
  readonly #options: RmaWayOptions;
  #engine: RmaEngine | undefined;

  constructor(session: RmaSession, options: RmaWayOptions) {
    this.#session = session;
    this.#options = options;
  }

  async reach({ size }: DeviceInfo): Promise<DmaEngine> {
    if (this.#engine !== undefined && this.#engine.size !== size) await this.close();
    this.#engine ??= new RmaEngine(this.#session, { ...this.#options, size, writable: true });
    await this.#engine.open();
    return this.#engine;
  }

  async forget(): Promise<void> {
    await this.#engine?.forget();
  }

  async close(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.close();
  }
}
