import { describe, expect, test } from 'vitest';
import { limits } from '../../layout/limits.ts';
import { checkStateid, nextSeqid, seqidAge } from '../../layout/stateid.ts';

const last = 0xffff_ffff;
const of = (seqid: number, other = 'a') => ({ seqid, other });

describe('seqid of layout stateids (RFC 8881 §8.2.2, §12.5.3)', () => {
  test('after 0xFFFFFFFF comes 1, never 0', () => {
    expect(nextSeqid(1)).toBe(2);
    expect(nextSeqid(last)).toBe(1);
  });

  test('older and newer are told apart across the wrap', () => {
    expect(seqidAge(5, 5)).toBe(0);
    expect(seqidAge(5, 3)).toBe(2);
    expect(seqidAge(1, last)).toBe(1);
    expect(seqidAge(last, 1)).toBeUndefined();
    expect(seqidAge(5, 6)).toBeUndefined();
  });

  test('zero, fractions and numbers that do not fit are no seqid', () => {
    for (const seqid of [0, -1, 1.5, last + 1, Number.NaN]) expect(seqidAge(5, seqid)).toBeUndefined();
  });

  test('current and older within the window are taken, older ones are OLD_STATEID', () => {
    const current = of(limits.seqidWindow + 10);
    expect(checkStateid(current, of(current.seqid))).toBeUndefined();
    expect(checkStateid(current, of(10))).toBeUndefined();
    expect(checkStateid(current, of(9))).toBe('OLD_STATEID');
    expect(checkStateid(of(4), of(last - limits.seqidWindow + 5))).toBeUndefined();
    expect(checkStateid(of(4), of(last - limits.seqidWindow + 3))).toBe('OLD_STATEID');
    expect(checkStateid(current, of(current.seqid + 1))).toBe('BAD_STATEID');
    expect(checkStateid(current, of(0))).toBe('BAD_STATEID');
  });

  test('another `other` is another state', () => {
    expect(checkStateid(of(5), of(5, 'b'))).toBe('BAD_STATEID');
  });
});
