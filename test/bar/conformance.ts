import { fc, test } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';

/** Windows small enough that many ranges cross one, and a last one that is not full. */
export const windowSize = 65_536;
export const deviceSize = 3 * windowSize + 4096;

/** A device to try: the same memory at every open. */
export interface Subject {
  open(options: { readonly writable: boolean; readonly lock?: boolean }): Promise<BarDevice>;
  /** What survives, read by other means than a mapping. */
  stored(): Promise<Uint8Array>;
  remove(): Promise<void>;
}

const length = fc.oneof(fc.nat(40), fc.nat(windowSize + 100));
const offset = fc.oneof(
  fc.nat(deviceSize),
  fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -20, max: 20 }))
    .map(([n, near]) => Math.max(0, n * windowSize + near)),
);
const range = fc.tuple(offset, length).map(([at, wanted]) => ({ at, count: Math.min(wanted, deviceSize - at) }));
const change = fc.oneof(
  fc.record({ kind: fc.constant('write'), range, seed: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('zero'), range }),
  fc.record({ kind: fc.constant('copy'), range, to: offset }),
  fc.record({ kind: fc.constant('read'), range }),
);

/** Bytes in which a shift by any number of bytes shows. */
function pattern(count: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff);
}

function readAll(device: BarDevice): Uint8Array {
  const content = new Uint8Array(device.size);
  device.read(0, content);
  return content;
}

/** What every `BarDevice` promises. Run it on each kind of device and each access width. */
export function conformance(name: string, create: () => Promise<Subject>, skip = false): void {
  describe.skipIf(skip)(name, () => {
    let subject: Subject;
    let device: BarDevice;

    beforeEach(async () => {
      subject = await create();
      device = await subject.open({ writable: true });
      device.zero(0, device.size);
    });

    afterEach(async () => {
      await device?.close();
      await subject?.remove();
    });

    test.prop([fc.array(change, { maxLength: 20 })], { numRuns: 30 })(
      'holds what an array of bytes would',
      (changes) => {
        device.zero(0, device.size);
        const model = new Uint8Array(deviceSize);
        for (const each of changes) {
          const { at, count } = each.range;
          if (each.kind === 'write') {
            const bytes = pattern(count, each.seed);
            device.write(at, bytes);
            model.set(bytes, at);
          } else if (each.kind === 'zero') {
            device.zero(at, count);
            model.fill(0, at, at + count);
          } else if (each.kind === 'copy') {
            const fits = Math.min(count, deviceSize - each.to);
            if (at < each.to + fits && each.to < at + fits) continue;
            device.copy(at, each.to, fits);
            model.copyWithin(each.to, at, at + fits);
          } else {
            const target = new Uint8Array(count);
            device.read(at, target);
            expect(Buffer.compare(target, model.subarray(at, at + count))).toBe(0);
          }
        }
        expect(Buffer.compare(readAll(device), model)).toBe(0);
      },
    );

    test('has the size that the medium has', () => {
      expect(device.size).toBe(deviceSize);
    });

    test('views are the memory itself, one for each window crossed', () => {
      const views = device.views(windowSize - 8, windowSize + 16);
      expect(views.map((view) => view.length)).toEqual([8, windowSize, 8]);
      device.write(windowSize - 8, pattern(windowSize + 16, 7));
      expect(Buffer.compare(Buffer.concat(views), pattern(windowSize + 16, 7))).toBe(0);
      const memory = views[1];
      if (memory !== undefined) new Float64Array(memory.buffer, memory.byteOffset, 1)[0] = 2.5;
      const word = new Uint8Array(8);
      device.read(windowSize, word);
      expect(new Float64Array(word.buffer)[0]).toBe(2.5);
    });

    test('two opens see the same memory', async () => {
      const other = await subject.open({ writable: false });
      device.write(5, Uint8Array.of(1, 2, 3));
      expect([...readAll(other).subarray(4, 9)]).toEqual([0, 1, 2, 3, 0]);
      await other.close();
    });

    test('what was persisted is on the medium', async () => {
      const bytes = pattern(2 * windowSize, 3);
      device.write(1001, bytes);
      await device.persist(1001, bytes.length);
      expect(Buffer.compare((await subject.stored()).subarray(1001, 1001 + bytes.length), bytes)).toBe(0);
    });

    test('any number of callers may persist at once', async () => {
      device.write(0, pattern(deviceSize, 9));
      const calls = Array.from({ length: 600 }, (_, i) => device.persist((i * 331) % (deviceSize - 4096), 4096));
      await expect(Promise.all(calls)).resolves.toHaveLength(600);
    });

    test.each([
      [-1, 1],
      [0, deviceSize + 1],
      [deviceSize, 1],
      [deviceSize - 1, 2],
      [0.5, 1],
      [Number.NaN, 1],
      [2 ** 53, 1],
    ])('refuses bytes %d+%d by EINVAL', async (at, count) => {
      const invalid = expect.objectContaining({
        code: 'EINVAL',
        context: expect.objectContaining({ path: device.path }),
      });
      expect(() => device.read(at, new Uint8Array(count))).toThrow(invalid);
      expect(() => device.write(at, new Uint8Array(count))).toThrow(invalid);
      expect(() => device.zero(at, count)).toThrow(invalid);
      expect(() => device.views(at, count)).toThrow(invalid);
      expect(() => device.copy(at, 0, count)).toThrow(invalid);
      expect(() => device.copy(0, at, count)).toThrow(invalid);
      expect(() => device.pin(at, count)).toThrow(invalid);
      await expect(device.persist(at, count)).rejects.toEqual(invalid);
    });

    test('nothing at the very end is nothing', async () => {
      device.read(deviceSize, new Uint8Array(0));
      device.write(deviceSize, new Uint8Array(0));
      device.zero(deviceSize, 0);
      expect(device.views(deviceSize, 0)).toEqual([]);
      await device.persist(deviceSize, 0);
    });

    test('a copy over itself is a mistake of the program', () => {
      expect(() => device.copy(0, 100, 101)).toThrow('over itself');
      expect(() => device.copy(100, 0, 101)).toThrow('over itself');
      device.copy(0, 100, 100);
    });

    test('direct access answers bus address, page frame and what follows', () => {
      expect(device.directAccess(0)).toEqual({
        busAddress: device.busAddress,
        pageFrame: device.busAddress >> 12n,
        contiguous: deviceSize,
      });
      expect(device.directAccess(17)).toEqual({
        busAddress: device.busAddress + 8704n,
        pageFrame: (device.busAddress + 8704n) >> 12n,
        contiguous: deviceSize - 8704,
      });
      for (const sector of [deviceSize / 512, -1, 0.5]) {
        expect(() => device.directAccess(sector)).toThrow(expect.objectContaining({ code: 'EIO' }));
      }
    });

    test('a device opened for reading does not write', async () => {
      device.write(0, Uint8Array.of(42));
      const reader = await subject.open({ writable: false });
      const readOnly = expect.objectContaining({ code: 'EROFS' });
      expect(() => reader.write(0, Uint8Array.of(1))).toThrow(readOnly);
      expect(() => reader.zero(0, 1)).toThrow(readOnly);
      expect(() => reader.copy(0, 10, 1)).toThrow(readOnly);
      await reader.persist(0, 4096);
      expect(readAll(reader)[0]).toBe(42);
      await reader.close();
    });

    test('a locked device is in use by another daemon until it is closed', async () => {
      const owner = await subject.open({ writable: true, lock: true });
      const busy = expect.objectContaining({
        code: 'EBUSY',
        message: expect.stringContaining('in use by another daemon'),
      });
      await expect(subject.open({ writable: true, lock: true })).rejects.toEqual(busy);
      const sharer = await subject.open({ writable: true });
      await sharer.close();
      await expect(subject.open({ writable: false, lock: true })).rejects.toEqual(busy);
      await owner.close();
      const next = await subject.open({ writable: true, lock: true });
      await next.close();
    });

    test('teardown refuses new pins and waits for those held, which may still use the memory', async () => {
      const first = device.pin(0, 4096);
      const second = device.pin(4096, 4096);
      let closed = false;
      const closing = device.close().then(() => {
        closed = true;
      });
      expect(() => device.pin(0, 1)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
      first.unpin();
      await new Promise((resolve) => setImmediate(resolve));
      expect(closed).toBe(false);
      device.write(4096, Uint8Array.of(8));
      expect(readAll(device)[4096]).toBe(8);
      second.unpin();
      await closing;
      expect(closed).toBe(true);
    });

    test('a pin is given back once', () => {
      const pin = device.pin(0, 4096);
      pin.unpin();
      expect(() => pin.unpin()).toThrow('given back twice');
    });

    test('teardown waits for what is being persisted', async () => {
      device.write(0, pattern(deviceSize, 5));
      const order: string[] = [];
      const persisted = device.persist(0, deviceSize).then(() => order.push('persisted'));
      await Promise.all([device.close().then(() => order.push('closed')), persisted]);
      expect(order).toEqual(['persisted', 'closed']);
    });

    test('after close every access is refused, and a view left over harms nothing', async () => {
      device.write(0, Uint8Array.of(1, 2, 3, 4));
      const [view] = device.views(0, 8);
      const closing = device.close();
      expect(device.close()).toBe(closing);
      await closing;
      const gone = expect.objectContaining({ code: 'ENODEV' });
      expect(() => device.read(0, new Uint8Array(1))).toThrow(gone);
      expect(() => device.write(0, new Uint8Array(1))).toThrow(gone);
      expect(() => device.zero(0, 1)).toThrow(gone);
      expect(() => device.copy(0, 8, 1)).toThrow(gone);
      expect(() => device.views(0, 1)).toThrow(gone);
      expect(() => device.pin(0, 1)).toThrow(gone);
      expect(() => device.directAccess(0)).toThrow(gone);
      await expect(device.persist(0, 1)).rejects.toEqual(gone);

      expect([...(view ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
      view?.fill(9);
      const reopened = await subject.open({ writable: false });
      expect([...readAll(reopened).subarray(0, 5)]).toEqual([1, 2, 3, 4, 0]);
      await reopened.close();
    });
  });
}
