/** A server over a real filesystem, on a Unix socket, with time in the hands of the test. */
import { join } from 'node:path';
import { MetadataServer, type MetadataServerOptions } from '../../mds/server.ts';
import { Lab } from '../support/filesystem.ts';
import { ManualClock } from './manual-clock.ts';
import { type Identity, RawClient, RawConnection } from './raw-client.ts';

export const leaseMs = 10_000;

export class Rig {
  readonly lab: Lab;
  clock = new ManualClock();
  #server: MetadataServer;
  #address = '';
  readonly #connections: RawConnection[] = [];

  private constructor(lab: Lab, options: MetadataServerOptions) {
    this.lab = lab;
    this.#server = new MetadataServer(lab.fs, { leaseMs, clock: this.clock, ...options });
  }

  static async start(options: MetadataServerOptions = {}, size?: number): Promise<Rig> {
    const rig = new Rig(await Lab.create(size), options);
    await rig.#listen();
    return rig;
  }

  get server(): MetadataServer {
    return this.#server;
  }

  get address(): string {
    return this.#address;
  }

  async #listen(): Promise<void> {
    this.#address = await this.#server.listen(`unix:${join(this.lab.dir, 'mds.sock')}`);
  }

  async connection(): Promise<RawConnection> {
    const connection = await RawConnection.open(this.#address);
    this.#connections.push(connection);
    return connection;
  }

  async client(identity?: Identity): Promise<RawClient> {
    const client = await RawClient.connect(this.#address, identity);
    this.#connections.push(client.connection);
    return client;
  }

  /** The server goes and comes back, over the same filesystem mounted anew. */
  async restart(options: MetadataServerOptions = {}): Promise<void> {
    await this.#server.close();
    await this.lab.remount();
    this.clock = new ManualClock();
    this.#server = new MetadataServer(this.lab.fs, { leaseMs, clock: this.clock, ...options });
    await this.#listen();
  }

  async stop(): Promise<void> {
    try {
      for (const connection of this.#connections) await connection.end();
      await this.#server.close();
    } finally {
      await this.lab.remove();
    }
  }

  /** What the server does in the background follows no reply; this looks again until it is so. */
  async until(what: string, condition: () => boolean): Promise<void> {
    for (let looks = 0; looks < 5000; looks++) {
      if (condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error(`never came: ${what}`);
  }
}
