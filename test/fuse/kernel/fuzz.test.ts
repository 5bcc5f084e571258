/**
 * The driver and a real filesystem behind it, and a kernel that asks anything: `npm run fuzz` for a long run.
 * FUZZ_RUNS and FUZZ_SEED choose how long and which.
 */
import { constants } from 'node:os';
import { expect, test, vi } from 'vitest';
import { opcode } from '../../../fs/fuse/kernel/abi.ts';
import { Lab } from '../../support/filesystem.ts';
import { type Fuzzed, nextRequest, Random } from './fuzz.ts';
import { cursor, FakeKernel, type OpcodeName, type ReplyMessage, request, u32, u64 } from './wire.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 6);
const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32));
const requestsInRun = 600;

/** No reply, whatever they say (fuse.h). */
const unanswered: ReadonlySet<number> = new Set([
  opcode.forget,
  opcode.batchForget,
  opcode.interrupt,
  opcode.notifyReply,
]);

/** Bytes that the kernel insists on in a reply without error (the out arguments of fs/fuse). */
const exactly: Partial<Record<OpcodeName, number>> = {
  lookup: 128,
  mkdir: 128,
  mknod: 128,
  symlink: 128,
  link: 128,
  getattr: 104,
  setattr: 104,
  statx: 288,
  create: 144,
  tmpfile: 144,
  open: 16,
  opendir: 16,
  write: 8,
  statfs: 80,
  lseek: 8,
  copyFileRange: 8,
  copyFileRange64: 8,
  release: 0,
  releasedir: 0,
  unlink: 0,
  rmdir: 0,
  rename: 0,
  rename2: 0,
  fsync: 0,
  fsyncdir: 0,
  setxattr: 0,
  removexattr: 0,
  access: 0,
  fallocate: 0,
  syncfs: 0,
};

const errnos = new Set(Object.keys(constants.errno));

/** What the kernel would make of it. */
function check({ name, whole, room }: Fuzzed, { error, payload }: ReplyMessage): void {
  if (error !== 0) {
    expect(errnos).toContain(error);
    expect(payload.length).toBe(0);
    return;
  }
  if (!whole) return;
  const size = exactly[name];
  if (size !== undefined) expect([name, payload.length]).toEqual([name, size]);
  if (room === undefined) return;
  const isLength = room === 0 && (name === 'getxattr' || name === 'listxattr');
  expect(payload.length).toBeLessThanOrEqual(isLength ? 8 : room);
}

/** One kernel, its nodes and open files, until it is unmounted. */
async function run(lab: Lab, random: Random): Promise<void> {
  const kernel = new FakeKernel(lab.vfs);
  const features = [u32(7), u32(45), u32(131_072), u32(0xffffffff), u32(0xffffffff), new Uint8Array(44)];
  await kernel.ask('init', {}, ...features);
  kernel.replies.length = 0;
  const nodes: number[] = [1];
  const handles: number[] = [];
  const waiting = new Map<number, Fuzzed>();
  let unique = 100;

  const take = (): void => {
    for (const reply of kernel.replies.splice(0)) {
      if (reply.unique === 0) continue; // a notification
      const fuzzed = waiting.get(reply.unique);
      if (fuzzed === undefined) throw new Error(`a reply to ${reply.unique}, which does not wait for one`);
      waiting.delete(reply.unique);
      check(fuzzed, reply);
      if (reply.error !== 0) continue;
      if (reply.payload.length === 128 || reply.payload.length === 144)
        nodes.push(Number(reply.payload.readBigUInt64LE(0)));
      if (reply.payload.length === 144) handles.push(Number(reply.payload.readBigUInt64LE(128)));
      if (fuzzed.name === 'open' || fuzzed.name === 'opendir') handles.push(Number(reply.payload.readBigUInt64LE(0)));
    }
    for (const list of [nodes, handles]) if (list.length > 40) list.splice(1, 20);
  };

  for (let n = 0; n < requestsInRun; n++) {
    const fuzzed = nextRequest(random, { nodes, handles }, (unique += 2));
    if (!unanswered.has(fuzzed.bytes.readUInt32LE(4))) waiting.set(unique, fuzzed);
    void kernel.server.serve(cursor(fuzzed.bytes));
    take();
  }
  while (waiting.size > 0) {
    await new Promise((resolve) => setImmediate(resolve));
    take();
  }
  const root = { unique: 2, nodeId: 1 };
  void kernel.server.serve(cursor(request('getattr', root, u32(0), u32(0), u64(0))));
  expect(kernel.replies.at(-1)?.error).toBe(0);
  kernel.server.stop();
}

test(
  `any requests are answered once each, rightly or not at all, and the filesystem is whole afterwards (FUZZ_SEED=${seed})`,
  async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      for (let n = 0; n < runs; n++) {
        const lab = await Lab.create();
        try {
          await run(lab, new Random(seed + n));
          expect(warned.mock.calls.map(([warning]) => (warning instanceof Error ? warning.stack : warning))).toEqual(
            [],
          );
          expect(await lab.problems()).toEqual([]);
        } catch (error) {
          throw new Error(
            `FUZZ_SEED=${seed + n} FUZZ_RUNS=1: ${error instanceof Error ? error.message : String(error)}`,
            { cause: error },
          );
        } finally {
          await lab.remove();
        }
      }
    } finally {
      warned.mockRestore();
    }
  },
  60_000 + runs * 20_000,
);
