import { randomBytes } from 'node:crypto';

/**
 * `other` fields of stateids: 4 bytes that differ between runs of the server, so that a stateid of a former run is
 * never taken for one of this run, and 8 bytes that count. Written out of a buffer, since a string that was put together from
 * pieces keeps the pieces: a server has a million of them.
 */
export function otherSource(): () => string {
  const other = Buffer.concat([randomBytes(4), Buffer.alloc(8)]);
  let last = 0n;
  return () => {
    other.writeBigUInt64BE(++last, 4);
    return other.toString('hex');
  };
}
