import { describe, expect, test } from 'vitest';
import { initFlag, initFlag2 } from '../../../fs/fuse/kernel/abi.ts';
import { MemoryVfs } from '../../support/memory-vfs.ts';
import { FakeKernel, u32 } from './wire.ts';

const everything = 0xffff_ffff;

function init(major: number, minor: number, flags: number, flags2 = everything, hasAcls = false) {
  const vfs = new MemoryVfs();
  const kernel = new FakeKernel(hasAcls ? Object.assign(vfs, { hasAcls }) : vfs);
  const reply = kernel.ask(
    'init',
    {},
    u32(major),
    u32(minor),
    u32(128 * 1024),
    u32(flags),
    u32(flags2),
    new Uint8Array(44),
  );
  return { kernel, reply };
}

describe('INIT', () => {
  test('agrees on the lower of the two minor versions', async () => {
    const { kernel, reply } = init(7, 39, everything);
    const { payload } = await reply;
    expect([payload.readUInt32LE(0), payload.readUInt32LE(4)]).toEqual([7, 39]);
    expect(kernel.ready).toBe(true);
    const newer = (await init(7, 99, everything).reply).payload;
    expect(newer.readUInt32LE(4)).toBe(45);
  });

  test('takes only what the kernel offers', async () => {
    const { payload } = await init(7, 45, initFlag.maxPages | initFlag.bigWrites, everything).reply;
    expect(payload.readUInt32LE(12)).toBe(initFlag.maxPages | initFlag.bigWrites);
    expect(payload.readUInt32LE(32)).toBe(0);
  });

  test('asks for 1 MiB requests, and neither for the writeback cache nor for remote locks nor to mask modes itself', async () => {
    const { payload } = await init(7, 45, everything).reply;
    const flags = payload.readUInt32LE(12);
    expect(payload.readUInt32LE(20)).toBe(2 ** 20);
    expect(payload.readUInt16LE(28)).toBe(256);
    expect(flags & (1 << 16)).toBe(0);
    expect(flags & ((1 << 1) | (1 << 10))).toBe(0);
    expect(flags & (1 << 6)).toBe(0);
    expect(payload.length).toBe(64);
  });

  test('for a filesystem with access control lists it masks modes itself, else the kernel does', async () => {
    const acls = initFlag.posixAcl | initFlag.dontMask | initFlag.setxattrExt;
    const { payload } = await init(7, 45, everything, everything, true).reply;
    expect(payload.readUInt32LE(12) & acls).toBe(acls);
    const plain = (await init(7, 45, everything).reply).payload;
    expect(plain.readUInt32LE(12) & acls).toBe(0);
    const old = (await init(7, 31, everything & ~initFlag.setxattrExt, 0, true).reply).payload;
    expect(old.readUInt32LE(12) & acls).toBe(0);
  });

  test('asks for the group of the directory and for mappings of direct opens, where the kernel has a second word', async () => {
    const { payload } = await init(7, 45, everything).reply;
    expect(payload.readUInt32LE(32)).toBe(
      initFlag2.createSuppGroup | initFlag2.hasExpireOnly | initFlag2.directIoAllowMmap,
    );
    const old = (await init(7, 35, everything & ~initFlag.initExt).reply).payload;
    expect(old.readUInt32LE(32)).toBe(0);
  });

  test('refuses a kernel older than 7.31', async () => {
    const { kernel, reply } = init(7, 30, everything);
    expect((await reply).error).toBe('EPROTO');
    expect(kernel.ready).toBe(false);
    expect(kernel.refused).toContain('7.30');
  });

  test('answers a higher major version with its own and waits for the next INIT', async () => {
    const { kernel, reply } = init(8, 1, everything);
    const { error, payload } = await reply;
    expect([error, payload.readUInt32LE(0)]).toEqual([0, 7]);
    expect(kernel.ready).toBe(false);
    expect(kernel.refused).toBeUndefined();
  });
});
