import { describe, expect, test } from 'vitest';
import { any, expectKind, Lab, only, read, rw } from './lab.ts';

describe('arguments of LAYOUTGET (RFC 8881 §18.43.3)', () => {
  const lab = new Lab();
  const status = (...args: Parameters<Lab['get']>) => lab.refusal(lab.get(...args));

  test('iomode ANY and garbage are BADIOMODE: only READ and RW can be granted', () => {
    for (const iomode of [0, any, 4, -1, 1.5]) expect(status(1, iomode, 0, 10)).toBe('BADIOMODE');
  });

  test('a length of zero is INVAL', () => {
    expect(status(1, read, 0, 0)).toBe('INVAL');
  });

  test('minlength above length is INVAL', () => {
    expect(status(1, read, 0, 10, { minlength: 11 })).toBe('INVAL');
    expect(status(1, read, 0, 10, { minlength: Infinity })).toBe('INVAL');
    expect(status(1, read, 0, 10, { minlength: -1 })).toBe('INVAL');
  });

  test('offset + length or offset + minlength beyond the largest offset is INVAL, unless it means to the end', () => {
    expect(status(1, read, Number.MAX_SAFE_INTEGER, 5)).toBe('INVAL');
    expect(status(1, read, 100, Infinity, { minlength: Number.MAX_SAFE_INTEGER })).toBe('INVAL');
    expect(lab.get(1, read, 100, Infinity, { minlength: Infinity }).kind).toBe('reserved');
  });

  test('a refusal names the client, the file and the range', () => {
    const { detail } = expectKind(lab.get(7, any, 20, 10, { ino: 42 }), 'refused');
    expect(detail).toContain('client 7, inode 42, bytes 20+10');
  });
});

describe('the layout stateid (RFC 8881 §12.5.2, §12.5.3)', () => {
  test('the first grant carries seqid 1, every later one adds one, `other` stays', () => {
    const lab = new Lab();
    const first = lab.grant(1, read, 0, 10);
    expect(first.seqid).toBe(1);
    expect(lab.grant(1, rw, 0, 10)).toEqual({ seqid: 2, other: first.other });
    expect(lab.grant(1, read, 50, 10)).toEqual({ seqid: 3, other: first.other });
  });

  test('each client and each file has a state of its own', () => {
    const lab = new Lab();
    const others = [lab.grant(1, read, 0, 10), lab.grant(2, read, 0, 10), lab.grant(1, read, 0, 10, { ino: 2 })];
    expect(new Set(others.map(({ other }) => other)).size).toBe(3);
    expect(others.map(({ seqid }) => seqid)).toEqual([1, 1, 1]);
  });

  test('a grant that is cancelled uses up no seqid', () => {
    const lab = new Lab();
    lab.layouts.cancel(lab.now, lab.reserve(1, read, 0, 10));
    expect(lab.grant(1, read, 0, 10).seqid).toBe(1);
    lab.layouts.cancel(lab.now, lab.reserve(1, read, 50, 10));
    expect(lab.grant(1, read, 50, 10).seqid).toBe(2);
  });

  test('seqid 0 is BAD_STATEID', () => {
    const lab = new Lab();
    const stateid = { ...lab.grant(1, read, 0, 10), seqid: 0 };
    expect(lab.refusal(lab.get(1, read, 20, 10, { stateid }))).toBe('BAD_STATEID');
  });

  test('a seqid that was not given out yet is BAD_STATEID', () => {
    const lab = new Lab();
    const stateid = { ...lab.grant(1, read, 0, 10), seqid: 2 };
    expect(lab.refusal(lab.get(1, read, 20, 10, { stateid }))).toBe('BAD_STATEID');
  });

  test('parallel gets may share an older seqid', () => {
    const lab = new Lab();
    const stateid = lab.grant(1, read, 0, 10);
    lab.grant(1, read, 20, 10, { stateid });
    expect(lab.grant(1, read, 40, 10, { stateid }).seqid).toBe(3);
  });

  test('an unknown `other`, that of another client or of another file is BAD_STATEID', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    const foreign = lab.grant(2, read, 0, 10);
    const otherFile = lab.grant(1, read, 0, 10, { ino: 2 });
    for (const stateid of [foreign, otherFile, { seqid: 1, other: 'f'.repeat(24) }]) {
      expect(lab.refusal(lab.get(1, read, 20, 10, { stateid }))).toBe('BAD_STATEID');
    }
    expect(lab.refusal(lab.get(3, read, 20, 10, { stateid: foreign }))).toBe('BAD_STATEID');
  });

  test('the state dies with the last return; a new one begins at 1 with another `other`', () => {
    const lab = new Lab();
    const first = lab.grant(1, read, 0, 10);
    lab.giveBack(1, any, 0, Infinity);
    expect(lab.refusal(lab.get(1, read, 0, 10, { stateid: first }))).toBe('BAD_STATEID');
    const second = lab.grant(1, read, 0, 10);
    expect(second.seqid).toBe(1);
    expect(second.other).not.toBe(first.other);
  });

  test('the seqid of a state that is only reserved is not 0 nor anything else: nobody knows it', () => {
    const lab = new Lab({ newOther: () => 'a'.repeat(24) });
    lab.reserve(1, read, 0, 10);
    for (const seqid of [0, 1, 0xffff_ffff]) {
      const stateid = { seqid, other: 'a'.repeat(24) };
      expect(lab.refusal(lab.get(1, read, 0, 10, { stateid }))).toBe('BAD_STATEID');
    }
    expect(lab.layouts.held()).toEqual([]);
  });
});

describe('a client that forgot (RFC 8881 errata 3208)', () => {
  const forgetful = { stateid: undefined };

  test('a get with an open stateid drops what was recorded and begins a fresh state', () => {
    const lab = new Lab();
    const before = lab.grant(1, rw, 0, 100);
    const result = expectKind(lab.get(1, read, 200, 10, forgetful), 'reserved');
    expect(only(result.actions, 'released')).toEqual({
      type: 'released',
      client: 1,
      ino: 1,
      segments: [{ iomode: rw, offset: 0, length: 100 }],
    });
    lab.confirm(1, result.grant);
    expect(lab.stateid(1)?.seqid).toBe(1);
    expect(lab.stateid(1)?.other).not.toBe(before.other);
    expect(lab.segments(1)).toEqual(['read 200+10']);
    expect(lab.grant(2, rw, 0, 100).seqid).toBe(1);
  });

  test('it also drops them when the new get has to wait', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.grant(2, rw, 50, 10);
    const result = expectKind(lab.get(1, rw, 50, 10, forgetful), 'conflict');
    expect(result.actions.map(({ type }) => type)).toEqual(['released', 'recall']);
    expect(lab.segments(1)).toEqual([]);
  });

  test('while a recall to it is outstanding it is RECALLCONFLICT: the obligation to return is not lost', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.break('unmap', 0, 5);
    expect(lab.refusal(lab.get(1, read, 100, 10, forgetful))).toBe('RECALLCONFLICT');
    expect(lab.segments(1)).toEqual(['rw 0+10']);
  });

  test('what a get in flight will bring cannot be forgotten: LAYOUTTRYLATER', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.reserve(1, rw, 20, 10);
    expect(lab.refusal(lab.get(1, read, 100, 10, forgetful))).toBe('LAYOUTTRYLATER');
  });

  test('two first gets in flight at once share one state', () => {
    const lab = new Lab();
    const [one, two] = [lab.reserve(1, read, 0, 10), lab.reserve(1, read, 50, 10)];
    lab.confirm(1, one);
    const { other } = lab.stateid(1) ?? { other: '' };
    lab.confirm(1, two);
    expect(lab.stateid(1)).toEqual({ seqid: 2, other });
    expect(lab.segments(1)).toEqual(['read 0+10', 'read 50+10']);
  });

  test('a first get that waited does not forget what the client was granted meanwhile', () => {
    const lab = new Lab();
    lab.grant(2, rw, 0, 10);
    const { breakId } = lab.wait(1, rw, 0, 10);
    lab.grant(1, rw, 50, 10);
    lab.giveBack(2, any, 0, 10);
    const grant = lab.reserve(1, rw, 0, 10, forgetful, breakId);
    lab.confirm(1, grant);
    expect(lab.segments(1)).toEqual(['rw 0+10', 'rw 50+10']);
  });

  test('a client at its limit can still forget and begin anew', () => {
    const lab = new Lab({ segmentsPerClientMax: 1 });
    lab.grant(1, read, 0, 10);
    expect(lab.grant(1, read, 50, 10, forgetful).seqid).toBe(1);
  });
});
