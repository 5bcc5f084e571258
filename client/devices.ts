import { stat } from 'node:fs/promises';
import type { BarDevice } from '../fs/bar/device.ts';
import { FsError } from '../fs/errors.ts';
import { decodeSuperblock } from '../fs/format/superblock.ts';
import { sameUuid, uuidToText } from '../fs/format/uuid.ts';
import { limits } from '../fs/limits.ts';
import { busAddressFromWire, deviceChange, operations } from '../mds/protocol/index.ts';
import type { DmaEngine, SynchronousEngine } from './dma/engine.ts';
import { openMmapEngine } from './dma/mmap.ts';
import { ClientError, withContext } from './errors.ts';
import type { Session } from './session.ts';

/** A device as the server describes it (GETDEVICEINFO). */
export interface DeviceInfo {
  /** 32 hex digits; meaningful to this client in this incarnation only. */
  readonly deviceId: string;
  readonly uuid: string;
  /** Where it is on the server's host. */
  readonly path: string;
  readonly kind: string;
  /** Bytes. */
  readonly size: number;
  readonly blockSize: number;
  readonly accessWidth: BarDevice['accessWidth'];
  /** Of byte 0, as this client reaches it; undefined where the memory has none. */
  readonly busAddress: bigint | undefined;
  readonly generation: number;
  /** Of this client for this device; renewed by a fence. */
  readonly key: Uint8Array;
}

export type Reach =
  | { readonly kind: 'reached'; readonly info: DeviceInfo; readonly engine: DmaEngine }
  | { readonly kind: 'unreached'; readonly info: DeviceInfo; readonly reason: string };

/** The devices that layouts name, and the way to them from here. */
export class Devices {
  readonly #session: Session;
  readonly #choice: string | undefined;
  readonly #known = new Map<string, Promise<Reach>>();
  #engine: Promise<SynchronousEngine> | undefined;
  #unreached: string | undefined;

  /** `choice`: path of the device as seen here, 'none' for no direct access; undefined: where the server says it is. */
  constructor(session: Session, choice: string | undefined) {
    this.#session = session;
    this.#choice = choice;
    if (choice === 'none') this.#unreached = 'no device, as asked for';
  }

  /** @throws ClientError NO_DEVICE when the path that was given is not there */
  async check(): Promise<void> {
    if (this.#choice === undefined || this.#choice === 'none') return;
    try {
      await stat(this.#choice);
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause && cause.code === 'EACCES' ? 'EACCES' : 'ENOENT';
      throw withContext(new FsError(code, { detail: 'the device is not here' }, cause), {
        syscall: 'connect',
        path: this.#choice,
      });
    }
  }

  /** Why no direct access is possible, if that is known. */
  get unreached(): string | undefined {
    return this.#unreached;
  }

  /** @throws ClientError of GETDEVICEINFO */
  resolve(deviceId: Uint8Array): Promise<Reach> {
    const id = Buffer.from(deviceId).toString('hex');
    let reach = this.#known.get(id);
    if (reach === undefined) {
      reach = this.#resolve(id, deviceId);
      this.#known.set(id, reach);
      reach.catch(() => this.#known.delete(id));
    }
    return reach;
  }

  /** Device ids of the server are kept here. */
  get anyKnown(): boolean {
    return this.#known.size > 0;
  }

  /** Device ids end with the incarnation, and with a fence; the mapping itself stays. */
  forget(): void {
    this.#known.clear();
    if (this.#choice !== 'none') this.#unreached = undefined;
  }

  async close(): Promise<void> {
    const engine = await this.#engine?.catch(() => undefined);
    this.#engine = undefined;
    await engine?.close();
  }

  async #resolve(deviceId: string, wireId: Uint8Array): Promise<Reach> {
    const [uuid, path, kind, size, blockSize, accessWidth, address, generation, key] = await this.#session.call(
      operations.GETDEVICEINFO,
      [wireId, 1 << deviceChange.delete],
    );
    const busAddress = busAddressFromWire(address);
    const info: DeviceInfo = {
      deviceId,
      uuid: uuidToText(uuid),
      path,
      kind,
      size,
      blockSize,
      accessWidth: widthOf(accessWidth),
      busAddress: busAddress === 0n ? undefined : busAddress,
      generation,
      key,
    };
    if (this.#unreached !== undefined) return { kind: 'unreached', info, reason: this.#unreached };
    const reach = await this.#open(info, uuid);
    if (reach.kind === 'unreached') this.#unreached = reach.reason;
    return reach;
  }

  async #open(info: DeviceInfo, uuid: Uint8Array): Promise<Reach> {
    const path = this.#choice ?? info.path;
    try {
      this.#engine ??= openMmapEngine(path, info.accessWidth);
      const engine = await this.#engine;
      const flaw = notTheSame(engine, info, uuid);
      if (flaw === undefined) return { kind: 'reached', info, engine };
      return { kind: 'unreached', info, reason: `${path}: ${flaw}` };
    } catch (error) {
      this.#engine = undefined;
      if (!(error instanceof FsError)) throw error;
      return { kind: 'unreached', info, reason: error.message };
    }
  }
}

function widthOf(bytes: number): BarDevice['accessWidth'] {
  if (bytes === 1 || bytes === 4 || bytes === 8) return bytes;
  throw new ClientError('BAD_REPLY', `GETDEVICEINFO: an access width of ${bytes} bytes`);
}

/** What tells the memory here apart from the one that the server means; the server rewrites the superblock at each mount. */
function notTheSame(engine: SynchronousEngine, info: DeviceInfo, uuid: Uint8Array): string | undefined {
  if (info.blockSize !== limits.blockSize) return `has blocks of ${info.blockSize} bytes, not ${limits.blockSize}`;
  if (engine.size < info.size) return `has ${engine.size} bytes, the server's has ${info.size}`;
  const block = new Uint8Array(limits.blockSize);
  engine.read(0, block);
  const found = decodeSuperblock(block);
  if (found.kind !== 'ok') return `has no superblock that this program knows (${found.kind})`;
  if (!sameUuid(found.superblock.uuid, uuid)) {
    return `is filesystem ${uuidToText(found.superblock.uuid)}, the server's is ${info.uuid}`;
  }
  if (found.superblock.generation !== info.generation) {
    return `is of generation ${found.superblock.generation}, the server's of ${info.generation}: a copy?`;
  }
  return undefined;
}
