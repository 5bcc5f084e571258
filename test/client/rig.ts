/** A server over a real filesystem on tmpfs, on a Unix socket that can be cut, with clients of the library. */
import { join } from 'node:path';
import { test as base } from 'vitest';
import { type Client, type ConnectOptions, connect } from '../../client/index.ts';
import { MetadataServer, type MetadataServerOptions } from '../../mds/server.ts';
import { Lab } from '../support/filesystem.ts';
import { Wire } from './wire.ts';

export { until } from '../support/until.ts';
export { patternOf as pattern } from './pattern.ts';

export class ClientRig {
  readonly lab: Lab;
  readonly wire: Wire;
  readonly #options: MetadataServerOptions;
  #server: MetadataServer;
  readonly #clients: Client[] = [];

  private constructor(lab: Lab, server: MetadataServer, wire: Wire, options: MetadataServerOptions) {
    this.lab = lab;
    this.#server = server;
    this.wire = wire;
    this.#options = options;
  }

  static async start(options: MetadataServerOptions = {}): Promise<ClientRig> {
    const lab = await Lab.create(64 << 20);
    try {
      const server = new MetadataServer(lab.fs, options);
      await server.listen(`unix:${join(lab.dir, 'mds.sock')}`);
      const wire = await Wire.open(join(lab.dir, 'wire.sock'), join(lab.dir, 'mds.sock'));
      return new ClientRig(lab, server, wire, options);
    } catch (error) {
      await lab.remove();
      throw error;
    }
  }

  get server(): MetadataServer {
    return this.#server;
  }

  /** Past the wire that can be cut. */
  get directAddress(): string {
    return `unix:${join(this.lab.dir, 'mds.sock')}`;
  }

  async connect(options: ConnectOptions & { readonly address?: string } = {}): Promise<Client> {
    const { address, ...rest } = options;
    const client = await connect(address ?? `unix:${this.wire.path}`, rest);
    this.#clients.push(client);
    return client;
  }

  /** The server goes without a word, and another one comes over the same filesystem, mounted anew. */
  async restartServer(options: MetadataServerOptions = {}): Promise<void> {
    await this.#server.close();
    await this.lab.remount();
    this.#server = new MetadataServer(this.lab.fs, { ...this.#options, ...options });
    await this.#server.listen(this.directAddress);
  }

  async stop(): Promise<void> {
    try {
      this.wire.heal();
      await Promise.allSettled(this.#clients.map((client) => client.close()));
      await this.wire.close();
      await this.#server.close();
    } finally {
      await this.lab.remove();
    }
  }
}

/** A test with a server of its own; everything is closed and removed afterwards whatever happened. */
export const test = base.extend<{ options: MetadataServerOptions; rig: ClientRig }>({
  options: {},
  rig: async ({ options }, use) => {
    const rig = await ClientRig.start(options);
    try {
      await use(rig);
    } finally {
      await rig.stop();
    }
  },
});

/** The status an operation fails with, or undefined. */
export async function statusOf(work: Promise<unknown> | (() => unknown)): Promise<string | undefined> {
  try {
    await (typeof work === 'function' ? work() : work);
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'status' in error) return String(error.status);
    throw error;
  }
}
