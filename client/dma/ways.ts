import { operations } from '../../mds/protocol/index.ts';
import { Devices, type EngineChoice } from '../devices.ts';
import type { Session } from '../session.ts';
import { MmapWay } from './mmap-way.ts';
import type { Challenge } from './proof.ts';
import { RmaWay } from './rma-way.ts';
import type { Way } from './way.ts';

/** As in ConnectOptions. */
export interface WayOptions {
  readonly device?: string | undefined;
  readonly deviceDirectories?: readonly string[] | undefined;
  readonly engine?: EngineChoice | undefined;
}

/** The devices of a session, with all ways to them that the options allow. */
export function devicesFor(session: Session, { device, deviceDirectories, engine }: WayOptions): Devices {
  const isNone = device === 'none';
  const ways = waysTo(session, isNone ? undefined : device, deviceDirectories ?? []);
  return new Devices(session, ways, engine ?? (isNone ? 'server' : undefined));
}

/** The fastest first. */
function waysTo(session: Session, device: string | undefined, directories: readonly string[]): readonly Way[] {
  const challenge = async (deviceId: string): Promise<Challenge> => {
    const id = deviceId === '' ? null : Buffer.from(deviceId, 'hex');
    const [storageOffset, nonce] = await session.call(operations.DEVICE_CHALLENGE, [id]);
    return { storageOffset, nonce };
  };
  const mmap = new MmapWay({ device, directories, root: '/' }, challenge);
  // shm reaches processes of one machine only, which can map the device as well.
  return [mmap, new RmaWay(session, { providers: ['verbs', 'tcp'] })];
}
