import { FsError } from '../../fs/errors.ts';
import { decodeSuperblock } from '../../fs/format/superblock.ts';
import { uuidToText } from '../../fs/format/uuid.ts';
import { limits } from '../../fs/limits.ts';
import type { DeviceInfo } from '../devices.ts';
import { candidates, type DeviceChoice, isUuid, named } from './candidates.ts';
import type { SynchronousEngine } from './engine.ts';
import { openMmapEngine } from './mmap.ts';
import { type Challenge, prove } from './proof.ts';
import type { Way } from './way.ts';

/** The memory itself, mapped into this process: where client and server share a machine, a bus or an image. */
export class MmapWay implements Way {
  readonly name = 'mmap';
  readonly #choice: DeviceChoice;
  readonly #challenge: (deviceId: string) => Promise<Challenge>;
  #opened: { readonly path: string; readonly engine: SynchronousEngine } | undefined;

  /** `challenge`: DEVICE_CHALLENGE for a device id, or for the device of the filesystem. */
  constructor(choice: DeviceChoice, challenge: (deviceId: string) => Promise<Challenge>) {
    this.#choice = choice;
    this.#challenge = challenge;
  }

  async check(): Promise<void> {
    const { device, root } = this.#choice;
    if (device !== undefined && !isUuid(device)) await named(device, undefined, root);
  }

  async reach(info: DeviceInfo): Promise<SynchronousEngine> {
    const { device } = this.#choice;
    if (device !== undefined && isUuid(device) && device.toLowerCase() !== info.uuid) {
      throw new FsError('ENODEV', { detail: `filesystem ${device} was asked for, the server's is ${info.uuid}` });
    }
    if (info.blockSize !== limits.blockSize) {
      throw new FsError('ENODEV', { detail: `has blocks of ${info.blockSize} bytes, not ${limits.blockSize}` });
    }
    const before = this.#opened?.path;
    const again = before === undefined ? undefined : await this.#try(before, info);
    if (again !== undefined && typeof again !== 'string') return again;
    const reasons: string[] = [];
    for await (const path of candidates(info, this.#choice)) {
      const found = await this.#try(path, info);
      if (typeof found !== 'string') return found;
      reasons.push(found);
    }
    throw new FsError('ENODEV', { detail: reasons.join('; ') });
  }

  /** The mapping stays for the next incarnation, and is proven anew then. */
  async forget(): Promise<void> {}

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.engine.close();
  }

  /** Answers the engine, or what is wrong with the path. @throws ClientError of DEVICE_CHALLENGE */
  async #try(path: string, info: DeviceInfo): Promise<SynchronousEngine | string> {
    try {
      if (this.#opened?.path !== path) {
        await this.close();
        this.#opened = { path, engine: await openMmapEngine(path, info.accessWidth) };
      }
      const { engine } = this.#opened;
      requireAlike(engine, info);
      await prove(engine, () => this.#challenge(info.deviceId));
      return engine;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      await this.close();
      return `${path}: ${error.context.detail ?? error.message}`;
    }
  }
}

/**
 * What tells most other memory apart before the server is asked to write into its own; the superblock is written at each mount.
 * @throws FsError ENODEV
 */
function requireAlike(engine: SynchronousEngine, info: DeviceInfo): void {
  if (engine.size < info.size) throw other(`has ${engine.size} bytes, the server's has ${info.size}`);
  const block = new Uint8Array(limits.blockSize);
  engine.read(0, block);
  const found = decodeSuperblock(block);
  if (found.kind !== 'ok') throw other(`has no superblock that this program knows (${found.kind})`);
  const { uuid, generation } = found.superblock;
  if (uuidToText(uuid) !== info.uuid) throw other(`is filesystem ${uuidToText(uuid)}, the server's is ${info.uuid}`);
  if (generation !== info.generation) {
    throw other(`is of generation ${generation}, the server's of ${info.generation}: a copy?`);
  }
}

function other(detail: string): FsError {
  return new FsError('ENODEV', { detail });
}
