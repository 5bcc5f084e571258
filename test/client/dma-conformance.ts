import { describe, expect, test } from 'vitest';
import type { DmaEngine } from '../../client/dma/engine.ts';
import { pattern } from './rig.ts';

/** One engine over a device whose bytes the test can look at by another way. */
export interface EngineLab {
  readonly engine: DmaEngine;
  /** Bytes of the device, not through the engine. */
  readonly peek: (offset: number, length: number) => Promise<Uint8Array>;
  readonly poke: (offset: number, bytes: Uint8Array) => Promise<void>;
  /** Whatever makes transfers to the first MiB possible (a layout, keys); left out where nothing is needed. */
  readonly grant?: (access: 'read' | 'write') => Promise<void>;
  /** Removes everything; the engine may be closed already. */
  end(): Promise<void>;
}

/** What every DMA engine must do, whatever moves the bytes. `make` gives a device of at least 1 MiB. */
export function dmaConformance(name: string, make: (writable: boolean) => Promise<EngineLab>): void {
  const inLab = (what: string, run: (lab: EngineLab) => Promise<void>, writable = true): void =>
    test(what, async () => {
      const lab = await make(writable);
      try {
        await lab.grant?.(writable ? 'write' : 'read');
        await run(lab);
      } finally {
        await lab.end();
      }
    });

  describe(`DMA engine ${name}`, () => {
    inLab('has a name and a size', async ({ engine }) => {
      expect(engine.name).not.toBe('');
      expect(engine.size).toBeGreaterThanOrEqual(2 ** 20);
      expect(engine.writable).toBe(true);
    });

    for (const [offset, length] of [
      [0, 4096],
      [4096, 2 ** 20 - 4096],
      [1, 1],
      [4095, 2],
      [12_345, 54_321],
      [2 ** 20 - 1, 1],
    ] as const) {
      inLab(`writes ${length} bytes at ${offset} and nothing beside`, async ({ engine, peek }) => {
        const before = Buffer.from(await peek(0, 2 ** 20));
        const bytes = pattern(length, offset).fill(0x5a, length - (length % 4));
        await moved(engine, 'write', offset, bytes);
        bytes.copy(before, offset);
        expect(Buffer.compare(await peek(0, 2 ** 20), before)).toBe(0);
      });

      inLab(`reads ${length} bytes at ${offset} into the target and nothing beside`, async ({ engine, poke }) => {
        const bytes = pattern(length, offset + 1).fill(0xa5, length - (length % 4));
        await poke(offset, bytes);
        const memory = Buffer.alloc(length + 64, 0x77);
        await moved(engine, 'read', offset, memory.subarray(32, 32 + length));
        expect(memory.subarray(32, 32 + length).equals(bytes)).toBe(true);
        expect(memory.subarray(0, 32).every((byte) => byte === 0x77)).toBe(true);
        expect(memory.subarray(32 + length).every((byte) => byte === 0x77)).toBe(true);
      });
    }

    inLab('sees what others wrote since its last read', async ({ engine, poke }) => {
      const target = Buffer.alloc(8);
      await poke(64, Buffer.from('before..'));
      await engine.read(64, target);
      await poke(64, Buffer.from('after...'));
      await engine.read(64, target);
      expect(target.toString()).toBe('after...');
    });

    inLab('takes an access of no bytes', async ({ engine }) => {
      await engine.read(100, new Uint8Array(0));
      await engine.write(100, new Uint8Array(0));
    });

    inLab('refuses what is not inside the device', async ({ engine }) => {
      const bytes = new Uint8Array(16);
      for (const offset of [-1, engine.size - 15, engine.size, Number.MAX_SAFE_INTEGER, Number.NaN, 0.5]) {
        expect(await codeOf(() => engine.read(offset, bytes)), `read at ${offset}`).toBe('EINVAL');
        expect(await codeOf(() => engine.write(offset, bytes)), `write at ${offset}`).toBe('EINVAL');
      }
    });

    inLab(
      'opened for reading it writes nothing',
      async ({ engine, peek }) => {
        expect(engine.writable).toBe(false);
        const before = Buffer.from(await peek(0, 4096));
        expect(await codeOf(() => engine.write(0, new Uint8Array(16).fill(1)))).toBe('EROFS');
        expect(Buffer.compare(await peek(0, 4096), before)).toBe(0);
      },
      false,
    );

    inLab('after close it touches nothing', async ({ engine }) => {
      await engine.close();
      await engine.close();
      expect(await codeOf(() => engine.read(0, new Uint8Array(1)))).toBe('ENODEV');
      expect(await codeOf(() => engine.write(0, new Uint8Array(1)))).toBe('ENODEV');
    });

    inLab('carries many transfers at once, each to its own bytes', async ({ engine, peek }) => {
      const pieces = Array.from({ length: 64 }, (_, index) => pattern(4096, index));
      await Promise.all(pieces.map(async (piece, index) => await engine.write(index * 8192, piece)));
      expect(Buffer.compare(await peek(0, 4096), pattern(4096, 0))).toBe(0);
      const targets = pieces.map(() => Buffer.alloc(4096));
      await Promise.all(targets.map(async (target, index) => await engine.read(index * 8192, target)));
      for (const [index, target] of targets.entries()) expect(target.equals(pattern(4096, index))).toBe(true);
    });

    inLab('closes when its transfers are over, whatever became of them', async ({ engine, peek }) => {
      const bytes = pattern(4096, 7);
      const writing = codeOf(() => engine.write(0, bytes));
      await engine.close();
      const failed = await writing;
      // What it says is true: written, or not; and it does not go on behind the back of who closed it.
      if (failed === undefined) expect(Buffer.compare(await peek(0, 4096), bytes)).toBe(0);
      const after = Buffer.from(await peek(0, 4096));
      bytes.fill(0);
      expect(Buffer.compare(await peek(0, 4096), after)).toBe(0);
    });
  });
}

/** In transfers of the engine's size. */
async function moved(engine: DmaEngine, how: 'read' | 'write', offset: number, bytes: Uint8Array): Promise<void> {
  const most = engine.synchronous ? bytes.length : engine.transferMax;
  for (let at = 0; at < bytes.length; at += most) await engine[how](offset + at, bytes.subarray(at, at + most));
}

/** The code of what it throws, or rejects with; undefined if it succeeds. */
async function codeOf(work: () => void | Promise<void>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
