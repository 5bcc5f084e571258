import type { BarDevice } from '../fs/bar/device.ts';
import { FsError } from '../fs/errors.ts';
import { uuidToText } from '../fs/format/uuid.ts';
import { busAddressFromWire, deviceChange, operations } from '../mds/protocol/index.ts';
import type { DmaEngine } from './dma/engine.ts';
import type { DirectWay, Way } from './dma/way.ts';
import { ClientError, type ClientStatus } from './errors.ts';
import type { Session } from './session.ts';

/** A device as the server describes it (GETDEVICEINFO). */
export interface DeviceInfo {
  /** 32 hex digits; meaningful to this client in this incarnation only. Empty: the device of the filesystem. */
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

/** What is known of one way of the bytes. */
export interface WayReport {
  readonly way: DirectWay | 'server';
  /** `used`: by files whose layouts allow it. `untried`: no file needed it yet, or a faster one got there. */
  readonly state: 'used' | 'refused' | 'untried';
  /** Why it was refused. */
  readonly reason?: string;
}

/** Which ways there are: all, the fastest that gets there; or one only. */
export type EngineChoice = DirectWay | 'server';

/** The server keeps this client from the device: the reason is its own. */
const refusals: ReadonlySet<ClientStatus> = new Set(['ACCESS', 'PERM', 'NOTSUPP', 'LAYOUTUNAVAILABLE']);

/** The devices that layouts name, and the way to them from here. */
export class Devices {
  readonly #session: Session;
  readonly #ways: readonly Way[];
  readonly #forced: EngineChoice | undefined;
  readonly #known = new Map<string, Promise<Reach>>();
  readonly #refused = new Map<DirectWay, string>();
  #used: DirectWay | undefined;
  #unreached: string | undefined;
  #forgetting: Promise<void> | undefined;

  /** `ways`: the fastest first. */
  constructor(session: Session, ways: readonly Way[], forced: EngineChoice | undefined) {
    this.#session = session;
    this.#ways = ways.filter(({ name }) => forced === undefined || name === forced);
    this.#forced = forced;
    if (forced === 'server') this.#unreached = 'no device, as asked for';
  }

  /** What the program named must be here. @throws ClientError NO_DEVICE */
  async check(): Promise<void> {
    for (const way of this.#ways) await way.check?.();
  }

  /** The way that was asked for must be there. @throws ClientError NO_DEVICE, naming why not */
  async requireForced(): Promise<void> {
    if (this.#forced === undefined || this.#forced === 'server') return;
    const reach = await this.#resolve(null);
    if (reach.kind === 'unreached') throw new ClientError('NO_DEVICE', reach.reason);
  }

  /** Why no direct access is possible, if that is known. */
  get unreached(): string | undefined {
    return this.#unreached;
  }

  /** How bytes go now, and why not otherwise; the fastest first. */
  get ways(): readonly WayReport[] {
    const direct = this.#ways.map(({ name }): WayReport => {
      const reason = this.#refused.get(name);
      if (reason !== undefined) return { way: name, state: 'refused', reason };
      return { way: name, state: this.#used === name ? 'used' : 'untried' };
    });
    return [...direct, { way: 'server', state: 'used' }];
  }

  /** @throws ClientError of GETDEVICEINFO */
  resolve(deviceId: Uint8Array): Promise<Reach> {
    const id = Buffer.from(deviceId).toString('hex');
    let reach = this.#known.get(id);
    if (reach === undefined) {
      reach = this.#resolve(deviceId);
      this.#known.set(id, reach);
      reach.catch(() => this.#known.delete(id));
    }
    return reach;
  }

  /** Device ids of the server are kept here. */
  get anyKnown(): boolean {
    return this.#known.size > 0;
  }

  /** Device ids end with the incarnation, and with a fence. */
  forget(): void {
    this.#known.clear();
    this.#refused.clear();
    this.#used = undefined;
    if (this.#forced !== 'server') this.#unreached = undefined;
    const forgetting = Promise.all(this.#ways.map((way) => way.forget())).then(() => {
      if (this.#forgetting === forgetting) this.#forgetting = undefined;
    });
    this.#forgetting = forgetting;
  }

  /** Settles when nothing is under way any more of what was begun before `forget`; undefined: nothing is. */
  get settled(): Promise<void> | undefined {
    return this.#forgetting;
  }

  async close(): Promise<void> {
    await Promise.all(this.#ways.map((way) => way.close()));
  }

  /** null: the device of the filesystem, without an id of it. */
  async #resolve(deviceId: Uint8Array | null): Promise<Reach> {
    const info = await this.#ask(deviceId);
    if (this.#unreached !== undefined) return { kind: 'unreached', info, reason: this.#unreached };
    for (const way of this.#ways) {
      try {
        const engine = await way.reach(info);
        this.#refused.delete(way.name);
        this.#used = way.name;
        return { kind: 'reached', info, engine };
      } catch (error) {
        if (!isReason(error)) throw error;
        this.#refused.set(way.name, detailOf(error));
      }
    }
    this.#unreached = [...this.#refused].map(([name, reason]) => `${name}: ${reason}`).join('; ');
    return { kind: 'unreached', info, reason: this.#unreached };
  }

  async #ask(deviceId: Uint8Array | null): Promise<DeviceInfo> {
    const [uuid, path, kind, size, blockSize, accessWidth, address, generation, key] = await this.#session.call(
      operations.GETDEVICEINFO,
      [deviceId, 1 << deviceChange.delete],
    );
    const busAddress = busAddressFromWire(address);
    return {
      deviceId: deviceId === null ? '' : Buffer.from(deviceId).toString('hex'),
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
  }
}

/** Says why a way does not get there; anything else is a failure of the session or of this program. */
function isReason(error: unknown): error is FsError | ClientError {
  if (error instanceof FsError) return true;
  return error instanceof ClientError && (error.status === 'NO_DEVICE' || refusals.has(error.status));
}

function detailOf(error: FsError | ClientError): string {
  return error instanceof FsError ? error.message : error.detail;
}

function widthOf(bytes: number): BarDevice['accessWidth'] {
  if (bytes === 1 || bytes === 4 || bytes === 8) return bytes;
  throw new ClientError('BAD_REPLY', `GETDEVICEINFO: an access width of ${bytes} bytes`);
}
