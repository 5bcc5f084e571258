import { StatusError } from '../protocol/status.ts';

/** What a number on the wire stands for in a list of the protocol. @throws StatusError INVAL */
export function member<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new StatusError('INVAL', `${index} is not one of ${list.join(', ')}`);
  return found;
}
