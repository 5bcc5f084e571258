/** One-sided access without a metadata server: the real target process over an image, keys for whatever is asked for. */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LaidOut } from '../../client/dma/engine.ts';
import { RmaEngine, type RmaSession } from '../../client/dma/rma.ts';
import { findInfo } from '../../fs/fabric/info.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { iomode } from '../../layout/types.ts';
import { systemClock } from '../../mds/clock.ts';
import { silent } from '../../mds/log.ts';
import { operations } from '../../mds/protocol/index.ts';
import { type Key, RmaKeys } from '../../mds/rma/keys.ts';
import { TargetProcess } from '../../mds/rma/target-process.ts';
import type { EngineLab } from './dma-conformance.ts';

// The target process is started from its sources, as everything else of a test.
const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
if (!process.execArgv.includes(typescript)) process.execArgv.push('--import', typescript);

/** Why there is no such provider here; undefined: there is. */
export function missing(provider: ProviderName): string | undefined {
  try {
    findInfo(provider, '127.0.0.1').free();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const ino = 7;
const imageBytes = 2 ** 21;

export interface RmaLab extends EngineLab {
  readonly engine: RmaEngine;
  readonly grant: (access: 'read' | 'write') => Promise<void>;
  readonly client: number;
  /** The engine is told other keys than there are. */
  spoilKeys: boolean;
  /** The engine is told that keys for reading are for writing. */
  claimWritable: boolean;
  /** The engine is told this key. */
  borrowed: Uint8Array | undefined;
  /** The last one that the engine was told. */
  lastKey: Uint8Array | undefined;
}

/** A target process over an image, and any number of clients of it. */
export class RmaTarget {
  readonly keys: RmaKeys;
  readonly #dir: string;
  readonly #file: FileHandle;
  #process: TargetProcess | undefined;
  #clients = 0;

  private constructor(dir: string, file: FileHandle) {
    this.#dir = dir;
    this.#file = file;
    this.keys = new RmaKeys({
      providers: ['tcp', 'shm'],
      start: async () => {
        const device = { path: join(dir, 'image'), accessWidth: 1, writable: true } as const;
        this.#process = await TargetProcess.start(device, systemClock, silent);
        return this.#process;
      },
      now: () => systemClock.now(),
    });
  }

  static async start(): Promise<RmaTarget> {
    const dir = await mkdtemp('/dev/shm/iopmemfs-client-rma-');
    const file = await open(join(dir, 'image'), 'w+');
    await file.truncate(imageBytes);
    return new RmaTarget(dir, file);
  }

  /** The one that runs, or ran last. */
  get process(): TargetProcess | undefined {
    return this.#process;
  }

  lab(provider: ProviderName, writable = true, timeoutMs = 20_000): RmaLab {
    const client = ++this.#clients;
    const options = { size: imageBytes, writable, providers: [provider], timeoutMs };
    const tricks: Tricks = { spoilKeys: false, claimWritable: false, borrowed: undefined, lastKey: undefined };
    const engine = new RmaEngine(
      sessionOver(this.keys, client, () => lab),
      options,
    );
    const lab: RmaLab = Object.assign(tricks, {
      engine,
      client,
      peek: async (offset: number, length: number) =>
        (await this.#file.read(Buffer.alloc(length), 0, length, offset)).buffer,
      poke: async (offset: number, bytes: Uint8Array) => {
        await this.#file.write(bytes, 0, bytes.length, offset);
      },
      grant: (access: 'read' | 'write') => engine.prepare(wholeImage(access === 'write')),
      end: () => engine.close(),
    });
    return lab;
  }

  async stop(): Promise<void> {
    await this.keys.shutDown();
    await this.#file.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

type Tricks = Pick<RmaLab, 'spoilKeys' | 'claimWritable' | 'borrowed' | 'lastKey'>;

function told({ offset, length, storageOffset, writable, key, base }: Key, tricks: Tricks): unknown {
  tricks.lastKey = key;
  const spoiled = tricks.spoilKeys ? Buffer.from(key).map((byte) => byte ^ 0x5a) : (tricks.borrowed ?? key);
  return [offset, length, storageOffset, writable || tricks.claimWritable, spoiled, base];
}

/** The first MiB of the image. */
export function wholeImage(writable: boolean): readonly LaidOut[] {
  return [{ ino, offset: 0, length: 2 ** 20, storageOffset: 0, writable }];
}

/** What the handlers of the server do, without layouts. */
function sessionOver(keys: RmaKeys, client: number, tricks: () => Tricks): RmaSession {
  const { RMA_ATTACH, RMA_REGISTER, RMA_RELEASE } = operations;
  const results = async (args: unknown): Promise<unknown> => {
    if (RMA_ATTACH.isRequest(args)) return [await keys.attach(client, args[0], '127.0.0.1', args[1])];
    if (RMA_REGISTER.isRequest(args)) {
      const pieces = args[1].map(([offset, length, storageOffset, writable]) => {
        const isWritable = writable && !tricks().claimWritable;
        const mode = isWritable ? iomode.rw : iomode.read;
        return { ino: args[0], offset, length, storageOffset, writable: isWritable, iomode: mode };
      });
      const opened = await keys.register(
        client,
        async () => pieces,
        () => true,
      );
      return [opened.map((each) => told(each, tricks()))];
    }
    if (RMA_RELEASE.isRequest(args)) await keys.release(client);
    return [];
  };
  return {
    call: async (operation, args) => {
      const answer = await results(args);
      if (operation.isReply(answer)) return answer;
      throw new Error(`${operation.name}: not an answer of the protocol`);
    },
  };
}
