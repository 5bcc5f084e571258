import { fc, test } from '@fast-check/vitest';
import { describe, expect, test as plain } from 'vitest';
import { newest, orderRecall, seqidAhead } from '../../client/recalls.ts';

const other = 'a'.repeat(24);
const state = (seqid: number, of = other) => ({ seqid, other: of });

describe('a recall among the replies (RFC 8881 §12.5.5.2)', () => {
  plain('with the number after ours nothing is missing: it acts', () => {
    expect(orderRecall({ held: state(4), getting: true }, state(5))).toBe('ok');
  });
  plain('with a number beyond that replies are missing: not yet', () => {
    expect(orderRecall({ held: state(4), getting: false }, state(6))).toBe('delay');
  });
  plain('sent again, or overtaken by a reply, it acts once more, which does no harm', () => {
    expect(orderRecall({ held: state(4), getting: false }, state(4))).toBe('ok');
    expect(orderRecall({ held: state(9), getting: false }, state(5))).toBe('ok');
  });
  plain('of a layout that is not held it matches nothing', () => {
    expect(orderRecall({ held: undefined, getting: false }, state(2))).toBe('nomatching');
    expect(orderRecall({ held: state(4), getting: false }, state(5, 'b'.repeat(24)))).toBe('nomatching');
  });
  plain('of a layout that a LAYOUTGET on its way may bring it has to wait', () => {
    expect(orderRecall({ held: undefined, getting: true }, state(2))).toBe('delay');
    expect(orderRecall({ held: state(4), getting: true }, state(2, 'b'.repeat(24)))).toBe('delay');
  });
  plain('after 2^32-1 comes 1 (RFC 8881 §8.2.2: 0 is skipped)', () => {
    expect(orderRecall({ held: state(0xffff_ffff), getting: false }, state(1))).toBe('ok');
    expect(orderRecall({ held: state(0xffff_ffff), getting: false }, state(2))).toBe('delay');
    expect(orderRecall({ held: state(1), getting: false }, state(0xffff_ffff))).toBe('ok');
  });
});

const seqid = fc.integer({ min: 1, max: 0xffff_ffff });

test.prop([seqid, fc.integer({ min: 0, max: 1_000_000 })])('a step of n is n ahead, over the wrap too', (from, by) => {
  const to = ((from - 1 + by) % (2 ** 32 - 1)) + 1;
  expect(seqidAhead(to, from)).toBe(by);
  expect(seqidAhead(from, to)).toBe(0 - by);
});

plain('of two states the newer one stays, and another layout replaces it', () => {
  expect(newest(state(4), state(3))).toEqual(state(4));
  expect(newest(state(0xffff_ffff), state(1))).toEqual(state(1));
  expect(newest(undefined, state(1))).toEqual(state(1));
  expect(newest(state(9), state(1, 'b'.repeat(24)))).toEqual(state(1, 'b'.repeat(24)));
});
