/** A server over a real filesystem, on a Unix socket, with time in the hands of the test. */
import { join } from 'node:path';
import { serverLimits } from '../../mds/limits.ts';
import { MetadataServer, type MetadataServerOptions } from '../../mds/server.ts';
import { Lab } from '../support/filesystem.ts';
import { until } from '../support/until.ts';
import { ManualClock } from './manual-clock.ts';
import { type Identity, RawClient, RawConnection } from './raw-client.ts';

export const leaseMs = 10_000;
/** After this a silent client has ended, courtesy included. */
export const endMs = leaseMs + serverLimits.courtesyMs;

export class Rig {
  lab: Lab;
  clock = new ManualClock();
  #server: MetadataServer;
  #address = '';
  readonly #connections: RawConnection[] = [];
  readonly #first: Lab;

  private constructor(lab: Lab, options: MetadataServerOptions) {
    this.lab = lab;
    this.#first = lab;
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

  client(identity?: Identity): Promise<RawClient> {
    return this.clientAt(this.#address, identity);
  }

  async clientAt(address: string, identity?: Identity): Promise<RawClient> {
    const client = await RawClient.connect(address, identity);
    this.#connections.push(client.connection);
    return client;
  }

  /** The server goes and comes back, over the same filesystem mounted anew. */
  async restart(options: MetadataServerOptions = {}): Promise<void> {
    await this.#server.close();
    await this.lab.remount();
    await this.#again(options);
  }

  /** As `restart`, after a kill at this moment. */
  async crash(options: MetadataServerOptions = {}): Promise<void> {
    const left = await this.lab.crashed();
    await this.#server.close();
    await this.lab.unmount();
    this.lab = left;
    await this.lab.mount();
    await this.#again(options);
  }

  async #again(options: MetadataServerOptions): Promise<void> {
    this.clock = new ManualClock();
    this.#server = new MetadataServer(this.lab.fs, { leaseMs, clock: this.clock, ...options });
    await this.#listen();
  }

  async stop(): Promise<void> {
    try {
      for (const connection of this.#connections) await connection.end();
      await this.#server.close();
    } finally {
      await this.lab.unmount();
      await this.#first.remove();
    }
  }

  /** What the server does in the background follows no reply. */
  until(what: string, condition: () => boolean): Promise<void> {
    return until(what, condition);
  }
}
