import { describe, expect, test } from 'vitest';
import { limits } from '../../layout/limits.ts';
import type { ClearRequest, Iomode } from '../../layout/types.ts';
import { Lab, read, rw } from './lab.ts';

function clearTo(lab: Lab, client: number, iomode: Iomode, offset: number, more: Partial<ClearRequest> = {}): number {
  return lab.layouts.clearTo({ client, ino: 1, iomode, offset, length: 1000, sparesOwn: false, ...more });
}

describe('how far a get reaches without a recall', () => {
  test('to the end of the range where nobody has anything', () => {
    expect(clearTo(new Lab(), 1, rw, 100)).toBe(1100);
    expect(clearTo(new Lab(), 1, rw, 100, { length: Infinity })).toBe(Infinity);
  });

  test('to what excludes it: writers, and readers too for who writes', () => {
    const lab = new Lab();
    lab.grant(2, read, 200, 100);
    lab.grant(3, rw, 500, 100);
    expect(clearTo(lab, 1, rw, 100)).toBe(200);
    expect(clearTo(lab, 1, read, 100)).toBe(500);
    expect(clearTo(lab, 1, rw, 250)).toBe(250);
    expect(clearTo(lab, 1, rw, 600)).toBe(1600);
  });

  test('to what is only reserved', () => {
    const lab = new Lab();
    lab.reserve(2, rw, 300, 100);
    expect(clearTo(lab, 1, read, 100)).toBe(300);
  });

  test('to who waits, but for the request itself', () => {
    const lab = new Lab();
    lab.grant(2, rw, 900, 50);
    const { breakId } = lab.wait(1, rw, 400, 600);
    expect(clearTo(lab, 3, read, 100)).toBe(400);
    expect(clearTo(lab, 1, rw, 100, { own: breakId })).toBe(900);
  });

  test('to an operation that waits, whoever asks', () => {
    const lab = new Lab();
    lab.grant(1, rw, 900, 50);
    lab.layouts.break(lab.now, { ino: 1, offset: 700, length: 300, reason: 'unmap', client: undefined });
    expect(clearTo(lab, 1, rw, 100)).toBe(700);
  });

  test('to what the client itself was asked to return', () => {
    const lab = new Lab();
    lab.grant(1, rw, 600, 100);
    lab.wait(2, rw, 650, 10);
    expect(clearTo(lab, 1, read, 100)).toBe(650);
  });

  test('over own layouts; where they are to be spared, to those of the other iomode', () => {
    const lab = new Lab();
    lab.grant(1, read, 200, 100);
    lab.grant(1, rw, 400, 100);
    expect(clearTo(lab, 1, rw, 100)).toBe(1100);
    expect(clearTo(lab, 1, rw, 100, { sparesOwn: true })).toBe(200);
    expect(clearTo(lab, 1, read, 100, { sparesOwn: true })).toBe(400);
    expect(clearTo(lab, 1, rw, 300, { sparesOwn: true })).toBe(1300);
  });

  test('to where too many had to be passed over', () => {
    const lab = new Lab();
    for (let segment = 0; segment <= limits.looksMax; segment++) lab.grant(1, rw, 2 * segment, 1);
    expect(clearTo(lab, 1, rw, 0)).toBe(2 * limits.looksMax);
  });
});
