import { describe, expect, test } from 'vitest';
import { limits } from '../../layout/limits.ts';
import { any, Lab, read, rw } from './lab.ts';

describe('everything that clients can drive up has a bound', () => {
  test('segments of a client, reserved ones and all files together: LAYOUTTRYLATER', () => {
    const lab = new Lab({ segmentsPerClientMax: 3 });
    lab.grant(1, rw, 0, 1);
    lab.grant(1, rw, 0, 1, { ino: 2 });
    const reserved = lab.reserve(1, rw, 10, 1);
    expect(lab.refusal(lab.get(1, rw, 20, 1))).toBe('LAYOUTTRYLATER');
    expect(lab.get(2, rw, 20, 1).kind).toBe('reserved');
    lab.layouts.cancel(lab.now, reserved);
    expect(lab.get(1, rw, 30, 1).kind).toBe('reserved');
  });

  test('merged segments count once', () => {
    const lab = new Lab({ segmentsPerClientMax: 2 });
    for (let offset = 0; offset < 10; offset++) lab.grant(1, rw, offset, 1);
    expect(lab.segments(1)).toEqual(['rw 0+10']);
  });

  test('returns from the middle can double a client’s segments, not more; whole segments always go back', () => {
    const lab = new Lab({ segmentsPerClientMax: 2 });
    lab.grant(1, rw, 0, 100);
    for (const offset of [10, 20, 30]) lab.giveBack(1, rw, offset, 1);
    expect(lab.segments(1)).toHaveLength(4);
    expect(lab.refusal(lab.return(1, rw, 40, 1))).toBe('LAYOUTTRYLATER');
    lab.giveBack(1, rw, 31, 10);
    lab.giveBack(1, any, 0, Infinity);
    expect(lab.layouts.holdsAny(1)).toBe(false);
  });

  test('gets that wait for one file: LAYOUTTRYLATER', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    for (let n = 0; n < limits.waitingGetsPerFileMax; n++) lab.wait(n + 2, read, 0, 10);
    expect(lab.refusal(lab.get(9999, read, 0, 10))).toBe('LAYOUTTRYLATER');
    expect(lab.get(9999, read, 10, 10).kind).toBe('reserved');
  });
});
