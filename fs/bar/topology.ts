/**
 * The way that a transaction between two PCI functions takes, and how far it is, as Linux counts for peer-to-peer DMA
 * (calc_map_type_and_dist in drivers/pci/p2pdma.c): through a switch that both lie below, or through the root complex.
 */
import { open, readdir, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FsError } from '../errors.ts';

/** DOMAIN:BUS:DEVICE.FUNCTION, as sysfs writes it. */
const address = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

export interface PciFunction {
  readonly address: string;
  readonly vendor: number;
  readonly device: number;
  /** Its access control services send what comes from below up to the root complex; undefined: its registers cannot be read here. */
  readonly redirects: boolean | undefined;
}

/** A function and what it hangs on. */
export interface PciPath {
  /** It first, then the bridges above it, up to the root port; one alone for an endpoint of the root complex. */
  readonly functions: readonly PciFunction[];
  /** Root bus: `pci0000:00`. */
  readonly root: string;
  /** First function of the root bus if it is 00.0 or a root port: what the root complex is known by. */
  readonly host: { readonly vendor: number; readonly device: number } | undefined;
}

export type Route =
  /** Below one switch: no transaction goes further up. */
  | { readonly kind: 'switch'; readonly distance: number; readonly reason: string }
  /** Through a root complex that is known to pass it on. */
  | { readonly kind: 'host-bridge'; readonly distance: number; readonly reason: string }
  /** Through a root complex of which nobody knows whether it does. */
  | { readonly kind: 'unsupported'; readonly distance: number; readonly reason: string };

/** A root complex that forwards between its ports (pci_p2pdma_whitelist); `sameBridge`: only below one host bridge. */
interface KnownHost {
  readonly vendor: number;
  readonly devices: readonly number[] | 'any';
  readonly sameBridge?: true;
}

const intel = 0x8086;
const knownHosts: readonly KnownHost[] = [
  { vendor: intel, devices: [0x3c00, 0x3c01, 0x2f00, 0x2f01], sameBridge: true },
  { vendor: intel, devices: [0x2030, 0x2031, 0x2032, 0x2033, 0x2020, 0x09a2] },
  { vendor: intel, devices: [0x0b25, 0x0cfe, 0x11fb, 0x1212, 0x1216] },
  { vendor: intel, devices: [0x4940, 0x4942, 0x4944, 0x4946, 0x4948] },
  { vendor: 0x1ae0, devices: 'any' },
];

/**
 * The function at `pci` with all bridges above it.
 * @param sysfs where sysfs is mounted
 * @throws FsError EINVAL (no address), ENODEV (no such function here)
 */
export async function readPciPath(pci: string, sysfs = '/sys'): Promise<PciPath> {
  if (!address.test(pci)) throw new FsError('EINVAL', { detail: `${pci} is no PCI address: 0000:00:00.0` });
  let folder: string;
  try {
    folder = await realpath(join(sysfs, 'bus/pci/devices', pci));
  } catch (cause) {
    throw new FsError('ENODEV', { detail: `there is no PCI function ${pci} here` }, cause);
  }
  const functions: PciFunction[] = [];
  for (; address.test(basename(folder)); folder = dirname(folder)) functions.push(await readFunction(folder));
  return { functions, root: basename(folder), host: await readHost(folder) };
}

/** AMD since Zen forwards between all its root ports (cpu_supports_p2pdma). @param text of /proc/cpuinfo */
export function cpuForwards(text: string): boolean {
  const vendor = /^vendor_id\s*: (\S+)/m.exec(text)?.[1];
  const family = Number(/^cpu family\s*: (\d+)/m.exec(text)?.[1]);
  return vendor === 'AuthenticAMD' && family >= 0x17;
}

/**
 * @param provider the function with the BAR
 * @param client the one that reads and writes it
 * @param forwards `cpuForwards` of this machine
 */
export function routeBetween(provider: PciPath, client: PciPath, forwards: boolean): Route {
  const from = provider.functions;
  const to = client.functions;
  const up = from.findIndex(({ address: own }) => to.some((other) => other.address === own));
  const down = up < 0 ? -1 : to.findIndex(({ address: other }) => other === from[up]?.address);
  if (up < 0) {
    return throughHost(provider, client, from.length + to.length, forwards, 'no switch has both below it');
  }
  const between = [...from.slice(0, up + 1), ...to.slice(0, down)];
  const shared = from[up]?.address ?? '';
  const distance = up + down;
  const redirecting = between.filter(({ redirects }) => redirects !== false);
  if (redirecting.length === 0) return { kind: 'switch', distance, reason: `both lie below ${shared}` };
  const names = redirecting.map((each) => each.address).join(', ');
  const why = redirecting.some(({ redirects }) => redirects === undefined)
    ? `whether ${names} redirects upstream (ACS) cannot be read here: takes root`
    : `${names} redirects upstream (ACS)`;
  return throughHost(provider, client, distance, forwards, why);
}

function throughHost(provider: PciPath, client: PciPath, distance: number, forwards: boolean, why: string): Route {
  if (forwards) return { kind: 'host-bridge', distance, reason: `${why}; this processor forwards` };
  const sameBridge = provider.root === client.root;
  if (sameBridge && isKnown(provider, true))
    return { kind: 'host-bridge', distance, reason: `${why}; ${provider.root} forwards` };
  if (!sameBridge && isKnown(provider, false) && isKnown(client, false)) {
    return { kind: 'host-bridge', distance, reason: `${why}; ${provider.root} and ${client.root} forward` };
  }
  return { kind: 'unsupported', distance, reason: `${why}, and ${provider.root} is not known to forward` };
}

function isKnown({ host }: PciPath, sameBridge: boolean): boolean {
  if (host === undefined) return false;
  const known = knownHosts.find(
    ({ vendor, devices }) => vendor === host.vendor && (devices === 'any' || devices.includes(host.device)),
  );
  return known !== undefined && (sameBridge || known.sameBridge !== true);
}

async function readFunction(folder: string): Promise<PciFunction> {
  const [ids, config] = await Promise.all([readIds(folder), readConfig(join(folder, 'config'))]);
  return { address: basename(folder), ...ids, redirects: redirectsUpstream(config) };
}

async function readIds(folder: string): Promise<{ readonly vendor: number; readonly device: number }> {
  const [vendor, device] = await Promise.all([
    readFile(join(folder, 'vendor'), 'utf8'),
    readFile(join(folder, 'device'), 'utf8'),
  ]);
  return { vendor: Number(vendor.trim()), device: Number(device.trim()) };
}

async function isPciBridge(folder: string): Promise<boolean> {
  const code = Number((await readFile(join(folder, 'class'), 'utf8')).trim());
  return code >> 8 === 0x0604;
}

/** Configuration space, at most its 4096 bytes; those beyond 64 are for root only. */
async function readConfig(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(4096);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Redirection of requests, of completions, or egress control, is on in the access control services (PCI Express Base
 * Specification, Access Control Services extended capability, id 0x000d: control register at 6, bits 2, 3 and 5).
 */
function redirectsUpstream(config: Buffer): boolean | undefined {
  const standard = 64;
  if (config.length <= standard) return undefined;
  // Capabilities ascend in no order: each may be visited once.
  for (let at = 0x100, looks = 0; at >= 0x100 && at + 8 <= config.length && looks < 960; looks++) {
    const header = config.readUInt32LE(at);
    if ((header & 0xffff) === 0x000d) return (config.readUInt16LE(at + 6) & 0b10_1100) !== 0;
    at = header >>> 20;
  }
  return false;
}

/** pci_host_bridge_dev: the first function of the root bus, if it is 00.0 or a root port. */
async function readHost(folder: string): Promise<PciPath['host']> {
  const [first] = (await readdir(folder)).filter((name) => address.test(name)).sort();
  if (first === undefined) return undefined;
  const path = join(folder, first);
  return first.endsWith(':00.0') || (await isPciBridge(path)) ? await readIds(path) : undefined;
}
