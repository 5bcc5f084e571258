/** The cache beside a map of everything: what it has is what was put in last; what it lost it does not claim to know. */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { dentryKey, inodeKey } from '../../fs/format/keys.ts';
import { RecordCache } from '../../fs/meta/record-cache.ts';
import { nameFromLatin1 } from '../../fs/name.ts';

const mib = 2 ** 20;
/** A second each where nothing else runs. */
const runsMs = 600_000;
/** Few and many owners, below and above 2^32. */
const numbers = fc.oneof(fc.nat(40), fc.constantFrom(2 ** 32, 2 ** 32 + 1, 2 ** 52 + 3, Number.MAX_SAFE_INTEGER));
const names = fc.oneof(
  fc.constant(undefined),
  fc.nat(30).map((n) => nameFromLatin1(`file ${n}`)),
  fc.constantFrom('a', 'b', '\xff\x01', 'x'.repeat(255)).map(nameFromLatin1),
);
const values = fc.uint8Array({ maxLength: 120 });
const steps = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('put'), number: numbers, name: names, value: values }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delete'), number: numbers, name: names, value: values }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('find'), number: numbers, name: names, value: values }) },
);

function found(cache: RecordCache, number: number, name: ReturnType<typeof nameFromLatin1> | undefined) {
  const isHere = name === undefined ? cache.findInode(number) : cache.findName(number, name);
  return isHere ? Buffer.from(cache.bytes.slice(cache.start, cache.end)).toString('hex') : undefined;
}

test.prop([fc.array(steps, { maxLength: 400 })])('with room for all it is a map', (todo) => {
  const cache = new RecordCache(mib);
  const model = new Map<string, string>();
  for (const { op, number, name, value } of todo) {
    const key = name === undefined ? inodeKey(number) : dentryKey(number, name);
    const id = Buffer.from(key).toString('hex');
    if (op === 'put') {
      cache.put(key, value);
      model.set(id, Buffer.from(value).toString('hex'));
    } else if (op === 'delete') {
      cache.delete(key);
      model.delete(id);
    }
    expect(found(cache, number, name)).toBe(model.get(id));
    expect(cache.has(key)).toBe(model.has(id));
  }
  expect(cache.size).toBe(model.size);
  expect(cache.dropped).toBe(0);
});

/** Numbers that follow from a seed, for more steps than one would want to write out. */
function mixed(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Inodes and names in turn. */
function keyOf(n: number): Uint8Array {
  return n % 2 === 0 ? inodeKey(n) : dentryKey(n >> 4, nameFromLatin1(`name ${n}`));
}

test.prop([fc.integer({ min: 1 })], { numRuns: 8 })(
  'without room for all it has nothing else, keeps to its bytes and keeps what is used',
  (seed) => {
    const next = mixed(seed);
    const bytesMax = 2 * mib;
    const cache = new RecordCache(bytesMax);
    const model = new Map<number, string>();
    const look = (n: number) =>
      found(cache, n % 2 === 0 ? n : n >> 4, n % 2 === 0 ? undefined : nameFromLatin1(`name ${n}`));
    cache.put(keyOf(1), Buffer.from('of use'));
    cache.hasAllNames();
    for (let i = 0; i < 60_000; i++) {
      const n = 2 + (next() % 60_000);
      if (next() % 5 === 0) {
        cache.delete(keyOf(n));
        model.delete(n);
      } else {
        const value = Buffer.alloc(next() % 90, n);
        cache.put(keyOf(n), value);
        model.set(n, value.toString('hex'));
      }
      if (i % 100 === 0) expect(look(1)).toBe(Buffer.from('of use').toString('hex'));
    }
    let here = 0;
    for (let n = 2; n < 60_002; n++) {
      const is = look(n);
      if (is === undefined) continue;
      here++;
      if (is !== model.get(n)) expect(is).toBe(model.get(n));
    }
    expect(here).toBeGreaterThan(5000);
    expect(cache.bytesHeld).toBeLessThanOrEqual(bytesMax + 2 * 2 ** 18);
    expect(cache.knowsNames).toBe(false);
    expect(cache.dropped).toBeGreaterThan(0);
  },
  runsMs,
);

test.prop([fc.integer({ min: 1 })], { numRuns: 4 })(
  'what is deleted and replaced leaves its room to others',
  (seed) => {
    const next = mixed(seed);
    const cache = new RecordCache(64 * mib);
    // Ten thousand records of changing lengths, each replaced twenty times.
    for (let i = 0; i < 200_000; i++) cache.put(inodeKey(next() % 10_000), Buffer.alloc(next() % 100, i));
    expect(cache.size).toBeLessThanOrEqual(10_000);
    expect(cache.bytesHeld).toBeLessThan(3 * mib);
    for (let ino = 0; ino < 10_000; ino++) cache.delete(inodeKey(ino));
    expect(cache.size).toBe(0);
    expect(cache.bytesHeld).toBeLessThan(mib);
  },
  runsMs,
);
