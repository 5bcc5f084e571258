import { describe, expect, test } from 'vitest';
import type { DmaEngine } from '../../client/dma/engine.ts';
import { pattern } from './rig.ts';

/** One engine over a device whose bytes the test can look at by another way. */
export interface EngineLab {
  readonly engine: DmaEngine;
  /** Bytes of the device, not through the engine. */
  readonly peek: (offset: number, length: number) => Promise<Uint8Array>;
  readonly poke: (offset: number, bytes: Uint8Array) => Promise<void>;
  /** Removes everything; the engine may be closed already. */
  end(): Promise<void>;
}

/** What every DMA engine must do, whatever moves the bytes. `make` gives a device of at least 1 MiB. */
export function dmaConformance(name: string, make: (writable: boolean) => Promise<EngineLab>): void {
  const inLab = (what: string, run: (lab: EngineLab) => Promise<void>, writable = true): void =>
    test(what, async () => {
      const lab = await make(writable);
      try {
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
        engine.write(offset, bytes);
        bytes.copy(before, offset);
        expect(Buffer.compare(await peek(0, 2 ** 20), before)).toBe(0);
      });

      inLab(`reads ${length} bytes at ${offset} into the target and nothing beside`, async ({ engine, poke }) => {
        const bytes = pattern(length, offset + 1).fill(0xa5, length - (length % 4));
        await poke(offset, bytes);
        const memory = Buffer.alloc(length + 64, 0x77);
        engine.read(offset, memory.subarray(32, 32 + length));
        expect(memory.subarray(32, 32 + length).equals(bytes)).toBe(true);
        expect(memory.subarray(0, 32).every((byte) => byte === 0x77)).toBe(true);
        expect(memory.subarray(32 + length).every((byte) => byte === 0x77)).toBe(true);
      });
    }

    inLab('sees what others wrote since its last read', async ({ engine, poke }) => {
      const target = Buffer.alloc(8);
      await poke(64, Buffer.from('before..'));
      engine.read(64, target);
      await poke(64, Buffer.from('after...'));
      engine.read(64, target);
      expect(target.toString()).toBe('after...');
    });

    inLab('takes an access of no bytes', async ({ engine }) => {
      engine.read(100, new Uint8Array(0));
      engine.write(100, new Uint8Array(0));
    });

    inLab('refuses what is not inside the device', async ({ engine }) => {
      const bytes = new Uint8Array(16);
      for (const offset of [-1, engine.size - 15, engine.size, Number.MAX_SAFE_INTEGER, Number.NaN, 0.5]) {
        expect(() => engine.read(offset, bytes), `read at ${offset}`).toThrow(
          expect.objectContaining({ code: 'EINVAL' }),
        );
        expect(() => engine.write(offset, bytes), `write at ${offset}`).toThrow(
          expect.objectContaining({ code: 'EINVAL' }),
        );
      }
    });

    inLab(
      'opened for reading it writes nothing',
      async ({ engine, peek }) => {
        expect(engine.writable).toBe(false);
        const before = Buffer.from(await peek(0, 4096));
        expect(() => engine.write(0, new Uint8Array(16).fill(1))).toThrow(expect.objectContaining({ code: 'EROFS' }));
        expect(Buffer.compare(await peek(0, 4096), before)).toBe(0);
      },
      false,
    );

    inLab('after close it touches nothing', async ({ engine }) => {
      await engine.close();
      await engine.close();
      expect(() => engine.read(0, new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'ENODEV' }));
      expect(() => engine.write(0, new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    });
  });
}
