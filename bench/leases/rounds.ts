/** Requests that keep a connection busy, and what they cost. */
import type { RequestOf } from '../../mds/protocol/operation.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { cpuSeconds } from '../lib/processor.ts';
import { isState, type Opened, type Peer, type WireState } from './peer.ts';

export interface Rate {
  readonly pairsPerSecond: number;
  /** Processor time of the server for a pair, in seconds. */
  readonly serverCpu: number;
}

export interface Target {
  readonly peer: Peer;
  readonly slot: number;
  readonly file: Opened;
  /** The layout state that the client has on the file beside what it gets and returns; undefined: none. */
  readonly held: WireState | undefined;
  readonly iomode: 1 | 2;
  readonly offset: number;
  readonly length: number;
}

/** LAYOUTGET and LAYOUTRETURN by turns for each target, all at once, until `pairs` are done. */
export async function getAndReturn(targets: readonly Target[], pairs: number, serverPid: number): Promise<Rate> {
  const [cpu, began] = [await cpuSeconds(serverPid), performance.now()];
  let left = pairs;
  await Promise.all(
    targets.map(
      (target) =>
        new Promise<void>((resolve) => {
          let state = target.held;
          const step = (): void => {
            if (left-- <= 0) {
              resolve();
              return;
            }
            pair(target, state, (after) => {
              state = after;
              step();
            });
          };
          step();
        }),
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  return { pairsPerSecond: pairs / seconds, serverCpu: ((await cpuSeconds(serverPid)) - cpu) / pairs };
}

function pair(target: Target, state: WireState | undefined, done: (state: WireState | undefined) => void): void {
  const { peer, slot, file, iomode, offset, length } = target;
  const get: RequestOf<typeof operations.LAYOUTGET> = [
    file.ino,
    state ?? file.stateid,
    iomode,
    offset,
    length,
    length,
    64,
    false,
  ];
  peer.send(operations.LAYOUTGET, get, slot, ([granted]) => {
    if (!isState(granted)) throw new TypeError('no layout');
    peer.send(operations.LAYOUTRETURN, [1, file.ino, granted, iomode, offset, length, false], slot, ([kept]) => {
      done(isState(kept) ? kept : undefined);
    });
  });
}
