import { randomBytes } from 'node:crypto';

/**
 * `other` fields of stateids: 4 bytes that differ between runs of the server, so that a stateid of a former run is
 * never taken for one of this run, and 8 bytes that count.
 */
export function otherSource(): () => string {
  const run = randomBytes(4).toString('hex');
  let last = 0n;
  return () => {
    last++;
    return run + last.toString(16).padStart(16, '0');
  };
}
