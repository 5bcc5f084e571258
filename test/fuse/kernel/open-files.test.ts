/** Which open files go past the kernel's page cache, and what keeps them and its pages apart. */
import { EventEmitter, once } from 'node:events';
import { beforeEach, describe, expect, test } from 'vitest';
import { accessTimes } from '../../../fs/fuse/kernel/access-times.ts';
import type { Caller, Handle, Vfs, WritePlace } from '../../../fs/vfs.ts';
import { MemoryVfs } from '../../support/memory-vfs.ts';
import { FakeKernel, type ReplyMessage, u32, u64 } from './wire.ts';

const [directIo, keepCache] = [1, 2];
const [readOnly, writeOnly, readWrite, append, dsync] = [0, 1, 2, 0o2000, 0o10000];

/** A `Vfs` that notes how it is written to, and lets no write through while it is told to hold them. */
class Noting extends MemoryVfs {
  readonly ways: string[] = [];
  gate: Promise<void> | undefined;

  writePastPages(handle: Handle, offset: number, data: Uint8Array, by: Caller, at?: WritePlace): number {
    this.ways.push('past pages');
    return super.write(handle, offset, data, by, at);
  }

  override fsync(): void {
    this.ways.push('fsync');
  }
}

/** The same with writes that wait. */
function waiting(vfs: Noting): Vfs {
  return new Proxy<Vfs>(vfs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const call = (): unknown => Reflect.apply(value, target, args);
        return key === 'write' && vfs.gate !== undefined ? vfs.gate.then(call) : call();
      };
    },
  });
}

const writeFields = (handle: number, offset: number, flags: number) =>
  [u64(handle), u64(offset), u32(4), u32(0), u64(0), u32(flags), u32(0), Buffer.from('data')] as const;
const flagsOf = (opened: ReplyMessage): number => opened.payload.readUInt32LE(8);
const handleOf = (opened: ReplyMessage): number => Number(opened.payload.readBigUInt64LE(0));

describe('a file', () => {
  let vfs: Noting;
  let kernel: FakeKernel;
  let nodeId: number;
  const open = (flags: number): Promise<ReplyMessage> => kernel.ask('open', { nodeId }, u32(flags), u32(0));
  const close = (handle: number): Promise<ReplyMessage> =>
    kernel.ask('release', { nodeId }, u64(handle), u32(0), u32(0), u64(0));
  const read = (handle: number, offset: number, size: number): Promise<ReplyMessage> =>
    kernel.ask('read', { nodeId }, u64(handle), u64(offset), u32(size), u32(0), u64(0), u32(0), u32(0));
  const write = (handle: number, offset: number, flags = writeOnly): Promise<ReplyMessage> =>
    kernel.ask('write', { nodeId }, ...writeFields(handle, offset, flags));

  beforeEach(async () => {
    vfs = new Noting();
    kernel = new FakeKernel(waiting(vfs), { accessTimes: accessTimes(['noatime']), directIo: false, announced: false });
    const made = await kernel.ask('create', {}, u32(0o101), u32(0o644), u32(0), u32(0), 'f');
    nodeId = Number(made.payload.readBigUInt64LE(0));
    expect(made.payload.readUInt32LE(128 + 8)).toBe(directIo | keepCache);
    await close(Number(made.payload.readBigUInt64LE(128)));
  });

  test.each([
    ['O_RDONLY', readOnly, keepCache],
    ['O_WRONLY', writeOnly, keepCache | directIo],
    ['O_WRONLY | O_APPEND', writeOnly | append, keepCache | directIo],
    ['O_RDWR', readWrite, keepCache],
  ])('opened by %s is answered with the flags %3$i', async (_name, flags, expected) => {
    expect(flagsOf(await open(flags))).toBe(expected);
  });

  test('keeps its pages for a writer as long as somebody can read it by them', async () => {
    const readers = [handleOf(await open(readOnly)), handleOf(await open(readWrite))];
    for (const reader of readers) {
      expect(flagsOf(await open(writeOnly))).toBe(keepCache);
      await close(reader);
    }
    expect(flagsOf(await open(writeOnly))).toBe(keepCache | directIo);
  });

  test('has no pages to drop where nobody has read since', async () => {
    const writer = handleOf(await open(writeOnly));
    await write(writer, 0);
    const reader = handleOf(await open(readOnly));
    await read(reader, 8192, 8192);
    await write(writer, 0);
    await write(writer, 8188);
    await write(writer, 16_384);
    expect(vfs.ways).toEqual([]);
  });

  test('is rid of the pages that a reader has filled when a write past them is answered', async () => {
    const writer = handleOf(await open(writeOnly));
    const reader = handleOf(await open(readWrite));
    await read(reader, 8192, 4096);
    await read(reader, 16_384, 4096);
    for (const offset of [8189, 8192, 20_479]) await write(writer, offset);
    expect(vfs.ways).toEqual(['past pages', 'past pages', 'past pages']);
    // Through the pages they change with the file.
    await write(reader, 8192, readWrite);
    expect(vfs.ways).toHaveLength(3);
    await close(reader);
    await write(writer, 8192);
    expect(vfs.ways).toHaveLength(3);
  });

  test('to which others append has its end where nobody knows', async () => {
    const writer = handleOf(await open(writeOnly | append));
    const reader = handleOf(await open(readOnly));
    await read(reader, 8192, 4096);
    await write(writer, 0, writeOnly | append);
    await write(writer, 12_288, writeOnly | append);
    expect(vfs.ways).toEqual(['past pages']);
  });

  test('is given to a reader when the writes past its pages are through', async () => {
    const writer = handleOf(await open(writeOnly));
    const gate = new EventEmitter();
    vfs.gate = once(gate, 'open').then(() => undefined);
    const written = kernel.post('write', { nodeId }, ...writeFields(writer, 0, writeOnly));
    const opened = open(readOnly);
    const another = await open(writeOnly);
    expect(flagsOf(another)).toBe(keepCache | directIo);
    const answered = (): readonly number[] => kernel.replies.map(({ unique }) => unique);
    expect(answered()).not.toContain(written);
    vfs.gate = undefined;
    gate.emit('open');
    expect(flagsOf(await opened)).toBe(keepCache);
    const order = answered();
    expect(order.indexOf(written)).toBeGreaterThan(-1);
    expect(order.indexOf(written)).toBeLessThan(order.length - 1);
  });

  test('is synced by the write where the kernel will not ask for it', async () => {
    const writer = handleOf(await open(writeOnly | dsync));
    await write(writer, 0, writeOnly | dsync);
    expect(vfs.ways).toEqual(['fsync']);
    const reader = handleOf(await open(readWrite | dsync));
    await write(reader, 0, readWrite | dsync);
    expect(vfs.ways).toEqual(['fsync']);
  });
});
