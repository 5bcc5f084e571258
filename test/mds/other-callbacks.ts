import { operations } from '../../mds/protocol/ops.ts';
import type { RawClient } from './raw-client.ts';

/** What the client was asked by callbacks that are no recalls of files. */
export function asked(client: RawClient, answer: 'OK' | 'NOMATCHING_LAYOUT' | 'DELAY' = 'OK') {
  const all: unknown[][] = [];
  let wake: (() => void) | undefined;
  client.connection.onOther = (operation, args) => {
    all.push([operation, ...args]);
    wake?.();
    return answer;
  };
  const next = async (nth: number): Promise<unknown[]> => {
    for (;;) {
      const one = all[nth];
      if (one !== undefined) return one;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { all, next };
}

/** On slot 1, beside what waits on slot 0. Answers the status. */
export function returnAll(client: RawClient, kind: 2 | 3 = 3): Promise<string> {
  return client.statusOf(operations.LAYOUTRETURN, [kind, null, null, 3, 0, Infinity, false], 1);
}

/** CB_LAYOUTRECALL of everything, as it comes. */
export const allRecalled = [5, 3, null, null, 3, 0, Infinity, false];
