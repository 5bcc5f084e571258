/** What mkfs does: checks everything, then makes the metadata directory and, last, the superblocks. */
import type { BarDevice } from '../../fs/bar/device.ts';
import { formatFilesystem, requireFormattable } from '../../fs/engine/engine.ts';
import { inspectSuperblocks } from '../../fs/engine/superblocks.ts';
import { FsError } from '../../fs/errors.ts';
import { labelBytesMax, type Superblock } from '../../fs/format/superblock.ts';
import { newUuid, sameUuid, uuidFromText, uuidToText } from '../../fs/format/uuid.ts';
import { limits } from '../../fs/limits.ts';
import { readBinding } from '../../fs/meta/binding.ts';
import { destroyLevelStore, openLevelStore } from '../../fs/meta/level-store.ts';
import { devicePath, metadataDir } from './places.ts';
import { ExitError } from './program.ts';
import { foreignSignature } from './signatures.ts';
import { openIdleDevice } from './volume.ts';

export interface FormatRequest {
  readonly device: string;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly label: string;
  readonly uuid: string | undefined;
  readonly blockSize: number;
  readonly meta: string | undefined;
  readonly volatile: boolean;
  /** Hundredths of a percent of the blocks. */
  readonly reserve: number;
}

export interface Formatted {
  readonly device: string;
  readonly kind: BarDevice['kind'];
  readonly cacheMode: BarDevice['cacheMode'];
  readonly accessWidth: number;
  readonly busAddress: bigint;
  readonly uuid: string;
  readonly label: string;
  readonly blockSize: number;
  readonly blocks: number;
  readonly volatile: boolean;
  readonly reservedPercent: number;
  readonly metadata: string;
  readonly dryRun: boolean;
  /** Metadata of the filesystem that stood there before; it may belong to a copy of the device as well. */
  readonly leftBehind: string | undefined;
}

/** @throws FsError, ExitError (something stands there and `force` is off) */
export async function format(request: FormatRequest): Promise<Formatted> {
  requireOptions(request);
  const device = await openIdleDevice(await devicePath(request.device), !request.dryRun);
  try {
    requireFormattable(device);
    const before = superblockOn(device, request.force);
    const uuid = request.uuid === undefined ? newUuid() : uuidFromText(request.uuid);
    const metadata = metadataDir(uuidToText(uuid), request.meta);
    await makeRoom(metadata, before, request);
    if (!request.dryRun) await write(device, uuid, metadata, request);
    const old = before === undefined ? undefined : metadataDir(uuidToText(before.uuid), undefined);
    return {
      device: device.path,
      kind: device.kind,
      cacheMode: device.cacheMode,
      accessWidth: device.accessWidth,
      busAddress: device.busAddress,
      uuid: uuidToText(uuid),
      label: request.label,
      blockSize: limits.blockSize,
      blocks: device.size / limits.blockSize,
      volatile: request.volatile,
      reservedPercent: request.reserve / 100,
      metadata,
      dryRun: request.dryRun,
      leftBehind: old !== undefined && old !== metadata && (await bindingIn(old)) !== 'none' ? old : undefined,
    };
  } finally {
    await device.close();
  }
}

function requireOptions({ label, blockSize }: FormatRequest): void {
  if (blockSize !== limits.blockSize) {
    throw new FsError('EINVAL', { detail: `block size ${blockSize} is not supported: only ${limits.blockSize} is` });
  }
  if (Buffer.byteLength(label) > labelBytesMax || label.includes('\0')) {
    throw new FsError('EINVAL', { detail: `the label takes at most ${labelBytesMax} bytes of UTF-8` });
  }
}

/** The filesystem that stands on the device, to be overwritten. @throws ExitError when `force` is off */
function superblockOn(device: BarDevice, force: boolean): Superblock | undefined {
  const found = inspectSuperblocks(device);
  const foreign = foreignSignature(device);
  if (!force) {
    if (found.kind === 'ok') {
      const { uuid, label } = found.superblock;
      refuse(device, `an iopmemfs filesystem, label ${JSON.stringify(label)}, UUID ${uuidToText(uuid)}`);
    }
    if (found.kind === 'newer') refuse(device, `an iopmemfs filesystem of a newer version (${found.formatVersion})`);
    if (found.kind === 'damaged') refuse(device, `a damaged iopmemfs filesystem (${found.why})`);
    if (foreign !== undefined) refuse(device, foreign);
  }
  return found.kind === 'ok' ? found.superblock : undefined;
}

function refuse(device: BarDevice, what: string): never {
  throw new ExitError(1, `${device.path}: seems to hold ${what} (EEXIST)\nuse -f to overwrite it`);
}

/**
 * A metadata directory is only ever replaced if it is the one of the filesystem being overwritten, and was named by
 * --meta or -U: metadata that still belongs to some device would be lost otherwise.
 */
async function makeRoom(metadata: string, before: Superblock | undefined, request: FormatRequest): Promise<void> {
  const owner = await bindingIn(metadata);
  if (owner === 'none') return;
  const ours = before !== undefined && owner !== 'unknown' && sameUuid(owner, before.uuid);
  if (!ours || !request.force) {
    const whose = owner === 'unknown' ? 'something' : `the metadata of filesystem ${uuidToText(owner)}`;
    const detail = `already holds ${whose}: remove it if it is not needed any more, or give another --meta DIR`;
    throw new FsError('EEXIST', { path: metadata, detail });
  }
  if (!request.dryRun) await destroyLevelStore(metadata);
}

/** The UUID of the filesystem whose metadata is in a directory. @throws FsError EBUSY (in use), EACCES, EIO */
async function bindingIn(metadata: string): Promise<Uint8Array | 'none' | 'unknown'> {
  try {
    const store = await openLevelStore(metadata, { create: false });
    try {
      return readBinding(store).uuid;
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENOENT') return 'none';
    if (error instanceof FsError && error.code === 'EUCLEAN') return 'unknown';
    throw error;
  }
}

async function write(device: BarDevice, uuid: Uint8Array, metadata: string, request: FormatRequest): Promise<void> {
  const store = await openLevelStore(metadata, { create: true });
  try {
    await formatFilesystem({
      device,
      store,
      uuid,
      label: request.label,
      volatile: request.volatile,
      reserve: request.reserve,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
    });
  } catch (error) {
    await store.close();
    await destroyLevelStore(metadata);
    throw error;
  }
  await store.close();
}

/** The table that mkfs prints, in the form of mkfs.xfs(8). */
export function formatTable(made: Formatted): string {
  const size = made.blocks * made.blockSize;
  const rows: readonly (readonly [string, string, string, string])[] = [
    ['meta-data', made.device, `uuid=${made.uuid}`, `label=${JSON.stringify(made.label)}`],
    ['', made.metadata, 'store=leveldb', ''],
    [
      'data',
      '',
      `bsize=${made.blockSize}`,
      `blocks=${made.blocks}, size=${size}, usable=${made.blocks - 2}, reserved=${made.reservedPercent}%`,
    ],
    [
      'device',
      '',
      `kind=${made.kind}`,
      `cache=${made.cacheMode}, access=${made.accessWidth}, volatile=${made.volatile ? 1 : 0}`,
    ],
    ['', '', `bus=0x${made.busAddress.toString(16)}`, ''],
    ['naming', '', `namemax=${limits.nameMax}`, `symlinkmax=${limits.symlinkMax}`],
    ['log', 'group commit', 'sync=1', `interval=${limits.groupIntervalMs} ms`],
  ];
  const place = Math.max(...rows.map((row) => row[1].length));
  return rows
    .map(([section, where, first, rest]) =>
      `${section.padEnd(9)}=${where.padEnd(place)} ${first.padEnd(22)} ${rest}`.trimEnd(),
    )
    .join('\n');
}
