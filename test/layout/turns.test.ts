import { describe, expect, test } from 'vitest';
import { limits } from '../../layout/limits.ts';
import { actionsOf, any, deadlineMs, expectKind, Lab, only, read, rw } from './lab.ts';

/** Client 1 reads, client 2 waits to write and is sent away. */
function sentAway(signal = true) {
  const lab = new Lab();
  lab.grant(1, read, 0, 10);
  const { breakId } = lab.wait(2, rw, 0, 10);
  const { kept, actions } = lab.layouts.giveUp(lab.now, breakId, signal);
  return { lab, breakId, kept, actions };
}

describe('a get that was sent away with LAYOUTTRYLATER', () => {
  test('keeps its turn: a later one that conflicts waits behind it', () => {
    const { lab, kept } = sentAway();
    expect(kept).toBe(true);
    const later = lab.wait(3, read, 0, 10);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([{ type: 'available', client: 2, ino: 1 }]);
    const grant = lab.reserve(2, rw, 0, 10);
    lab.confirm(2, grant);
    expect(actionsOf(lab.layouts.endBreak(lab.now, later.breakId), 'broken')).toEqual([]);
    expect(lab.segments(2)).toEqual(['rw 0+10']);
  });

  test('says nothing when its range is free if it did not wish so', () => {
    const { lab } = sentAway(false);
    expect(lab.giveBack(1, any, 0, 10)).toEqual([]);
  });

  test('also for part of what it asked for, but not for more', () => {
    const { lab } = sentAway();
    lab.wait(3, rw, 0, 100);
    lab.giveBack(1, any, 0, 10);
    expect(lab.get(2, rw, 5, 50).kind).toBe('conflict');
    expect(lab.get(2, rw, 2, 3).kind).toBe('reserved');
  });

  test('for as long as a deadline, and 3 s from when the range is free', () => {
    const waiting = sentAway().lab;
    waiting.layouts.tick((waiting.now += deadlineMs));
    expect(waiting.layouts.nextDeadline(), 'nobody is waited for any more').toBeUndefined();
    const { lab } = sentAway();
    const later = lab.wait(3, read, 0, 10);
    lab.giveBack(1, any, 0, 10);
    expect(lab.layouts.tick((lab.now += limits.claimHoldMs - 1))).toEqual([]);
    expect(lab.layouts.tick((lab.now += 1))).toEqual([{ type: 'broken', breakId: later.breakId }]);
  });

  test('is forgotten with its client', () => {
    const { lab } = sentAway();
    const later = lab.wait(3, read, 0, 10);
    lab.giveBack(1, any, 0, 10);
    expect(lab.layouts.clientLost(lab.now, 2)).toEqual([{ type: 'broken', breakId: later.breakId }]);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('no more than 64 of a file are remembered', () => {
    const lab = new Lab();
    lab.grant(1, read, 0, 10);
    const kept = Array.from({ length: limits.claimsPerFileMax + 1 }, (_, n) => {
      const { breakId } = lab.wait(n + 2, rw, 0, 10);
      return lab.layouts.giveUp(lab.now, breakId, true).kept;
    });
    expect(kept.filter(Boolean)).toHaveLength(limits.claimsPerFileMax);
    expect(kept.at(-1)).toBe(false);
  });
});

test('a writer is served though readers keep coming, and though each of its tries ends before its time', () => {
  const lab = new Lab();
  lab.grant(10, read, 0, 10);
  let held = 10;
  let served = false;
  const waiting: { client: number; breakId: number }[] = [];
  for (let reader = 11; reader < 40 && !served; reader++) {
    const write = lab.get(1, rw, 0, 10);
    if (write.kind === 'conflict') lab.layouts.giveUp(lab.now, write.breakId, false);
    served = write.kind === 'reserved';
    const get = lab.get(reader, read, 0, 10);
    if (get.kind === 'conflict') waiting.push({ client: reader, breakId: get.breakId });
    else if (get.kind === 'reserved' && !served) {
      lab.confirm(reader, get.grant);
      if (held !== reader) lab.giveBack(held, any, 0, 10);
      held = reader;
      continue;
    }
    if (lab.layouts.holdsAny(held)) lab.giveBack(held, any, 0, 10);
    lab.now += 1000;
  }
  expect(served).toBe(true);
  expect(waiting.length).toBeLessThan(3);
});

function crowded() {
  const lab = new Lab({ segmentsHighMark: 16, segmentsMax: 24 });
  for (let ino = 1; ino <= 12; ino++) lab.grant(1, read, 0, 10, { ino });
  for (let ino = 1; ino <= 4; ino++) lab.grant(2, read, 0, 10, { ino });
  return lab;
}

describe('memory is short (RFC 8881 §20.6)', () => {
  test('above the high mark those who hold most are asked to keep fewer, others are not', () => {
    const lab = crowded();
    const { actions } = expectKind(lab.get(3, read, 0, 10), 'reserved');
    expect(actions).toEqual([{ type: 'recall-any', client: 1, keep: 7 }]);
    expect(expectKind(lab.get(3, read, 0, 10, { ino: 2 }), 'reserved').actions, 'once').toEqual([]);
  });

  test('who keeps more after a lease loses his oldest, and is asked for less', () => {
    const lab = crowded();
    lab.get(3, read, 0, 10);
    lab.get(3, read, 0, 10, { ino: 2 });
    expect(lab.layouts.tick((lab.now += deadlineMs - 1))).toEqual([]);
    const actions = lab.layouts.tick((lab.now += 1));
    expect(actionsOf(actions, 'recall').map(({ client, ino }) => [client, ino])).toEqual(
      [1, 2, 3, 4, 5].map((ino) => [1, ino]),
    );
    expect(actionsOf(actions, 'recall-any').map(({ client, keep }) => [client, keep])).toEqual([[1, 6]]);
  });

  test('who gave back in time is left alone', () => {
    const lab = crowded();
    lab.layouts.cancel(lab.now, lab.reserve(3, read, 0, 10));
    for (let ino = 1; ino <= 5; ino++) {
      const stateid = lab.stateid(1, ino);
      if (stateid === undefined) throw new Error('no state');
      lab.layouts.return(lab.now, { client: 1, ino, iomode: 3, offset: 0, length: Infinity, stateid });
    }
    expect(lab.layouts.tick((lab.now += deadlineMs))).toEqual([]);
    expect(lab.layouts.nextDeadline()).toBeUndefined();
  });

  test('only above the higher mark nobody gets more', () => {
    const lab = crowded();
    for (let ino = 1; ino <= 8; ino++) lab.grant(3, read, 0, 10, { ino });
    expect(lab.refusal(lab.get(3, read, 0, 10, { ino: 9 }))).toBe('LAYOUTTRYLATER');
    lab.giveBack(2, any, 0, Infinity);
    expect(lab.get(3, read, 0, 10, { ino: 9 }).kind).toBe('reserved');
    expect(only(lab.layouts.clientLost(lab.now, 1), 'fence').segments).toHaveLength(12);
  });
});
