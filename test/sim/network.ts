/**
 * Connections between processes: bytes arrive in order, late, or not at all. `Socket` and `Server` have what the product
 * uses of those of node:net.
 */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { type Loop, loop, type Process } from './loop.ts';

/** Sees what goes over a connection, when it is sent and when it arrives. */
export interface Tap {
  sent(from: Socket, chunk: Uint8Array): void;
  arrived(at: Socket, chunk: Uint8Array): void;
}

interface Listening {
  readonly process: Process;
  readonly accept: (socket: Socket) => void;
}

/** Bytes on their way in one direction at which writers are told to wait. */
const windowBytes = 256 * 1024;

export class Network {
  readonly #loop: Loop;
  readonly #listening = new Map<number, Listening>();
  readonly #sockets = new Set<Socket>();
  /** Pairs of processes that hear nothing of each other, until so many ms. */
  readonly #cuts = new Map<Process, number>();
  tap: Tap | undefined;

  constructor(simulated: Loop) {
    this.#loop = simulated;
  }

  /** Nothing that this process sends, or that is sent to it, arrives before `ms` have passed. */
  cut(process: Process, ms: number): void {
    this.#cuts.set(process, this.#loop.now + ms);
  }

  /** The connections of the process break. */
  reset(process: Process): void {
    for (const socket of this.#sockets) {
      if (socket.process === process) this.#loop.after(0, () => socket.destroy(), process);
    }
  }

  /** The other ends of its connections break: what it sent before and is not there yet is lost. */
  resetPeers(process: Process): void {
    for (const { process: of, peer } of this.#sockets) {
      if (of === process && peer !== undefined) this.#loop.after(0, () => peer.destroy(), peer.process);
    }
  }

  /** When what is sent now between the two arrives: 20 µs to 1 ms, once in a while much later. */
  arrival(socket: Socket): number {
    const { random, now } = this.#loop;
    const ms = random.oneIn(50) ? random.below(200) : 0.02 + random.below(1000) / 1000;
    const healed = Math.max(
      this.#cuts.get(socket.process) ?? 0,
      this.#cuts.get(socket.peer?.process ?? socket.process) ?? 0,
    );
    return Math.max(healed, now) + ms;
  }

  listen(port: number, listening: Listening): boolean {
    if (this.#listening.get(port)?.process.alive === true) return false;
    this.#listening.set(port, listening);
    return true;
  }

  close(port: number): void {
    this.#listening.delete(port);
  }

  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** The death of a process ends its connections, and the other ends hear of it. */
  died(process: Process): void {
    for (const socket of this.#sockets) {
      if (socket.process !== process) continue;
      this.#sockets.delete(socket);
      socket.hangUp();
    }
  }

  connect(socket: Socket, port: number): void {
    const { process } = socket;
    this.#loop.after(
      this.arrival(socket) - this.#loop.now,
      () => {
        if (socket.destroyed) return;
        const listening = this.#listening.get(port);
        if (listening === undefined || !listening.process.alive) {
          socket.destroy(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
          return;
        }
        const other = new Socket(listening.process);
        socket.peer = other;
        other.peer = socket;
        this.add(other);
        this.#loop.after(this.arrival(other) - this.#loop.now, () => listening.accept(other), listening.process);
        socket.emit('connect');
      },
      process,
    );
  }
}

let network: Network | undefined;

export function enterNetwork(entered: Network): void {
  network = entered;
}

function current(): Network {
  if (network === undefined) throw new Error('no simulation runs');
  return network;
}

export class Socket extends Duplex {
  readonly process: Process;
  readonly remoteAddress = 'simulated';
  peer: Socket | undefined;
  #lastArrival = 0;
  #onTheWay = 0;
  #writer: (() => void) | undefined;

  constructor(process: Process) {
    super({ allowHalfOpen: false, readableHighWaterMark: 65_536, writableHighWaterMark: 65_536 });
    this.process = process;
  }

  override _read(): void {}

  override _writev(chunks: { chunk: unknown }[], done: (error?: Error | null) => void): void {
    const pieces = chunks.map(({ chunk }) => chunk).filter((chunk) => chunk instanceof Uint8Array);
    const send = (): void => {
      this.#carry(Buffer.concat(pieces));
      if (this.#onTheWay < windowBytes) done();
      else this.#writer = done;
    };
    // Its code comes after the copy that it began.
    if (this.process.copying) loop().after(0, send, this.process);
    else send();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#end();
    done(error);
  }

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  /** The process is gone. */
  hangUp(): void {
    this.#end();
  }

  #carry(chunk: Buffer): void {
    const net = current();
    net.tap?.sent(this, chunk);
    this.#onTheWay += chunk.length;
    this.#toPeer((peer) => {
      this.#onTheWay -= chunk.length;
      const writer = this.#writer;
      this.#writer = undefined;
      if (writer !== undefined) loop().after(0, writer, this.process);
      if (peer.destroyed || peer.readableEnded) return;
      net.tap?.arrived(peer, chunk);
      peer.push(chunk);
    });
  }

  #end(): void {
    this.#toPeer((peer) => {
      if (!peer.destroyed) peer.push(null);
    });
  }

  /** In the order in which it was sent. */
  #toPeer(task: (peer: Socket) => void): void {
    const { peer } = this;
    if (peer === undefined) return;
    this.#lastArrival = Math.max(this.#lastArrival, current().arrival(this));
    loop().after(this.#lastArrival - loop().now, () => task(peer), peer.process);
  }
}

class Listener extends EventEmitter {
  readonly #accept: (socket: Socket) => void;
  #port = 0;

  constructor(accept: (socket: Socket) => void) {
    super();
    this.#accept = accept;
  }

  listen({ port = 0 }: { readonly port?: number }): this {
    const process = loop().current;
    const isFree = current().listen(port, { process, accept: this.#accept });
    this.#port = port;
    loop().after(0, () => {
      if (isFree) this.emit('listening');
      else this.emit('error', Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' }));
    });
    return this;
  }

  address(): { readonly port: number } {
    return { port: this.#port };
  }

  close(done: () => void): this {
    current().close(this.#port);
    loop().after(0, done);
    return this;
  }
}

export function connect({ port = 0 }: { readonly port?: number }): Socket {
  const socket = new Socket(loop().current);
  current().add(socket);
  current().connect(socket, port);
  return socket;
}

export function createServer(_options: object, accept: (socket: Socket) => void): Listener {
  return new Listener(accept);
}
