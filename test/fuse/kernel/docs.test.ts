import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { initFlag, initFlag2, opcode } from '../../../fs/fuse/kernel/abi.ts';

const text = readFileSync('docs/fuse.md', 'utf8');

/** Without regard to the underscores of fuse.h. */
const plain = (name: string): string => name.toUpperCase();
const words = new Set((text.match(/[A-Z][A-Z0-9_]+/g) ?? []).map((word) => word.replaceAll('_', '')));

test.each(Object.keys(opcode))('docs/fuse.md says what %s is answered', (name) => {
  expect(words.has(plain(name))).toBe(true);
});

test.each([...Object.keys(initFlag), ...Object.keys(initFlag2)])('docs/fuse.md says why %s is taken', (name) => {
  expect(words.has(plain(name))).toBe(true);
});
