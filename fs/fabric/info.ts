/** Which provider, and how: fi_getinfo(3). */
import { FsError } from '../errors.ts';
import { constant, flag, mrMode, offsets } from './abi.ts';
import { sharedName } from './leftovers.ts';
import { type Address, addressOf, libfabric, pointerAt, reasonOf, structure } from './library.ts';
import { type ProviderName, providers } from './providers.ts';

/** A description that fi_getinfo(3) answered. */
export interface Info {
  readonly at: Address;
  readonly provider: ProviderName;
  /** Keys are the provider's own, not chosen (FI_MR_PROV_KEY). */
  readonly givesKeys: boolean;
  /** Remote addresses are those of the target's process, not offsets into the registered range (FI_MR_VIRT_ADDR). */
  readonly isVirtual: boolean;
  /** Bytes of a key. */
  readonly keyBytes: number;
  readonly messageMax: number;
  free(): void;
}

/**
 * Reliable datagrams with one-sided reads and writes, which are complete when the target's memory has them
 * (FI_DELIVERY_COMPLETE: without it a write is complete when it has left, and with tcp that is before it arrives).
 * @param host the address to be reached at, where the provider has such addresses
 * @throws FsError ENOENT: libfabric is not installed; ENODEV: it has no such provider here
 */
export function findInfo(provider: ProviderName, host?: string): Info {
  const library = libfabric();
  const hints = library.dupinfo(0);
  const name = Buffer.from(`${providers[provider]}\0`);
  const out = Buffer.alloc(8);
  let result: number;
  try {
    describe(hints);
    const fabric = structure(pointerAt(hints + offsets.fi_info.fabric_attr), 64);
    fabric.setBigUint64(offsets.fi_fabric_attr.prov_name, BigInt(addressOf(name)), true);
    try {
      const source = provider === 'shm' ? sharedName() : host;
      const flags = source === undefined ? 0n : flag.FI_SOURCE;
      result = library.getinfo(library.versionAsked, source ?? null, null, flags, hints, out);
    } finally {
      // The name is ours, and not the library's to free.
      fabric.setBigUint64(offsets.fi_fabric_attr.prov_name, 0n, true);
    }
  } finally {
    library.freeinfo(hints);
  }
  if (result !== 0) {
    const detail = `no provider ${providers[provider]}${host === undefined ? '' : ` at ${host}`}: ${reasonOf(-result)}`;
    throw new FsError('ENODEV', { op: 'fi_getinfo', detail });
  }
  return read(Number(out.readBigUInt64LE()), provider);
}

function describe(hints: Address): void {
  const info = structure(hints, offsets.fi_info.addr_format);
  info.setBigUint64(offsets.fi_info.caps, flag.FI_RMA | flag.FI_MSG, true);
  info.setBigUint64(offsets.fi_info.mode, 0n, true);
  const part = (at: number, length: number): DataView => structure(pointerAt(hints + at), length);
  const { fi_tx_attr: tx, fi_ep_attr: ep, fi_domain_attr: domain } = offsets;
  part(offsets.fi_info.tx_attr, tx.op_flags + 8).setBigUint64(tx.op_flags, flag.FI_DELIVERY_COMPLETE, true);
  part(offsets.fi_info.ep_attr, ep.type + 4).setUint32(ep.type, constant.FI_EP_RDM, true);
  const attributes = part(offsets.fi_info.domain_attr, domain.mr_key_size + 8);
  // Each domain is used by one thread, the one that runs this.
  attributes.setUint32(domain.threading, constant.FI_THREAD_DOMAIN, true);
  // Without FI_MR_LOCAL: where a provider needs local memory registered, ofi_rxm does that by itself (fi_rxm(7)).
  attributes.setUint32(domain.mr_mode, mrMode.FI_MR_VIRT_ADDR | mrMode.FI_MR_ALLOCATED | mrMode.FI_MR_PROV_KEY, true);
}

function read(at: Address, provider: ProviderName): Info {
  const { fi_domain_attr: domain, fi_ep_attr: ep } = offsets;
  const attributes = structure(pointerAt(at + offsets.fi_info.domain_attr), domain.mr_key_size + 8);
  const endpoint = structure(pointerAt(at + offsets.fi_info.ep_attr), ep.max_msg_size + 8);
  const modes = attributes.getUint32(domain.mr_mode, true);
  return {
    at,
    provider,
    givesKeys: (modes & mrMode.FI_MR_PROV_KEY) !== 0,
    isVirtual: (modes & mrMode.FI_MR_VIRT_ADDR) !== 0,
    keyBytes: Number(attributes.getBigUint64(domain.mr_key_size, true)),
    messageMax: Number(endpoint.getBigUint64(ep.max_msg_size, true)),
    free: () => libfabric().freeinfo(at),
  };
}
