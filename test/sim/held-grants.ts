/** What clients were granted, and what is left of it after what they say: by the words of docs/protocol.md §7. */
import { iomode } from '../../layout/types.ts';
import type { operations, RequestOf } from '../../mds/protocol/index.ts';

/** What somebody may do with a stretch of the device. Bytes. */
export interface Grant {
  readonly ino: number;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
  readonly storage: number;
  readonly writable: boolean;
}

/** Layout states that a client was told of: by inode, in hex. */
interface Named {
  readonly others: ReadonlyMap<number, string>;
}

export function overlaps(grant: Grant, storage: number, length: number): boolean {
  return storage < grant.storage + grant.length && grant.storage < storage + length;
}

/** By the file's bytes. */
export function within(grant: Grant, offset: number, length: number): boolean {
  return offset < grant.offset + grant.length && grant.offset < offset + length;
}

/** Arguments of a LAYOUTRETURN. */
type Gone = readonly [number, number | null, unknown, number, number, number, ...unknown[]];

/** What is left after a LAYOUTRETURN of these arguments. */
export function without(grants: readonly Grant[], [kind, ino, , mode, offset, length]: Gone): Grant[] {
  if (kind !== 1) return [];
  const end = offset + length;
  return grants.flatMap((grant) => {
    const isMeant =
      grant.ino === ino && (mode === iomode.any || mode === grant.iomode) && within(grant, offset, length);
    return isMeant
      ? [part(grant, grant.offset, offset), part(grant, end, grant.offset + grant.length)].flat()
      : [grant];
  });
}

/** What is left after a LAYOUTCOMMIT: it gives up what may only be read of what it commits (docs/protocol.md §7). */
export function withoutOld(
  grants: readonly Grant[],
  [ino, , ranges]: RequestOf<typeof operations.LAYOUTCOMMIT>,
): Grant[] {
  const isOld = (grant: Grant): boolean => grant.ino === ino && !grant.writable;
  const old = ranges.reduce<readonly Grant[]>(
    (left, [offset, length]) => without(left, [1, ino, null, iomode.any, offset, length]),
    grants.filter(isOld),
  );
  return [...grants.filter((grant) => !isOld(grant)), ...old];
}

/** What a LAYOUTGET for writing takes from what the client may read (docs/protocol.md §7). */
export function readBelow([ino, , mode, offset, length]: readonly [
  number,
  unknown,
  number,
  number,
  number,
  ...unknown[],
]): Gone {
  return [1, ino, null, iomode.read, offset, mode === iomode.rw ? length : 0];
}

/** Coming with an open stateid again says that nothing of the file is held any more (docs/protocol.md, 7). */
export function withoutForgotten(
  { others }: Named,
  grants: readonly Grant[],
  [ino, [, other]]: RequestOf<typeof operations.LAYOUTGET>,
): Grant[] {
  const known = others.get(ino);
  const isForgotten = known !== undefined && known !== Buffer.from(other).toString('hex');
  return isForgotten ? grants.filter((grant) => grant.ino !== ino) : [...grants];
}

/** What is left after a FREE_STATEID, by which a client says what a return would have said (docs/protocol.md §7, Fence). */
export function withoutState(
  { others }: Named,
  grants: readonly Grant[],
  [, other]: readonly [number, Uint8Array],
): Grant[] {
  const freed = Buffer.from(other).toString('hex');
  return grants.filter(({ ino }) => others.get(ino) !== freed);
}

function part(grant: Grant, from: number, to: number): Grant[] {
  if (from >= to) return [];
  return [{ ...grant, offset: from, length: to - from, storage: grant.storage + (from - grant.offset) }];
}

export function text({ ino, iomode: mode, offset, length, storage, writable }: Grant): string {
  return `inode ${ino} ${mode === iomode.rw ? 'RW' : 'READ'} ${offset}+${length} at ${storage}${writable ? '' : ' (read)'}`;
}
