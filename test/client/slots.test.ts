import { describe, expect, test } from 'vitest';
import { Call } from '../../client/call.ts';
import { Slots } from '../../client/slots.ts';
import { operations } from '../../mds/protocol/index.ts';

function call(urgent = false): Call {
  const made = new Call(operations.SEQUENCE, [], { timeoutMs: 60_000, urgent });
  made.result.catch(() => {});
  made.fail(new Error('only for its slot'));
  return made;
}

describe('slots (RFC 8881 §2.10.6.1)', () => {
  test('the first request has number 1, and each one that was carried out moves it by one', () => {
    const slots = new Slots(1);
    const slot = slots.take(call());
    expect(slot).toMatchObject({ index: 0, seqid: 1 });
    if (slot === undefined) return;
    slots.done(slot);
    expect(slots.take(call())).toMatchObject({ index: 0, seqid: 2 });
  });

  test('a request that never reached its slot does not move it', () => {
    const slots = new Slots(1);
    const slot = slots.take(call());
    if (slot !== undefined) slots.refused(slot);
    expect(slots.take(call())).toMatchObject({ index: 0, seqid: 1 });
  });

  test('after 2^32-1 comes 0, unlike stateids', () => {
    const slots = new Slots(1);
    const slot = slots.take(call());
    if (slot === undefined) throw new Error('no slot');
    slot.seqid = 0xffff_ffff;
    slots.done(slot);
    expect(slot.seqid).toBe(0);
  });

  test('the lowest free one is used', () => {
    const slots = new Slots(16);
    const taken = [call(), call(), call()].map((one) => slots.take(one));
    const [, second] = taken;
    if (second !== undefined) slots.done(second);
    expect(slots.take(call())?.index).toBe(1);
  });

  test('the last ones are kept for what the server waits for', () => {
    const slots = new Slots(8);
    for (let taken = 0; taken < 4; taken++) expect(slots.take(call())).toBeDefined();
    expect(slots.take(call())).toBeUndefined();
    expect(slots.take(call(true))?.index).toBe(4);
  });

  test('one slot serves everybody', () => {
    const slots = new Slots(1);
    expect(slots.take(call())?.index).toBe(0);
    expect(slots.take(call(true))).toBeUndefined();
  });

  test('the server may take the highest back', () => {
    const slots = new Slots(8);
    slots.setHighest(1);
    expect([call(true), call(true), call(true)].map((one) => slots.take(one)?.index)).toEqual([0, 1, undefined]);
  });
});
