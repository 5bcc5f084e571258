import { FsError } from '../../fs/errors.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import type { Believed } from '../../fs/fuse/driver.ts';
import type { TopologyOptions } from '../../mds/topology.ts';
import { type DriverName, isDriverName } from './drivers.ts';
import { parseProviders } from './rma-providers.ts';
import { parseMicroseconds, parseMilliseconds, parseSeconds, parseSize } from './sizes.ts';
import { parseTopology } from './topology-options.ts';

/** What `-o` says, with later options winning over earlier ones as mount(8) has it. */
export interface ParsedMountOptions {
  /** What is mounted already gets other flags. */
  readonly remount: boolean;
  readonly readOnly: boolean;
  readonly allowOther: boolean;
  /** Past the kernel's page cache (mount.fuse3(8)). */
  readonly directIo: boolean;
  /** How long the kernel's next request is looked for without sleeping, ms; 0: not at all. */
  readonly pollMs: number | undefined;
  readonly driver: DriverName | undefined;
  /** Of a remote mount. */
  readonly believed: Believed;
  /** Of a remote mount: path of the BAR here, or 'none'. */
  readonly device: string | undefined;
  readonly meta: string | undefined;
  readonly listen: readonly string[];
  readonly leaseMs: number | undefined;
  readonly recallMs: number | undefined;
  readonly fenceHook: string | undefined;
  readonly fenceTimed: boolean;
  /** Bytes of all session buffers. */
  readonly buffers: number | undefined;
  readonly rma: readonly ProviderName[];
  readonly topology: TopologyOptions;
  /** For the kernel: nosuid, nodev, noexec and the like. */
  readonly kernel: readonly string[];
}

/** How long a remote mount believes names and attributes, in seconds, where nobody says otherwise. */
const believedSec = 1;

/** What `-o` takes, for those who ask for help. */
export const mountOptionsHelp = `
Mount options (-o), separated by commas:
  ro, rw, remount       read-only or not; remount changes what is mounted already
  nosuid, nodev, noexec, noatime, nodiratime, relatime, strictatime
                        as mount(8) has them; options for fstab(5) and systemd are passed over
  allow_other, no_allow_other
                        whether other users get in: for root yes, for others no unless given (docs/fuse.md)
  direct_io             read and write past the page cache: nothing twice in memory, a request for each call
  driver=kernel|fuse-native
                        our own driver (the default), or libfuse 2
  poll_us=N             look N microseconds for the next request before the daemon sleeps, 0 to 1000 (default: 200;
                        0 saves the processor time that it takes, and makes each request slower)
  device=PATH           of a mount over a server: the BAR as it is called here, none for no direct access
  entry_timeout=S, attr_timeout=S
                        of a mount over a server: so many seconds names and attributes are believed (default: 1)
  meta=DIR, listen=ADDRESS, lease_ms=MS, recall_ms=MS, fence_hook=PROGRAM, fence_timed, buffers=SIZE,
  topology=RULE, pci=ADDRESS, translate=WHO=OFFSET, rma=PROVIDER
                        as --meta, --listen, --lease-ms, --recall-ms, --fence-hook, --fence-timed, --topology, --pci,
                        --translate, --rma and --buffers of iopmemfs mount; listen, translate and rma again for more`;

/** Options that the kernel knows for every filesystem (mount(8), "Filesystem-independent mount options"). */
const forKernel = new Set(['nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'relatime', 'strictatime']);
/** Their opposites, which are the default: they only take one of the above back. */
const takesBack = new Map([
  ['suid', 'nosuid'],
  ['dev', 'nodev'],
  ['exec', 'noexec'],
  ['atime', 'noatime'],
  ['diratime', 'nodiratime'],
]);
/** Meant for mount(8), systemd and the init scripts, which hand them through (fstab(5), systemd.mount(5)). */
const forOthers =
  /^(defaults|auto|noauto|user|nouser|users|nousers|owner|group|nofail|remount|_netdev|comment=.*|x-.*|X-.*)$/;

/** What the kernel shows of a FUSE mount, and mount(8) hands back to us when it remounts. */
const shownByKernel = /^(default_permissions|(user_id|group_id|rootmode|max_read|blksize)=\d+)$/;

/**
 * @param sloppy mount(8) -s: options that nobody knows are left out instead of refused
 * @throws FsError EINVAL
 */
export function parseMountOptions(lists: readonly string[], sloppy: boolean): ParsedMountOptions {
  let readOnly = false;
  let allowOther: boolean | undefined;
  let directIo = false;
  let driver: DriverName | undefined;
  let device: string | undefined;
  let namesSec = believedSec;
  let attributesSec = believedSec;
  let meta: string | undefined;
  let leaseMs: number | undefined;
  let recallMs: number | undefined;
  let fenceHook: string | undefined;
  let fenceTimed = false;
  let buffers: number | undefined;
  let topology: string | undefined;
  let pci: string | undefined;
  const translate: string[] = [];
  const rma: ProviderName[] = [];
  let pollMs: number | undefined;
  const listen: string[] = [];
  const kernel = new Set<string>();
  const given = lists.flatMap((list) => list.split(',')).filter((each) => each !== '');
  const remount = given.includes('remount');
  for (const option of given) {
    const [key = '', value = ''] = splitOnce(option);
    if (option === 'ro' || option === 'rw') readOnly = option === 'ro';
    else if (option === 'allow_other') allowOther = true;
    else if (option === 'no_allow_other') allowOther = false;
    else if (option === 'direct_io') directIo = true;
    else if (key === 'driver') driver = requireDriver(value);
    else if (key === 'entry_timeout') namesSec = parseSeconds(value);
    else if (key === 'attr_timeout') attributesSec = parseSeconds(value);
    else if (key === 'device') device = requireValue(key, value);
    else if (key === 'meta') meta = requireValue(key, value);
    else if (key === 'listen') listen.push(requireValue(key, value));
    else if (key === 'lease_ms') leaseMs = parseMilliseconds(value);
    else if (key === 'recall_ms') recallMs = parseMilliseconds(value);
    else if (key === 'fence_hook') fenceHook = requireValue(key, value);
    else if (option === 'fence_timed') fenceTimed = true;
    else if (key === 'buffers') buffers = parseSize(value);
    else if (key === 'topology') topology = requireValue(key, value);
    else if (key === 'pci') pci = requireValue(key, value);
    else if (key === 'translate') translate.push(requireValue(key, value));
    else if (key === 'rma') rma.push(...parseProviders(value));
    else if (key === 'poll_us') pollMs = parseMicroseconds(value);
    else if (forKernel.has(option)) kernel.add(option);
    else if (takesBack.has(option)) kernel.delete(takesBack.get(option) ?? '');
    else if (!(remount && shownByKernel.test(option)) && !forOthers.test(option) && !sloppy) {
      throw new FsError('EINVAL', { detail: `unknown mount option ${JSON.stringify(option)}` });
    }
  }
  // As every filesystem on a disk: who may do what is decided by the modes of the files. FUSE lets only root say so, and
  // libfuse 2 does not tell us who asks, so there everything would be the daemon's.
  allowOther ??= process.geteuid?.() === 0 && driver !== 'fuse-native';
  return {
    remount,
    readOnly,
    allowOther,
    directIo,
    pollMs,
    driver,
    believed: { namesSec, attributesSec },
    device,
    meta,
    listen,
    leaseMs,
    recallMs,
    fenceHook,
    fenceTimed,
    buffers,
    rma,
    topology: parseTopology({ topology, pci, translate }),
    kernel: [...kernel],
  };
}

function requireDriver(value: string): DriverName {
  if (isDriverName(value)) return value;
  throw new FsError('EINVAL', { detail: `driver is kernel or fuse-native, not ${JSON.stringify(value)}` });
}

function requireValue(key: string, value: string): string {
  if (value === '') throw new FsError('EINVAL', { detail: `mount option ${key} needs a value` });
  return value;
}

function splitOnce(option: string): readonly string[] {
  const at = option.indexOf('=');
  return at === -1 ? [option] : [option.slice(0, at), option.slice(at + 1)];
}
