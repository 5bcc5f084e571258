/**
 * Which peers may have layouts, by where they hang on the PCI fabric, and the bus addresses that they have to use
 * (docs/topology.md). A processor that loads and stores needs no route of its own: whoever names no PCI function is not judged.
 */
import { readFile, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { pciResourceOf } from '../fs/bar/sysfs.ts';
import { cpuForwards, type Route, readPciPath, routeBetween } from '../fs/bar/topology.ts';
import { FsError } from '../fs/errors.ts';

/** What an administrator asks of a route: `switch` as of p2pmem, `supported` as Linux does, `any`: he knows better. */
export const topologyRules = ['switch', 'supported', 'any'] as const;
export type TopologyRule = (typeof topologyRules)[number];

/** What one peer adds to the bus addresses of the device: it sees them through a bridge or an IOMMU of its own. */
export interface Translation {
  /** Its PCI address, or the owner of the client. */
  readonly who: string;
  /** Bytes; may be negative. */
  readonly add: bigint;
}

export interface TopologyOptions {
  readonly rule?: TopologyRule | undefined;
  /** The PCI function whose memory the device is; by default what the path of the device says. */
  readonly pci?: string | undefined;
  readonly translations?: readonly Translation[] | undefined;
  /** Where sysfs and procfs are. */
  readonly sysfs?: string | undefined;
  readonly procfs?: string | undefined;
}

export interface Verdict {
  readonly allowed: boolean;
  /** undefined: none could be made out. */
  readonly route: Route | undefined;
  readonly reason: string;
}

/** Addresses have 64 bits and wrap. */
const addressMask = (1n << 64n) - 1n;

export class Topology {
  readonly #rule: TopologyRule;
  readonly #devicePath: string;
  readonly #pci: string | undefined;
  readonly #translations: readonly Translation[];
  readonly #sysfs: string;
  readonly #procfs: string;

  /** @param devicePath where the device is on this host */
  constructor(devicePath: string, options: TopologyOptions = {}) {
    this.#devicePath = devicePath;
    this.#rule = options.rule ?? 'supported';
    this.#pci = options.pci;
    this.#translations = options.translations ?? [];
    this.#sysfs = options.sysfs ?? '/sys';
    this.#procfs = options.procfs ?? '/proc';
  }

  /** @param pci address of the function that is to read and write the device. @throws FsError EINVAL: it is none */
  async judge(pci: string): Promise<Verdict> {
    const route = await this.#route(pci);
    if (typeof route === 'string') {
      return { allowed: this.#rule === 'any', route: undefined, reason: this.#explained(route, false) };
    }
    const fits = route.kind === 'switch' || (this.#rule === 'supported' && route.kind === 'host-bridge');
    return { allowed: fits || this.#rule === 'any', route, reason: this.#explained(route.reason, fits) };
  }

  /** @param address of the device itself, as the bus has it; 0n: none, and none it stays. `pci`: of the client, if it named one */
  translated(address: bigint, owner: Uint8Array, pci: string | undefined): bigint {
    if (address === 0n) return address;
    const name = Buffer.from(owner).toString();
    const found = this.#translations.find(({ who }) => who === pci || who === name);
    return found === undefined ? address : (address + found.add) & addressMask;
  }

  #explained(reason: string, fits: boolean): string {
    if (fits) return reason;
    const allowed = { switch: 'only peers below one switch', supported: 'only routes known to work', any: 'any route' };
    return `${reason}; ${allowed[this.#rule]} ${this.#rule === 'any' ? 'is' : 'are'} allowed here`;
  }

  /** Or why there is none. */
  async #route(pci: string): Promise<Route | string> {
    const provider = this.#pci ?? (await pciOf(this.#devicePath));
    if (provider === undefined) return `${this.#devicePath} is not known to lie behind a PCI function`;
    try {
      const [from, to, cpuinfo] = await Promise.all([
        readPciPath(provider, this.#sysfs),
        readPciPath(pci, this.#sysfs),
        readFile(`${this.#procfs}/cpuinfo`, 'utf8'),
      ]);
      return routeBetween(from, to, cpuForwards(cpuinfo));
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENODEV') return error.message;
      throw error;
    }
  }
}

/** The function that a BAR belongs to, by its file in sysfs. */
async function pciOf(device: string): Promise<string | undefined> {
  const resource = pciResourceOf(await realpath(device));
  return resource === undefined ? undefined : basename(resource.folder);
}
