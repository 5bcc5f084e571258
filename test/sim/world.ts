/**
 * One run: a server that is killed and restarted, clients that are cut off, stopped, killed and replaced, and a program
 * beside the server. All of it follows from the seed.
 */
import { connect } from '../../client/index.ts';
import { formatFilesystem, openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { newUuid } from '../../fs/format/uuid.ts';
import type { Log } from '../../mds/log.ts';
import { MetadataServer } from '../../mds/server.ts';
import { mountedVfs, withCoherence } from '../../tools/lib/coherence.ts';
import { KernelCaches } from '../../tools/lib/kernel-caches.ts';
import type { Random } from '../exercise/random.ts';
import { MemoryDevice } from '../support/crash-recorder.ts';
import { registerOf } from './content.ts';
import { sectorSize } from './dma.ts';
import { fsck, settle } from './ending.ts';
import { Faults, type Machine } from './faults.ts';
import { History } from './history.ts';
import { directAccess, Kernel } from './kernel.ts';
import { Liar } from './liar.ts';
import { type LocalFiles, LocalProgram, makeFiles } from './local-program.ts';
import { enter, Loop, Process } from './loop.ts';
import { Disk, ServerDevice, ServerStore } from './machine.ts';
import { enterMemory, Memory } from './memory.ts';
import { enterNetwork, Network } from './network.ts';
import { Program, type Surroundings } from './programs.ts';
import { type Scene, sceneOf } from './scene.ts';

/** Virtual ms. */
const leaseMs = 1000;
const runMsMax = 600_000;
const waitMsMax = 8 * leaseMs;

export interface Outcome {
  readonly seed: number;
  /** What went wrong; undefined: nothing. */
  readonly failure: string | undefined;
  readonly trace: readonly string[];
  readonly events: number;
  readonly operations: number;
  /** Blocks whose history nobody could decide on. */
  readonly undecided: number;
  readonly virtualMs: number;
}

interface Server {
  readonly process: Process;
  readonly fs: Filesystem;
  /** As a mount on the server's machine has it. */
  readonly local: LocalFiles;
  readonly mds: MetadataServer;
}

export async function runSeed(seed: number): Promise<Outcome> {
  const world = new World(seed);
  const failure = await world
    .run()
    .catch((error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)));
  return { seed, failure, ...world.summary };
}

class World {
  readonly #seed: number;
  readonly #loop: Loop;
  readonly #network: Network;
  readonly #memory: Memory;
  readonly #disk = new Disk();
  readonly #history: History;
  readonly #random: Random;
  readonly #scene: Scene;
  readonly #trace: string[] = [];
  readonly #log: Log = {
    info: (fields, message) => this.#logged(fields, message),
    warn: (fields, message) => this.#logged(fields, message),
    error: (fields, message) => {
      this.#logged(fields, message);
      const error: unknown = Reflect.get(fields, 'error');
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#unexpected ??= new Error(`the server logs an error: ${message}: ${why}`);
    },
  };
  readonly #clients: Machine[] = [];
  readonly #faults: Faults;
  readonly #liars: Process[] = [];
  #server: Server | undefined;
  #restarts = 0;
  #unexpected: unknown;
  #over = false;

  constructor(seed: number) {
    this.#seed = seed;
    this.#loop = new Loop(seed);
    this.#random = this.#loop.random;
    this.#scene = sceneOf(this.#random);
    this.#say(`seed ${seed}: ${JSON.stringify(this.#scene)}`);
    enter(this.#loop);
    this.#network = new Network(this.#loop);
    enterNetwork(this.#network);
    this.#memory = new Memory(this.#loop, this.#scene.deviceSize, (line) => this.#say(line));
    enterMemory(this.#memory);
    this.#network.tap = this.#memory;
    this.#history = new History(() => this.#loop.now, leaseMs);
    this.#faults = new Faults({
      loop: this.#loop,
      network: this.#network,
      scene: this.#scene,
      leaseMs,
      machines: this.#clients,
      say: (line) => this.#say(line),
      replace: (machine, afterMs) => this.#replace(machine, machine.process, afterMs),
      crash: (power) => this.#crash(power),
      isOver: () => this.#over,
    });
    this.#memory.onMoment = (moment, process) => this.#faults.strike(moment, process);
  }

  get summary(): Omit<Outcome, 'seed' | 'failure'> {
    const { now, events } = this.#loop;
    return {
      trace: this.#trace,
      events,
      operations: this.#history.size,
      undecided: this.#history.undecided,
      virtualMs: now,
    };
  }

  /** Answers what went wrong. */
  async run(): Promise<string | undefined> {
    const onUnexpected = (error: unknown): void => {
      this.#unexpected ??= error;
    };
    process.on('unhandledRejection', onUnexpected);
    try {
      return await this.#phases();
    } finally {
      process.off('unhandledRejection', onUnexpected);
    }
  }

  async #phases(): Promise<string | undefined> {
    const first = new Process('format');
    const began =
      (await this.#do('formatting', first, () => this.#format())) ??
      (await this.#do('the first start', this.#loop.world, () => this.#start()));
    if (began !== undefined) return began;
    for (let index = 0; index < this.#scene.clients; index++) this.#newClient(`client-${index}`);
    for (let index = 0; index < this.#scene.liars; index++) this.#newLiar(`liar-${index}`);
    if (!this.#scene.calm) this.#faults.schedule();
    this.#watchWaits();
    const failure =
      (await this.#until('the programs', () => this.#isDone)) ?? (await this.#end()) ?? this.#history.check();
    return failure;
  }

  get #isDone(): boolean {
    return this.#loop.now >= this.#scene.stubbornMs && this.#clients.every(({ steps }) => steps <= 0);
  }

  async #format(): Promise<void> {
    const device = new MemoryDevice(this.#memory.bytes);
    const store = this.#disk.records;
    await formatFilesystem({ device, store, uuid: newUuid(), label: 'sim', volatile: false, uid: 0, gid: 0 });
    this.#memory.persisted(0, this.#memory.bytes);
  }

  /** The server as a new process, on what is on the disk. */
  async #start(): Promise<void> {
    const server = new Process(`server-${this.#restarts++}`);
    server.onDeath.push(() => this.#network.died(server));
    this.#memory.serverIs(server);
    await this.#in(server, async () => {
      const device = new ServerDevice(this.#memory.bytes, this.#memory);
      const fs = await openFilesystem({ device, store: new ServerStore(this.#disk), readOnly: false });
      const caches = new KernelCaches();
      const kernel = this.#scene.pages ? new Kernel() : undefined;
      if (kernel !== undefined) caches.attach(Promise.resolve(kernel));
      const mds = new MetadataServer(withCoherence(fs, caches), {
        leaseMs,
        recallDeadlineMs: leaseMs,
        layoutWaitMs: 500,
        courtesyMs: this.#scene.courtesyMs,
        log: this.#log,
      });
      await mds.listen('tcp://server:1');
      if (this.#restarts === 1) await makeFiles(fs.vfs, this.#scene, this.#random);
      const vfs = mountedVfs(fs.vfs, caches);
      kernel?.mount(vfs);
      const local = { vfs, access: kernel ?? directAccess(vfs), fs };
      this.#server = { process: server, fs, local, mds };
      this.#say(`${server.name} serves generation ${fs.generation}`);
      void this.#local(server, local);
    });
  }

  get #surroundings(): Surroundings {
    const say = (line: string): void => this.#say(line);
    return { history: this.#history, random: this.#random, scene: this.#scene, say };
  }

  async #local(process: Process, files: LocalFiles): Promise<void> {
    const program = new LocalProgram(files, this.#surroundings);
    if (this.#scene.aim === 'power-after-crash' && this.#restarts > 1) {
      await this.#guarded(program.lookAndSync());
      if (this.#random.oneIn(2)) this.#loop.after(this.#random.below(20), () => this.#crash(true), this.#loop.world);
    }
    while (!this.#over) {
      await this.#loop.sleep(this.#random.below(100), process);
      if (!this.#over) await this.#guarded(program.step());
    }
  }

  #newClient(owner: string): void {
    const machine: Machine = {
      owner,
      isRemote: this.#scene.remotes && this.#random.oneIn(3),
      process: new Process(owner),
      runs: 0,
      steps: 4 + this.#random.below(this.#scene.stepsMax),
    };
    this.#clients.push(machine);
    this.#startClient(machine);
  }

  /** A program of the machine's owner; when it dies another one takes its place. */
  #startClient(machine: Machine): void {
    const name = `${machine.owner}.${machine.runs++}`;
    const program = new Process(name);
    machine.process = program;
    program.onDeath.push(() => this.#network.died(program));
    this.#loop.after(this.#random.below(50), () => void this.#guarded(this.#client(machine, name)), program);
  }

  #replace(machine: Machine, process: Process, afterMs: number): void {
    if (!process.alive) return;
    process.kill();
    this.#loop.after(afterMs, () => this.#startClient(machine), this.#loop.world);
  }

  async #client(machine: Machine, name: string): Promise<void> {
    const { process } = machine;
    const client = await connect(this.#addressOf(name), {
      owner: machine.owner,
      uid: 0,
      gid: 0,
      groups: [],
      timeoutMs: 60_000,
      maxIoMs: 100,
      ...(machine.isRemote ? { device: 'none' as const } : {}),
    }).catch((e: unknown) => {
      this.#say(`${name} does not connect: ${String(e)}`);
      return undefined;
    });
    if (client === undefined) {
      this.#loop.after(0, () => this.#replace(machine, process, 500), this.#loop.world);
      return;
    }
    const program = new Program(client, name, this.#surroundings);
    for (; machine.steps > 0; machine.steps--) {
      await program.step();
      await this.#loop.sleep(this.#random.below(30), process);
    }
    await program.end();
  }

  #newLiar(owner: string): void {
    if (this.#over) return;
    const program = new Process(owner);
    this.#liars.push(program);
    this.#memory.lies(program);
    this.#memory.onGrant(program, ({ ino, offset, length }) => {
      for (let sector = offset / sectorSize; sector < (offset + length) / sectorSize; sector++) {
        this.#history.taint(registerOf(ino, sector));
      }
    });
    const liar = new Liar({
      owner,
      stubborn: this.#scene.stubbornMs > 0 && owner === 'liar-0',
      random: this.#random,
      engine: this.#memory.engineOf(program),
      reach: () => this.#memory.reachOf(program),
      say: (line) => this.#say(line),
    });
    const live = async (): Promise<void> => {
      while (!this.#over) {
        await this.#loop.sleep(this.#random.below(200), program);
        await liar.step();
      }
    };
    this.#loop.after(this.#random.below(50), () => void this.#guarded(live()), program);
  }

  /** The library knows who is connected from here by address and owner, also of clients that died and of earlier runs. */
  #addressOf(name: string): string {
    return `tcp://${name}.seed-${this.#seed}:1`;
  }

  /** Nothing waits for ever (I9): deadlines of recalls, leases and grace are all a lease long, and one may follow the other. */
  #watchWaits(): void {
    const { mds } = this.#server ?? {};
    for (const { ino, reason, waitingMs } of mds?.status().breaks ?? []) {
      if (waitingMs < waitMsMax || this.#server?.process.alive !== true) continue;
      this.#unexpected ??= new Error(`waits for ever: ${reason} of inode ${ino}, for ${waitingMs} ms`);
    }
    this.#loop.after(leaseMs, () => this.#watchWaits(), this.#loop.world);
  }

  /** With `power` the machine loses its power, else only the server dies. */
  #crash(power: boolean): void {
    const server = this.#server?.process;
    if (server?.alive !== true || this.#over) return;
    this.#say(power ? `the machine of ${server.name} loses its power` : `${server.name} dies`);
    this.#history.crashed();
    server.kill();
    if (power) this.#loseMachine();
    const ms = this.#random.below(leaseMs);
    this.#loop.after(ms, () => void this.#guarded(this.#disk.crash().then(() => this.#start())), this.#loop.world);
  }

  /** Whoever has the device mapped dies with it. */
  #loseMachine(): void {
    for (const machine of this.#clients) {
      if (!machine.isRemote) this.#replace(machine, machine.process, this.#random.below(2 * leaseMs));
    }
    for (const liar of this.#liars.splice(0)) {
      this.#killLiar(liar);
      this.#loop.after(this.#random.below(leaseMs), () => this.#newLiar(liar.name), this.#loop.world);
    }
    this.#memory.losePower();
  }

  #killLiar(liar: Process): void {
    liar.kill();
    this.#network.died(liar);
  }

  /** Peace: who is dead is declared so, and what is left is looked at. */
  async #end(): Promise<string | undefined> {
    this.#over = true;
    for (const liar of this.#liars) this.#killLiar(liar);
    const isUp = (): boolean => this.#server?.process.alive === true;
    const waited = await this.#until('the server', isUp);
    const server = this.#server;
    if (waited !== undefined || server === undefined) return waited ?? 'no server';
    const pause = (): Promise<void> => this.#loop.sleep(10 * leaseMs, server.process);
    const program = new LocalProgram(server.local, this.#surroundings);
    const address = this.#addressOf('admin');
    const settled = (): Promise<void> => settle({ ...server, address, pause, look: () => program.readAll() });
    const failed = await this.#do('the end', server.process, settled);
    const check = (): Promise<void> => fsck(this.#memory.bytes, this.#disk);
    return failed ?? this.#do('fsck', this.#loop.world, check);
  }

  /** Runs `task` as a process and the loop until it is over. Answers what went wrong. */
  async #do(what: string, process: Process, task: () => Promise<void>): Promise<string | undefined> {
    let isDone = false;
    let failure: unknown;
    void this.#in(process, task)
      .catch((error: unknown) => {
        failure = error;
      })
      .finally(() => {
        isDone = true;
      });
    const late = await this.#until(what, () => isDone);
    if (failure !== undefined) return failure instanceof Error ? `${what}: ${failure.stack}` : what;
    return late;
  }

  #in(process: Process, task: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#loop.after(0, () => void task().then(resolve, reject), process);
    });
  }

  async #until(what: string, done: () => boolean): Promise<string | undefined> {
    const ended = await this.#loop.run(
      () => done() || this.#memory.violation !== undefined || this.#unexpected !== undefined,
      runMsMax,
    );
    if (this.#memory.violation !== undefined) return this.#memory.violation.message;
    if (this.#unexpected !== undefined) {
      const error = this.#unexpected;
      return `unexpected: ${error instanceof Error ? error.stack : 'no error'}`;
    }
    return ended === 'done' ? undefined : `${what}: ${ended}`;
  }

  /** What fails here is a fault of the simulation or of the product. */
  async #guarded(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#unexpected ??= error;
    }
  }

  #logged(fields: object, message: string): void {
    const client: unknown = Reflect.get(fields, 'client');
    const isEnd = message === 'layouts revoked, fencing' || message === 'client ended';
    this.#say(`  server: ${message} ${JSON.stringify(fields)}`);
    const who = isEnd && typeof client === 'number' ? this.#memory.fenced(client) : undefined;
    if (who === undefined) return;
    this.#history.revoked(who.name);
    const isObedient = this.#clients.some(({ process }) => process === who);
    if (!this.#scene.calm || this.#over || !isObedient || this.#loop.now - who.quietSince < 2 * leaseMs) return;
    this.#unexpected ??= new Error(`${who.name} is fenced, and nothing kept it from doing what it was asked`);
  }

  #say(line: string): void {
    this.#trace.push(`${this.#loop.now.toFixed(3).padStart(12)}  ${line}`);
  }
}
