import { expect, test } from 'vitest';
import { CallbackSlots } from '../../client/callback-slots.ts';

/** Slots with a count of what ran. */
function slots(count: number) {
  const channel = new CallbackSlots(count);
  const ran: string[] = [];
  const ask = (slot: number, seqid: number, digest = 1) =>
    channel.answer({ slot, seqid, digest }, () => {
      ran.push(`${slot}/${seqid}`);
      return ran.length === 1 ? 'OK' : 'NOMATCHING_LAYOUT';
    });
  return { ask, ran };
}

test('a callback runs once, and is answered the same when it comes again (RFC 8881 §2.10.6)', () => {
  const { ask, ran } = slots(1);
  expect([ask(0, 1), ask(0, 1), ask(0, 2), ask(0, 2)]).toEqual(['OK', 'OK', 'NOMATCHING_LAYOUT', 'NOMATCHING_LAYOUT']);
  expect(ran).toEqual(['0/1', '0/2']);
});

test('each slot counts for itself', () => {
  const { ask, ran } = slots(2);
  void ask(1, 1);
  void ask(0, 1);
  void ask(1, 2);
  expect(ran).toEqual(['1/1', '0/1', '1/2']);
});

test('another sequence number, another callback under it, or a slot that is not there is refused by name', () => {
  const { ask, ran } = slots(1);
  expect([ask(0, 0), ask(0, 2), ask(1, 1)]).toEqual(['SEQ_MISORDERED', 'SEQ_MISORDERED', 'BADSLOT']);
  void ask(0, 1);
  expect([ask(0, 3), ask(0, 0), ask(0, 1, 2)]).toEqual(['SEQ_MISORDERED', 'SEQ_MISORDERED', 'SEQ_FALSE_RETRY']);
  expect(ran).toEqual(['0/1']);
});

test('one that comes again while it runs is answered when the first one is', async () => {
  const channel = new CallbackSlots(1);
  const asked = { slot: 0, seqid: 1, digest: 1 };
  const first = channel.answer(asked, () => new Promise((resolve) => setImmediate(() => resolve('OK'))));
  const again = channel.answer(asked, () => 'NOMATCHING_LAYOUT');
  expect(await Promise.all([first, again])).toEqual(['OK', 'OK']);
});
