/** Jobs on the filesystem, and how scattered it is, as they stand on the wire. */
import { type Static, Type } from 'typebox';
import type { Fragmentation, JobRequest } from '../../fs/engine/filesystem.ts';
import { type JobStatus, jobKinds, jobStates } from '../../fs/engine/relocation/job.ts';
import { Ino, Text, U53 } from './fields.ts';
import { wireLimits } from './limits.ts';

/** The first element of a request. */
const request = { defragment: 0, evacuate: 1, resize: 2 } as const;

export const WireJobRequest = Type.Union([
  /** ino, null: all files */
  Type.Tuple([Type.Literal(request.defragment), Type.Union([Ino, Type.Null()])]),
  /** offset and length in bytes of the device, never to be used again */
  Type.Tuple([Type.Literal(request.evacuate), U53, U53, Type.Boolean()]),
  /** bytes, null: as large as the device */
  Type.Tuple([Type.Literal(request.resize), Type.Union([U53, Type.Null()])]),
]);
export type WireJobRequest = Static<typeof WireJobRequest>;

/** id, kind (jobKinds), state (jobStates), bytes in all, done, moved, ino at hand or null, ms, errno and detail or null. */
export const WireJobStatus = Type.Tuple([
  U53,
  Type.Integer({ minimum: 0, maximum: jobKinds.length - 1 }),
  Type.Integer({ minimum: 0, maximum: jobStates.length - 1 }),
  U53,
  U53,
  U53,
  Type.Union([Ino, Type.Null()]),
  U53,
  Type.Union([Type.Tuple([Text, Text]), Type.Null()]),
]);
export type WireJobStatus = Static<typeof WireJobStatus>;

/** files, fragmented, extents, ideal, bytes mapped, in huge pages, mappable by them; free extents, bytes of the largest. */
export const WireFragmentation = Type.Tuple([U53, U53, U53, U53, U53, U53, U53, U53, U53]);
export type WireFragmentation = Static<typeof WireFragmentation>;

export function jobRequestToWire(job: JobRequest): WireJobRequest {
  if (job.kind === 'defragment') return [request.defragment, job.ino ?? null];
  if (job.kind === 'resize') return [request.resize, job.size ?? null];
  return [request.evacuate, job.offset, job.length, job.retire];
}

export function jobRequestFromWire(wire: WireJobRequest): JobRequest {
  if (wire[0] === request.defragment) return { kind: 'defragment', ino: wire[1] ?? undefined };
  if (wire[0] === request.resize) return { kind: 'resize', size: wire[1] ?? undefined };
  const [, offset, length, retire] = wire;
  return { kind: 'evacuate', offset, length, retire };
}

export function jobStatusToWire(s: JobStatus): WireJobStatus {
  return [
    s.id,
    jobKinds.indexOf(s.kind),
    jobStates.indexOf(s.state),
    s.total,
    s.done,
    s.moved,
    s.ino ?? null,
    s.elapsedMs,
    s.error === undefined ? null : [s.error.code, s.error.detail.slice(0, wireLimits.textMax)],
  ];
}

export function jobStatusFromWire(wire: WireJobStatus): JobStatus {
  const [id, kind, state, total, done, moved, ino, elapsedMs, error] = wire;
  return {
    id,
    kind: jobKinds[kind] ?? 'defragment',
    state: jobStates[state] ?? 'failed',
    total,
    done,
    moved,
    ino: ino ?? undefined,
    elapsedMs,
    error: error === null ? undefined : { code: error[0], detail: error[1] },
  };
}

export function fragmentationToWire(f: Fragmentation): WireFragmentation {
  const { files, fragmentedFiles, extents, idealExtents, mappedBytes, hugePageBytes, hugeMappableBytes } = f;
  const ofFiles = [
    files,
    fragmentedFiles,
    extents,
    idealExtents,
    mappedBytes,
    hugePageBytes,
    hugeMappableBytes,
  ] as const;
  return [...ofFiles, f.freeExtents, f.largestFreeBytes];
}

export function fragmentationFromWire(wire: WireFragmentation): Fragmentation {
  const [files, fragmentedFiles, extents, idealExtents, mappedBytes, hugePageBytes, ...rest] = wire;
  const [hugeMappableBytes, freeExtents, largestFreeBytes] = rest;
  return {
    files,
    fragmentedFiles,
    extents,
    idealExtents,
    mappedBytes,
    hugePageBytes,
    hugeMappableBytes,
    freeExtents,
    largestFreeBytes,
  };
}
