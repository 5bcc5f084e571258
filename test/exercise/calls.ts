/** System calls as the exerciser wants them: an errno or what they answered. */
import { type Argument, type CallName, cString, invoke } from '../posix/support/libc.ts';
import { decodeStatx, type Stat, statxSize } from '../posix/support/structs.ts';
import { statLines } from './node.ts';
import type { Outcome } from './operations.ts';

const statxAll = 0xfff;

export function statx(dirfd: number, path: Buffer | string, flags: number): Stat | string {
  const buffer = Buffer.alloc(statxSize);
  const { errno } = invoke('statx', [dirfd, typeof path === 'string' ? cString(path) : path, flags, statxAll, buffer]);
  return errno ?? decodeStatx(buffer);
}

export function lines(stat: Stat | string): Outcome {
  return typeof stat === 'string' ? stat : statLines(stat);
}

export function call(name: CallName, ...args: readonly Argument[]): number | string {
  const { result, errno } = invoke(name, args);
  return errno ?? Number(result);
}

/** A call that fills a new buffer of `size` bytes, which comes as argument `index`; what it filled, or the errno. */
export function filled(name: CallName, index: number, size: number, ...args: readonly Argument[]): Outcome {
  const buffer = Buffer.alloc(size);
  const { result, errno } = invoke(name, args.toSpliced(index, 0, buffer));
  return errno ?? buffer.subarray(0, Number(result));
}

export function offsetOf(offset: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(offset));
  return bytes;
}
