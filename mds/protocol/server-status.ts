/** What STATUS tells: the filesystem, the server, its clients, their layouts and the recalls under way. */
import { type Static, Type } from 'typebox';
import type { FilesystemStatus } from '../../fs/engine/filesystem.ts';
import type { StateId } from '../../layout/types.ts';
import { bytes, Ino, Length, stateIdFromWire, stateIdToWire, Text, U32, U53, WireStateId } from './fields.ts';
import { wireLimits } from './limits.ts';

export const clientStates = ['active', 'fenced', 'expired', 'returning', 'courtesy', 'reclaiming'] as const;
/** From before a restart: `returning`: not back yet; `reclaiming`: back, and RECLAIM_COMPLETE is still to come. `courtesy`: its lease is over, and nobody needs what it has. */
export type ClientState = (typeof clientStates)[number];

export interface ClientStatus {
  readonly id: number;
  readonly owner: Uint8Array;
  readonly implementation: string;
  readonly state: ClientState;
  /** Until its lease ends; 0 when it has. */
  readonly leaseLeftMs: number;
  readonly sessions: number;
  readonly connections: number;
  readonly opens: number;
  readonly quarantinedBytes: number;
}

export const layoutStates = ['held', 'recalling', 'revoked'] as const;

export interface LayoutStatus {
  readonly client: number;
  readonly ino: number;
  readonly stateid: StateId;
  readonly state: (typeof layoutStates)[number];
  readonly heldMs: number;
  readonly segments: readonly { readonly iomode: 1 | 2; readonly offset: number; readonly length: number }[];
}

/** An operation that waits for layouts to come back. */
export interface BreakStatus {
  readonly ino: number;
  readonly offset: number;
  readonly length: number;
  readonly reason: string;
  readonly waitingMs: number;
}

/** A client that lost its layouts and may still reach the device. */
export interface FenceStatus {
  readonly client: number;
  /** Of fencing (docs/fencing.md): the one that was asked last, or is. */
  readonly provider: string;
  readonly attempts: number;
  /** Until the next attempt; undefined: one is under way, or there is nothing to try. */
  readonly retryMs: number | undefined;
  readonly error: string | undefined;
  /** In quarantine for it. */
  readonly bytes: number;
}

/** What the attempts of a provider came to. */
export interface FenceCount {
  readonly provider: string;
  readonly fenced: number;
  readonly waiting: number;
  readonly failed: number;
}

/** Session buffers; bytes. */
export interface BufferStatus {
  /** Of all clients. */
  readonly bytesMax: number;
  readonly clients: readonly { readonly client: number; readonly count: number; readonly bytes: number }[];
}

/** Since the server began. */
export interface ServerCounters {
  readonly requests: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly layoutsGranted: number;
  readonly layoutsCommitted: number;
  readonly recallsSent: number;
  readonly layoutsReturned: number;
  readonly layoutsRevoked: number;
  readonly protocolErrors: number;
}

export interface ServerStatus {
  readonly filesystem: FilesystemStatus;
  readonly uptimeMs: number;
  readonly leaseMs: number;
  /** Of the grace period after a restart; 0 when it is over. */
  readonly graceLeftMs: number;
  readonly addresses: readonly string[];
  readonly clients: readonly ClientStatus[];
  readonly layouts: readonly LayoutStatus[];
  readonly breaks: readonly BreakStatus[];
  readonly fences: readonly FenceStatus[];
  readonly counters: ServerCounters;
  readonly fenceCounts: readonly FenceCount[];
  readonly buffers: BufferStatus;
  /** More clients, layouts, segments, breaks or fences exist than are listed. */
  readonly truncated: boolean;
}

const rows = { maxItems: wireLimits.statusRowsMax };

/**
 * uuid, label, device, generation, block size, blocks by role, inodes, read-only, reason of the shutdown or null, inodes
 * that the tree copy under way has taken or null, trees being removed, inodes of them gone, hundredths of a
 * percent of the blocks that are kept for root.
 */
const WireFilesystem = Type.Tuple([
  Text,
  Text,
  Text,
  U53,
  U32,
  /** total, reserved, free, file, shared, provisional, quarantined, freeing, withheld, bad */
  Type.Tuple([U53, U53, U53, U53, U53, U53, U53, U53, U53, U53]),
  U53,
  Type.Boolean(),
  Type.Union([Text, Type.Null()]),
  Type.Union([U53, Type.Null()]),
  U53,
  U53,
  U32,
]);
/** id, owner, implementation, state (clientStates), lease left ms, sessions, connections, opens, quarantined bytes. */
const WireClient = Type.Tuple([
  U53,
  bytes(0, wireLimits.ownerMax),
  Text,
  Type.Integer({ minimum: 0, maximum: clientStates.length - 1 }),
  U53,
  U32,
  U32,
  U32,
  U53,
]);
/** client, ino, stateid, state (layoutStates), held ms, segments (iomode, offset, length). */
const WireLayout = Type.Tuple([
  U53,
  Ino,
  WireStateId,
  Type.Integer({ minimum: 0, maximum: layoutStates.length - 1 }),
  U53,
  Type.Array(Type.Tuple([Type.Union([Type.Literal(1), Type.Literal(2)]), U53, Length]), {
    maxItems: wireLimits.statusSegmentsMax,
  }),
]);
/** ino, offset, length, reason, waiting ms. */
const WireBreak = Type.Tuple([Ino, U53, Length, Text, U53]);
/** client, provider, attempts, ms until the next or null, error or null, bytes. */
const WireFence = Type.Tuple([
  U53,
  Text,
  U53,
  Type.Union([U53, Type.Null()]),
  Type.Union([Type.String({ maxLength: wireLimits.statusErrorMax }), Type.Null()]),
  U53,
]);
/** provider, fenced, waiting, failed. */
const WireFenceCount = Type.Tuple([Text, U53, U53, U53]);
/** most bytes of all clients; client, buffers, bytes. */
const WireBuffers = Type.Tuple([U53, Type.Array(Type.Tuple([U53, U53, U53]), rows)]);
/** requests, bytes read, bytes written, layouts granted, committed, recalls sent, layouts returned, revoked, protocol errors. */
const WireCounters = Type.Tuple([U53, U53, U53, U53, U53, U53, U53, U53, U53]);

export const WireServerStatus = Type.Tuple([
  WireFilesystem,
  U53,
  U53,
  U53,
  Type.Array(Text, { maxItems: 64 }),
  Type.Array(WireClient, rows),
  Type.Array(WireLayout, rows),
  Type.Array(WireBreak, rows),
  Type.Array(WireFence, { maxItems: wireLimits.statusFencesMax }),
  WireCounters,
  Type.Array(WireFenceCount, { maxItems: wireLimits.statusProvidersMax }),
  WireBuffers,
  Type.Boolean(),
]);
export type WireServerStatus = Static<typeof WireServerStatus>;

export function serverStatusToWire(s: ServerStatus): WireServerStatus {
  const { blocks } = s.filesystem;
  const most = wireLimits.statusRowsMax;
  return [
    [
      s.filesystem.uuid,
      s.filesystem.label,
      s.filesystem.device,
      s.filesystem.generation,
      s.filesystem.blockSize,
      [
        blocks.total,
        blocks.reserved,
        blocks.free,
        blocks.file,
        blocks.shared,
        blocks.provisional,
        blocks.quarantined,
        blocks.freeing,
        blocks.withheld,
        blocks.bad,
      ],
      s.filesystem.inodes,
      s.filesystem.readOnly,
      s.filesystem.shutdown ?? null,
      s.filesystem.copying ?? null,
      s.filesystem.reaping.trees,
      s.filesystem.reaping.inodes,
      s.filesystem.reserve,
    ],
    s.uptimeMs,
    s.leaseMs,
    s.graceLeftMs,
    [...s.addresses],
    s.clients
      .slice(0, most)
      .map((c) => [
        c.id,
        c.owner,
        c.implementation,
        clientStates.indexOf(c.state),
        c.leaseLeftMs,
        c.sessions,
        c.connections,
        c.opens,
        c.quarantinedBytes,
      ]),
    s.layouts
      .slice(0, most)
      .map((l) => [
        l.client,
        l.ino,
        stateIdToWire(l.stateid),
        layoutStates.indexOf(l.state),
        l.heldMs,
        l.segments.slice(0, wireLimits.statusSegmentsMax).map((g) => [g.iomode, g.offset, g.length]),
      ]),
    s.breaks.slice(0, most).map((b) => [b.ino, b.offset, b.length, b.reason, b.waitingMs]),
    s.fences
      .slice(0, wireLimits.statusFencesMax)
      .map((f) => [
        f.client,
        f.provider,
        f.attempts,
        f.retryMs ?? null,
        f.error?.slice(0, wireLimits.statusErrorMax) ?? null,
        f.bytes,
      ]),
    [
      s.counters.requests,
      s.counters.bytesRead,
      s.counters.bytesWritten,
      s.counters.layoutsGranted,
      s.counters.layoutsCommitted,
      s.counters.recallsSent,
      s.counters.layoutsReturned,
      s.counters.layoutsRevoked,
      s.counters.protocolErrors,
    ],
    s.fenceCounts.map((f) => [f.provider, f.fenced, f.waiting, f.failed]),
    [s.buffers.bytesMax, s.buffers.clients.slice(0, most).map((b) => [b.client, b.count, b.bytes])],
    s.truncated ||
      s.fences.length > wireLimits.statusFencesMax ||
      [s.clients, s.layouts, s.breaks, s.buffers.clients].some((list) => list.length > most) ||
      s.layouts.some((l) => l.segments.length > wireLimits.statusSegmentsMax),
  ];
}

export function serverStatusFromWire(wire: WireServerStatus): ServerStatus {
  const [filesystem, uptimeMs, leaseMs, graceLeftMs, addresses, clients, layouts, breaks, ...tail] = wire;
  const [fences, counters, fenceCounts, [bytesMax, buffers], truncated] = tail;
  const [uuid, label, device, generation, blockSize, blocks, inodes, readOnly, shutdown, ...work] = filesystem;
  const [copying, reapedTrees, reapedInodes, reserve] = work;
  const [total, reserved, free, file, shared, provisional, quarantined, freeing, withheld, bad] = blocks;
  const [requests, bytesRead, bytesWritten, layoutsGranted, layoutsCommitted, recallsSent, ...rest] = counters;
  const [layoutsReturned, layoutsRevoked, protocolErrors] = rest;
  return {
    filesystem: {
      uuid,
      label,
      device,
      generation,
      blockSize,
      blocks: { total, reserved, free, file, shared, provisional, quarantined, freeing, withheld, bad },
      inodes,
      readOnly,
      shutdown: shutdown ?? undefined,
      copying: copying ?? undefined,
      reserve,
      reaping: { trees: reapedTrees, inodes: reapedInodes },
    },
    uptimeMs,
    leaseMs,
    graceLeftMs,
    addresses,
    clients: clients.map(
      ([id, owner, implementation, state, leaseLeftMs, sessions, connections, opens, quarantinedBytes]) => ({
        id,
        owner,
        implementation,
        state: clientStates[state] ?? 'active',
        leaseLeftMs,
        sessions,
        connections,
        opens,
        quarantinedBytes,
      }),
    ),
    layouts: layouts.map(([client, ino, stateid, state, heldMs, segments]) => ({
      client,
      ino,
      stateid: stateIdFromWire(stateid),
      state: layoutStates[state] ?? 'held',
      heldMs,
      segments: segments.map(([iomode, offset, length]) => ({ iomode, offset, length })),
    })),
    breaks: breaks.map(([ino, offset, length, reason, waitingMs]) => ({ ino, offset, length, reason, waitingMs })),
    fences: fences.map(([client, provider, attempts, retryMs, error, held]) => ({
      client,
      provider,
      attempts,
      retryMs: retryMs ?? undefined,
      error: error ?? undefined,
      bytes: held,
    })),
    counters: {
      requests,
      bytesRead,
      bytesWritten,
      layoutsGranted,
      layoutsCommitted,
      recallsSent,
      layoutsReturned,
      layoutsRevoked,
      protocolErrors,
    },
    fenceCounts: fenceCounts.map(([provider, fenced, waiting, failed]) => ({ provider, fenced, waiting, failed })),
    buffers: { bytesMax, clients: buffers.map(([client, count, bytesOf]) => ({ client, count, bytes: bytesOf })) },
    truncated,
  };
}
