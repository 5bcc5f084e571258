/** What is open and mapped, and what the calls on it do to the bytes behind. */
import { O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_TRUNC, S_IFLNK, S_IFSOCK } from '../posix/support/constants.ts';
import type { Node } from './node.ts';
import type { FallocateMode, Outcome } from './operations.ts';

export const accessMask = 3;

export interface OpenFile {
  readonly node: Node;
  readonly flags: number;
  position: number;
}

export interface Mapping {
  readonly node: Node;
  readonly isWritable: boolean;
  readonly offset: number;
  readonly length: number;
}

export function isMappable(
  file: OpenFile,
  writes: boolean,
  range: { readonly offset: number; readonly length: number },
): boolean {
  const { node, flags } = file;
  if (!node.isFile || range.length === 0 || range.offset + range.length > node.size) return false;
  return (flags & accessMask) === 2 || (!writes && (flags & accessMask) === 0);
}

/** What open(2) refuses of something that is there. */
export function opening(node: Node, flags: number): string | undefined {
  if (node.type === S_IFLNK) return (flags & O_DIRECTORY) === 0 ? 'ELOOP' : 'ENOTDIR';
  if ((flags & O_CREAT) !== 0 && node.isDirectory) return 'EISDIR';
  if ((flags & O_DIRECTORY) !== 0 && !node.isDirectory) return 'ENOTDIR';
  if (node.isDirectory) {
    if ((flags & accessMask) !== 0 || (flags & O_TRUNC) !== 0) return 'EISDIR';
    return (flags & O_DIRECT) === 0 ? undefined : 'EINVAL';
  }
  return node.type === S_IFSOCK ? 'ENXIO' : undefined;
}

export function put(node: Node, offset: number, data: Buffer): void {
  if (offset + data.length > node.size) resize(node, offset + data.length);
  node.bytes.set(data, offset);
}

export function resize(node: Node, size: number): void {
  const bytes = Buffer.alloc(size);
  node.bytes.copy(bytes);
  node.bytes = bytes;
}

export function fallocate({ node, flags }: OpenFile, mode: FallocateMode, offset: number, length: number): Outcome {
  if (offset < 0 || length <= 0) return 'EINVAL';
  if ((flags & accessMask) === 0) return 'EBADF';
  const end = offset + length;
  switch (mode) {
    case 'allocate':
      if (end > node.size) resize(node, end);
      return 0;
    case 'keep':
      return 0;
    case 'zero':
      if (end > node.size) resize(node, end);
      node.bytes.fill(0, offset, end);
      return 0;
    case 'punch':
    case 'zeroKeep':
      node.bytes.fill(0, Math.min(offset, node.size), Math.min(end, node.size));
      return 0;
  }
}

export function copy(from: OpenFile, offset: number, to: OpenFile, toOffset: number, length: number): Outcome {
  if (from.node.isDirectory || to.node.isDirectory) return 'EISDIR';
  if ((from.flags & accessMask) === 1 || (to.flags & accessMask) === 0) return 'EBADF';
  if ((to.flags & O_APPEND) !== 0) return 'EBADF';
  const count = Math.max(0, Math.min(length, from.node.size - offset));
  if (from.node === to.node && toOffset + count > offset && toOffset < offset + count) return 'EINVAL';
  if (count > 0) put(to.node, toOffset, Buffer.from(from.node.bytes.subarray(offset, offset + count)));
  return count;
}
