import { existsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MmapEngine } from '../../client/dma/mmap.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { dmaConformance, type EngineLab } from './dma-conformance.ts';
import { MemoryEngine } from './memory-engine.ts';
import { SlowEngine } from './slow-engine.ts';

/** An image in `parent`, mapped by the engine, looked at through its file. */
async function imageLab(parent: string, writable: boolean, windowSize?: number): Promise<EngineLab> {
  const dir = await mkdtemp(join(parent, 'iopmemfs-client-dma-'));
  const image = join(dir, 'image');
  const file = await open(image, 'w+');
  await file.truncate(2 ** 20);
  const device = await openDevice(image, {
    writable,
    lock: false,
    ...(windowSize === undefined ? {} : { windowSize }),
  });
  return {
    engine: new MmapEngine(device),
    peek: async (offset, length) => (await file.read(Buffer.alloc(length), 0, length, offset)).buffer,
    poke: async (offset, bytes) => {
      await file.write(bytes, 0, bytes.length, offset);
    },
    end: async () => {
      await device.close();
      await file.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

dmaConformance('mmap of an image on disk', (writable) => imageLab(tmpdir(), writable));
if (existsSync('/dev/shm')) dmaConformance('mmap of an image on tmpfs', (writable) => imageLab('/dev/shm', writable));
dmaConformance('mmap in windows of 64 KiB', (writable) => imageLab(tmpdir(), writable, 65_536));

/** The stand-in that other tests use must keep the rules as well. */
dmaConformance('memory of the tests', async (writable) => {
  const engine = new MemoryEngine(2 ** 20, 0, writable);
  return {
    engine,
    peek: async (offset, length) => engine.bytes.slice(offset, offset + length),
    poke: async (offset, bytes) => engine.bytes.set(bytes, offset),
    end: async () => {},
  };
});
dmaConformance('memory of the tests, asynchronous', async (writable) => {
  const engine = new SlowEngine(new MemoryEngine(2 ** 20, 0, writable), { transferMax: 65_536 });
  return {
    engine,
    peek: async (offset, length) => engine.memory.bytes.slice(offset, offset + length),
    poke: async (offset, bytes) => engine.memory.bytes.set(bytes, offset),
    end: async () => {},
  };
});
