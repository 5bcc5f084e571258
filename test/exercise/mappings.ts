/** Shared mappings of files, which stay when the descriptors behind them are closed (mmap(2)). */
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../posix/support/constants.ts';
import { invoke, peek, poke } from '../posix/support/libc.ts';
import { call } from './calls.ts';
import type { Outcome } from './operations.ts';

const page = 4096;

interface Range {
  readonly offset: number;
  readonly length: number;
}

interface Mapping {
  readonly address: bigint;
  /** Where the bytes asked for begin: mappings begin with a page. */
  readonly skip: number;
  readonly length: number;
}

export class Mappings {
  readonly #maps = new Map<number, Mapping>();

  map(map: number, fd: number, range: Range, writes: boolean): Outcome {
    if (this.#maps.has(map)) this.unmap(map);
    const mapping = mapped(fd, range, writes);
    if (typeof mapping === 'string') return mapping;
    this.#maps.set(map, mapping);
    return 0;
  }

  unmap(map: number): Outcome {
    const mapping = this.#maps.get(map);
    if (mapping === undefined) return undefined;
    this.#maps.delete(map);
    return unmapped(mapping);
  }

  unmapAll(): void {
    for (const map of this.#maps.keys()) this.unmap(map);
  }

  /** @param length that may be touched */
  peek(map: number, length: number): Outcome {
    const mapping = this.#maps.get(map);
    return mapping === undefined ? 'EFAULT' : peek(startOf(mapping), length);
  }

  poke(map: number, bytes: Buffer): Outcome {
    const mapping = this.#maps.get(map);
    if (mapping === undefined) return 'EFAULT';
    poke(startOf(mapping), bytes);
    return 0;
  }

  readOnce(fd: number, range: Range): Outcome {
    const mapping = mapped(fd, range, false);
    if (typeof mapping === 'string') return mapping;
    const bytes = peek(startOf(mapping), range.length);
    unmapped(mapping);
    return bytes;
  }

  writeOnce(fd: number, range: Range, bytes: Buffer): Outcome {
    const mapping = mapped(fd, range, true);
    if (typeof mapping === 'string') return mapping;
    poke(startOf(mapping), bytes);
    unmapped(mapping);
    return 0;
  }
}

function mapped(fd: number, { offset, length }: Range, writes: boolean): Mapping | string {
  const skip = offset % page;
  const protection = writes ? PROT_READ | PROT_WRITE : PROT_READ;
  const { result, errno } = invoke('mmap', [null, skip + length, protection, MAP_SHARED, fd, offset - skip]);
  return errno ?? { address: BigInt(result), skip, length };
}

function unmapped({ address, skip, length }: Mapping): Outcome {
  return call('munmap', address, skip + length);
}

function startOf({ address, skip }: Mapping): bigint {
  return address + BigInt(skip);
}
