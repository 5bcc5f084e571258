import { rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { encodeFrame, type Frame, FrameDecoder } from '../../mds/protocol/index.ts';

/** What becomes of a message: on at once, later (others overtake it), or never. */
export type Fate = 'pass' | 'hold' | 'drop';
export type Filter = (frame: Frame) => Fate;

const passAll: Filter = () => 'pass';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly heldToServer: Frame[];
  readonly heldToClient: Frame[];
}

/** A cable between clients and the server that a test can cut, and where messages can be held up or lost. */
export class Wire {
  readonly path: string;
  readonly #target: string;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  toServer = passAll;
  toClient = passAll;
  /** New connections are refused. */
  down = false;
  /** Made so far. */
  connections = 0;
  /** Everything that the clients sent, also what was held or dropped. */
  readonly sent: Frame[] = [];

  private constructor(path: string, target: string) {
    this.path = path;
    this.#target = target;
    this.#server = createServer((client) => this.#connected(client));
  }

  static async open(path: string, target: string): Promise<Wire> {
    const wire = new Wire(path, target);
    await new Promise<void>((resolve, reject) => {
      wire.#server.once('error', reject);
      wire.#server.listen(path, resolve);
    });
    return wire;
  }

  /** Messages held at present, on their way to the clients and to the server. */
  get held(): { readonly toClient: number; readonly toServer: number } {
    const pairs = [...this.#pairs];
    return {
      toClient: count(pairs.map((pair) => pair.heldToClient)),
      toServer: count(pairs.map((pair) => pair.heldToServer)),
    };
  }

  /** Both ends of every connection are gone, with what was held. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    this.#pairs.clear();
  }

  /** Everything passes again, what was held first. */
  heal(): void {
    this.down = false;
    this.toServer = passAll;
    this.toClient = passAll;
    for (const { client, server, heldToServer, heldToClient } of this.#pairs) {
      for (const frame of heldToServer.splice(0)) server.write(encodeFrame(frame));
      for (const frame of heldToClient.splice(0)) client.write(encodeFrame(frame));
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await rm(this.path, { force: true });
  }

  #connected(client: Socket): void {
    client.on('error', () => {});
    if (this.down) {
      client.destroy();
      return;
    }
    this.connections += 1;
    const server = createConnection(this.#target);
    server.on('error', () => client.destroy());
    const pair: Pair = { client, server, heldToServer: [], heldToClient: [] };
    this.#pairs.add(pair);
    const fromClient = new FrameDecoder();
    const fromServer = new FrameDecoder();
    client.on('data', (chunk: Buffer) => {
      for (const frame of fromClient.push(chunk)) {
        this.sent.push(frame);
        move(this.toServer(frame), frame, server, pair.heldToServer);
      }
    });
    server.on('data', (chunk: Buffer) => {
      for (const frame of fromServer.push(chunk)) move(this.toClient(frame), frame, client, pair.heldToClient);
    });
    client.on('close', () => this.#ended(pair));
    server.on('close', () => this.#ended(pair));
  }

  #ended(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }
}

const count = (lists: readonly Frame[][]): number => lists.reduce((sum, frames) => sum + frames.length, 0);

function move(fate: Fate, frame: Frame, to: Socket, held: Frame[]): void {
  if (fate === 'pass') to.write(encodeFrame(frame));
  else if (fate === 'hold') held.push(frame);
}
