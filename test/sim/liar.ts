/**
 * A client that breaks every rule: written against docs/protocol.md alone, on the simulated network. It forgets layouts,
 * returns what it does not hold, commits what it did not write, lies about recalls or says nothing, sends what is no
 * message, and goes on touching what it was granted long after its lease. Whatever it does, it may hurt only itself: what
 * it was granted for writing, and has not given back by its own word.
 */
import type { SynchronousEngine } from '../../client/dma/engine.ts';
import { iomode } from '../../layout/types.ts';
import {
  callbacks,
  encodeFrame,
  exchangeFlag,
  type Frame,
  FrameDecoder,
  frameKind,
  type Operation,
  operations,
  type ReplyFrame,
  type RequestFrame,
  type RequestOf,
  type StatusName,
  status,
  statusName,
} from '../../mds/protocol/index.ts';
import type { Random } from '../exercise/random.ts';
import { names, usedBytes } from './content.ts';
import { sectorSize } from './dma.ts';
import type { Grant } from './held-grants.ts';
import { loop } from './loop.ts';
import { connect, type Socket } from './network.ts';

type WireState = RequestOf<typeof operations.CLOSE>[0];
type Answer = StatusName | 'silence';

/** What it answers recalls with for a while, before it takes to another lie. */
const answers: readonly [Answer, ...Answer[]] = [
  'OK',
  'OK',
  'DELAY',
  'NOMATCHING_LAYOUT',
  'BAD_STATEID',
  'SERVERFAULT',
  'silence',
];

/** Virtual ms. */
const replyMs = 500;

export interface LiarOptions {
  readonly owner: string;
  /** It never lets its lease end, and never gives back what it is asked for. */
  readonly stubborn: boolean;
  readonly random: Random;
  readonly engine: SynchronousEngine;
  /** What it was granted and has not given back, by its own word. */
  readonly reach: () => readonly Grant[];
  readonly say: (line: string) => void;
}

export class Liar {
  readonly #options: LiarOptions;
  readonly #replies = new Map<number, (frame: ReplyFrame | undefined) => void>();
  readonly #opens = new Map<number, WireState>();
  readonly #layouts = new Map<number, WireState>();
  readonly #sent: Buffer[] = [];
  readonly #devices: Uint8Array[] = [];
  /** For writing, the last first. */
  readonly #granted: { ino: number; offset: number; length: number; storage: number }[] = [];
  #socket: Socket | undefined;
  #session: Uint8Array | null = null;
  #rootIno = 1;
  #seqid = 0;
  #xid = 0;
  #verifier: number;
  #answer: Answer = 'OK';

  constructor(options: LiarOptions) {
    this.#options = options;
    this.#verifier = options.random.below(2 ** 30);
  }

  async step(): Promise<void> {
    const { random, stubborn } = this.#options;
    if (this.#session === null) return this.#begin();
    if (stubborn) return this.#hold();
    if (random.oneIn(6)) this.#answer = random.pick(answers);
    const steps: readonly [() => unknown, ...(() => unknown)[]] = [
      () => this.#open(),
      () => this.#get(),
      () => this.#get(),
      () => this.#get(),
      () => this.#touch(),
      () => this.#touch(),
      () => this.#touch(),
      () => this.#return(),
      () => this.#commit(),
      () => this.#repeat(),
      () => this.#misnumber(),
      () => this.#askForDevice(),
      () => loop().sleep(random.below(2500)),
      () => (random.oneIn(3) ? this.#break() : undefined),
    ];
    await random.pick(steps)();
  }

  async #hold(): Promise<void> {
    if (this.#opens.size < names.length) await this.#open();
    await this.#get();
    await this.#call(operations.SEQUENCE, []);
    this.#touch();
    // A new incarnation begins anew.
    if (this.#options.reach().length === 0) this.#break();
  }

  async #begin(): Promise<void> {
    this.#break();
    const socket = connect({ port: 1 });
    this.#socket = socket;
    const decoder = new FrameDecoder();
    socket.on('data', (chunk: Buffer) => {
      for (const frame of decoder.push(chunk)) this.#received(frame);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost();
    });
    await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), loop().sleep(replyMs)]);
    const { owner, random, stubborn } = this.#options;
    if (stubborn) this.#answer = random.pick(['DELAY', 'OK', 'silence']);
    // A new verifier is its word that it reaches nothing any more; the same one is not.
    if (random.oneIn(2)) this.#verifier++;
    const verifier = Buffer.alloc(8);
    verifier.writeUInt32LE(this.#verifier);
    const known = await this.#call(operations.EXCHANGE_ID, [
      Buffer.from(owner),
      verifier,
      exchangeFlag.USE_PNFS_MDS,
      'liar',
      100,
      [0, 0, []],
      null,
    ]);
    if (known === undefined) return;
    this.#rootIno = known[6];
    const session = await this.#call(operations.CREATE_SESSION, [known[0], known[1], 4, 2]);
    if (session === undefined) return;
    this.#session = session[0];
    this.#seqid = 0;
    if (random.oneIn(3)) await this.#reclaim();
    await this.#call(operations.RECLAIM_COMPLETE, []);
    if (random.oneIn(3)) await this.#reclaim();
  }

  /** What it was granted before, there or anywhere, or what is anybody's. */
  async #reclaim(): Promise<void> {
    const { random } = this.#options;
    const grant = random.pickAny(this.#granted);
    const ino = grant?.ino ?? 2 + random.below(60);
    const storage = (random.oneIn(2) ? grant?.storage : undefined) ?? random.below(256) * 2 * sectorSize;
    const claimed: [number, number, number] = [grant?.offset ?? 0, grant?.length ?? 2 * sectorSize, storage];
    await this.#call(operations.LAYOUTCOMMIT, [ino, null, [], null, null, [claimed]]);
  }

  async #open(): Promise<void> {
    const { random } = this.#options;
    const name = Buffer.from(random.pick(names));
    const opened = await this.#call(operations.OPEN, [[1, this.#rootIno, name], 3, false, false]);
    if (opened !== undefined) this.#opens.set(opened[1][0], opened[0]);
  }

  /** Sometimes with the open's stateid although it has a layout: it has forgotten that. */
  async #get(): Promise<void> {
    const { random } = this.#options;
    const [ino, open] = random.pickAny([...this.#opens]) ?? [];
    if (ino === undefined || open === undefined) return this.#open();
    const held = random.oneIn(4) ? undefined : this.#layouts.get(ino);
    const offset = random.below(16) * sectorSize;
    const length = random.oneIn(4) ? Infinity : (1 + random.below(8)) * sectorSize;
    const mode = random.oneIn(3) ? iomode.read : iomode.rw;
    const granted = await this.#call(operations.LAYOUTGET, [
      ino,
      held ?? open,
      mode,
      offset,
      length,
      1,
      100,
      random.oneIn(4),
    ]);
    if (granted === undefined) return;
    this.#layouts.set(ino, granted[0]);
    for (const [kind, at, bytes, , storage] of granted[2]) {
      if (kind === 0 || kind === 2) this.#granted.unshift({ ino, offset: at, length: bytes, storage });
    }
    this.#granted.splice(5);
    for (const [, , , device] of granted[2]) if (this.#devices.unshift(device) > 20) this.#devices.pop();
  }

  /** One that it was told of at any time, by any run of the server. */
  async #askForDevice(): Promise<void> {
    const device = this.#options.random.pickAny(this.#devices);
    if (device !== undefined) await this.#call(operations.GETDEVICEINFO, [device, 0]);
  }

  /** Whether it still may or not. */
  #touch(): void {
    const { random, reach, engine } = this.#options;
    const grant = random.pickAny(reach());
    if (grant === undefined) return;
    const at = grant.storage + random.below(grant.length / sectorSize) * sectorSize;
    const bytes = Buffer.alloc(sectorSize, 0xee);
    if (grant.writable) engine.write(at, bytes);
    else engine.read(at, bytes);
  }

  /** Something it holds, or not, of this file or of another. */
  async #return(): Promise<void> {
    const { random } = this.#options;
    const [ino] = random.pickAny([...this.#opens]) ?? [];
    const [, state] = random.pickAny([...this.#layouts]) ?? [];
    if (ino === undefined || state === undefined) return;
    const own = random.oneIn(3) ? state : (this.#layouts.get(ino) ?? state);
    const offset = random.below(8) * 2 * sectorSize;
    const length = random.oneIn(3) ? Infinity : (1 + random.below(4)) * 2 * sectorSize;
    const left = await this.#call(operations.LAYOUTRETURN, [
      1,
      ino,
      own,
      1 + random.below(3),
      offset,
      length,
      random.oneIn(9),
    ]);
    if (left === undefined) return;
    if (left[0] === null) this.#layouts.delete(ino);
    else this.#layouts.set(ino, left[0]);
  }

  /** What it has not written, does not hold, or what lies far behind the end. */
  async #commit(): Promise<void> {
    const { random } = this.#options;
    const [ino, state] = random.pickAny([...this.#layouts]) ?? [];
    if (ino === undefined || state === undefined) return;
    const offset = random.below(16) * sectorSize;
    const length = (1 + random.below(8)) * sectorSize;
    const last = random.oneIn(2) ? null : random.below(usedBytes);
    await this.#call(operations.LAYOUTCOMMIT, [ino, state, [[offset, length]], last, null, null]);
  }

  /** A message sent before, once more. */
  #repeat(): void {
    const again = this.#options.random.pickAny(this.#sent);
    if (again !== undefined) this.#socket?.write(again);
  }

  #misnumber(): void {
    const { random } = this.#options;
    const seqid = random.oneIn(2) ? this.#seqid + 2 + random.below(5) : random.below(2 ** 32);
    const number = random.oneIn(2) ? operations.SEQUENCE.number : random.below(100);
    const frame: RequestFrame = [0, ++this.#xid, this.#session, random.below(9), seqid, true, number, [1, 'x'], null];
    this.#socket?.write(encodeFrame(frame));
    if (random.oneIn(8)) this.#socket?.write(Buffer.from([0, 0, 0, 3, 0xc1, 0xff, 0]));
  }

  #break(): void {
    this.#socket?.destroy();
    this.#lost();
  }

  /** Its session may live on at the server; it has forgotten it. */
  #lost(): void {
    this.#socket = undefined;
    this.#session = null;
    this.#opens.clear();
    this.#layouts.clear();
    for (const settle of this.#replies.values()) settle(undefined);
    this.#replies.clear();
  }

  #received(frame: Frame): void {
    if (frame[0] === frameKind.reply) this.#replies.get(frame[1])?.(frame);
    if (frame[0] !== frameKind.callback || this.#answer === 'silence') return;
    this.#socket?.write(encodeFrame([frameKind.callbackReply, frame[1], status[this.#answer]]));
    this.#options.say(`  ${this.#options.owner} answers ${nameOf(frame[6])} with ${this.#answer}`);
  }

  /** undefined: refused, or no answer in time. */
  async #call<A extends unknown[], R>(operation: Operation<A, R>, args: A): Promise<R | undefined> {
    const xid = ++this.#xid;
    const inSession = this.#session !== null;
    if (inSession) this.#seqid = (this.#seqid + 1) >>> 0;
    const seqid = inSession ? this.#seqid : 0;
    const frame: RequestFrame = [0, xid, this.#session, 0, seqid, inSession, operation.number, args, null];
    const bytes = encodeFrame(frame);
    if (this.#sent.push(bytes) > 20) this.#sent.shift();
    const reply = await new Promise<ReplyFrame | undefined>((resolve) => {
      const settle = (answer: ReplyFrame | undefined): void => {
        this.#replies.delete(xid);
        resolve(answer);
      };
      this.#replies.set(xid, settle);
      loop().after(replyMs, () => settle(undefined));
      this.#socket?.write(bytes);
    });
    const answered = reply === undefined ? 'nothing' : (statusName(reply[2]) ?? reply[2]);
    this.#options.say(`  ${this.#options.owner} asks ${operation.name}: ${answered}`);
    if (reply === undefined || reply[2] === status.BADSESSION || reply[2] === status.SEQ_MISORDERED) this.#break();
    const results = reply?.[3];
    return reply?.[2] === status.OK && operation.isReply(results) ? results : undefined;
  }
}

function nameOf(callback: number): string {
  return callback === callbacks.CB_LAYOUTRECALL.number ? 'a recall' : `callback ${callback}`;
}
