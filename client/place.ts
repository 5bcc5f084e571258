import { busAddressFromWire, type operations, type ReplyOf, routeKinds } from '../mds/protocol/index.ts';

/** What the server says of the way from the PCI function of this client to the device (docs/topology.md). */
export interface Place {
  /** Layouts are given; otherwise all I/O goes through the server. */
  readonly allowed: boolean;
  /** undefined: none could be made out. */
  readonly route: (typeof routeKinds)[number] | undefined;
  /** Bridges on the way, as Linux counts them for peer-to-peer DMA; 0: the same function. */
  readonly distance: number | undefined;
  readonly reason: string;
  /** Of byte 0 of the device, as this function has to say it; undefined: the memory has none. */
  readonly busAddress: bigint | undefined;
}

export function placeFromWire([allowed, kind, distance, reason, address]: ReplyOf<
  typeof operations.CLIENT_DEVICE
>): Place {
  const busAddress = busAddressFromWire(address);
  return {
    allowed,
    route: kind === null ? undefined : routeKinds[kind],
    distance: distance ?? undefined,
    reason,
    busAddress: busAddress === 0n ? undefined : busAddress,
  };
}
