import { describe, expect, test } from 'vitest';
import { any, expectKind, Lab, read, rw } from './lab.ts';

const returned = (lab: Lab, ...args: Parameters<Lab['return']>) => expectKind(lab.return(...args), 'returned');

/** Client 1 holds RW [0, 50) and READ [0, 100). */
function holding() {
  const lab = new Lab();
  lab.grant(1, rw, 0, 50);
  const stateid = lab.grant(1, read, 0, 100);
  const commit = (...ranges: readonly (readonly [number, number])[]) =>
    lab.layouts.checkCommit(
      { client: 1, ino: 1, stateid },
      ranges.map(([offset, length]) => ({ offset, length })),
    )?.status;
  return { lab, stateid, commit };
}

describe('LAYOUTRETURN (RFC 8881 §18.44)', () => {
  test('returning the middle leaves both sides: true splitting', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 100);
    const { released, stateid } = returned(lab, 1, rw, 40, 20);
    expect(released).toEqual([{ iomode: rw, offset: 40, length: 20 }]);
    expect(stateid?.seqid).toBe(2);
    expect(lab.segments(1)).toEqual(['rw 0+40', 'rw 60+40']);
    expect(lab.grant(2, rw, 40, 20).seqid).toBe(1);
  });

  test('a return may reach beyond what is held, on both sides and over holes', () => {
    const lab = new Lab();
    lab.grant(1, rw, 10, 10);
    lab.grant(1, rw, 30, 10);
    expect(returned(lab, 1, rw, 15, 100).released).toEqual([
      { iomode: rw, offset: 15, length: 5 },
      { iomode: rw, offset: 30, length: 10 },
    ]);
    expect(lab.segments(1)).toEqual(['rw 10+5']);
  });

  test('returning what is not held is fine', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    expect(returned(lab, 1, any, 500, 10)).toMatchObject({ released: [], stateid: { seqid: 2 } });
  });

  test('with the last byte the state is gone; with less it lives on with the next seqid', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    expect(returned(lab, 1, rw, 0, 9).stateid?.seqid).toBe(2);
    expect(returned(lab, 1, rw, 9, Infinity).stateid).toBeUndefined();
    expect(lab.layouts.holdsAny(1)).toBe(false);
    expect(lab.refusal(lab.return(1, rw, 0, 10))).toBe('BAD_STATEID');
  });

  test('iomode READ and RW return what they name, ANY both', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 30);
    lab.grant(1, rw, 0, 30);
    lab.giveBack(1, read, 0, 10);
    lab.giveBack(1, rw, 10, 10);
    lab.giveBack(1, any, 20, 10);
    expect(lab.segments(1)).toEqual(['read 10+10', 'rw 0+10']);
  });

  test('an older seqid is accepted, 0 and one from the future are BAD_STATEID', () => {
    const lab = new Lab();
    const old = lab.grant(1, rw, 0, 10);
    lab.grant(1, rw, 20, 10);
    expect(lab.refusal(lab.return(1, rw, 0, 10, { ...old, seqid: 0 }))).toBe('BAD_STATEID');
    expect(lab.refusal(lab.return(1, rw, 0, 10, { ...old, seqid: 3 }))).toBe('BAD_STATEID');
    expect(lab.return(1, rw, 0, 10, old).kind).toBe('returned');
  });

  test("another client's stateid is BAD_STATEID", () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    const foreign = lab.grant(2, read, 0, 10);
    expect(lab.refusal(lab.return(1, read, 0, 10, foreign))).toBe('BAD_STATEID');
    expect(lab.segments(2)).toEqual(['read 0+10']);
  });

  test('an iomode that is none is BADIOMODE, a range that is none INVAL', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    expect(lab.refusal(lab.return(1, 0, 0, 10))).toBe('BADIOMODE');
    expect(lab.refusal(lab.return(1, 4, 0, 10))).toBe('BADIOMODE');
    expect(lab.refusal(lab.return(1, rw, 0, 0))).toBe('INVAL');
    expect(lab.refusal(lab.return(1, rw, 1, Number.MAX_SAFE_INTEGER))).toBe('INVAL');
  });

  test('a get in flight keeps the state alive', () => {
    const lab = new Lab();
    const { other } = lab.grant(1, rw, 0, 10);
    const grant = lab.reserve(1, rw, 20, 10);
    expect(returned(lab, 1, any, 0, Infinity).stateid).toEqual({ seqid: 2, other });
    lab.confirm(1, grant);
    expect(lab.stateid(1)).toEqual({ seqid: 3, other });
    expect(lab.segments(1)).toEqual(['rw 20+10']);
  });
});

describe('segments of one client', () => {
  test('neighbours of the same iomode are one segment', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.grant(1, rw, 20, 10);
    lab.grant(1, read, 10, 10);
    expect(lab.segments(1)).toEqual(['read 10+10', 'rw 0+10', 'rw 20+10']);
    lab.grant(1, rw, 10, 10);
    expect(lab.segments(1)).toEqual(['read 10+10', 'rw 0+30']);
    lab.grant(1, rw, 5, Infinity);
    expect(lab.segments(1)).toEqual(['read 10+10', 'rw 0+Infinity']);
  });

  test('held() tells the state, since when, and the newest stateid', () => {
    const lab = new Lab();
    lab.grant(1, rw, 0, 10);
    lab.now += 500;
    const stateid = lab.grant(1, rw, 20, 10);
    expect(lab.layouts.held()).toEqual([
      {
        client: 1,
        ino: 1,
        stateid,
        segments: [
          { iomode: rw, offset: 0, length: 10 },
          { iomode: rw, offset: 20, length: 10 },
        ],
        state: 'held',
        since: 1000,
      },
    ]);
  });
});

describe('checkCommit (RFC 8881 §18.42)', () => {
  test('what is held RW may be committed; nothing to commit is fine too', () => {
    const { commit } = holding();
    expect(commit([0, 50])).toBeUndefined();
    expect(commit([0, 10], [40, 10])).toBeUndefined();
    expect(commit()).toBeUndefined();
  });

  test('READ alone is BADIOMODE, no layout is BADLAYOUT, be it one byte of one range', () => {
    const { commit } = holding();
    expect(commit([0, 10], [49, 2])).toBe('BADIOMODE');
    expect(commit([60, 10])).toBe('BADIOMODE');
    expect(commit([99, 2])).toBe('BADLAYOUT');
    expect(commit([500, 1])).toBe('BADLAYOUT');
    expect(commit([0, 0])).toBe('INVAL');
  });

  test('it stays legal while the layout is being recalled', () => {
    const { lab, commit } = holding();
    lab.break('write', 0, 100);
    expect(commit([0, 50])).toBeUndefined();
  });

  test('a grant that is not confirmed is not held', () => {
    const { lab, commit } = holding();
    lab.reserve(1, rw, 100, 50);
    expect(commit([100, 50])).toBe('BADLAYOUT');
  });

  test('a stateid that is unknown, foreign, zero or from the future is BADLAYOUT, for want of another (RFC 8881 §15.2)', () => {
    const { lab, stateid } = holding();
    const status = (client: number, other: string, seqid: number) =>
      lab.layouts.checkCommit({ client, ino: 1, stateid: { other, seqid } }, [])?.status;
    expect(status(1, stateid.other, stateid.seqid)).toBeUndefined();
    expect(status(1, stateid.other, 1)).toBeUndefined();
    expect(status(1, stateid.other, 0)).toBe('BADLAYOUT');
    expect(status(1, stateid.other, stateid.seqid + 1)).toBe('BADLAYOUT');
    expect(status(1, 'f'.repeat(24), 1)).toBe('BADLAYOUT');
    expect(status(2, stateid.other, 1)).toBe('BADLAYOUT');
  });
});
