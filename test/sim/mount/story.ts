/** What programs of mount.test.ts do, and tell of it. */

/** Through the mount with the kernel's pages or past them; by the library on the blocks or through the server. */
export type Kind = 'buffered' | 'direct' | 'peer' | 'server';

export const fileNames: readonly [string, ...string[]] = ['a', 'b'];

/** All that is used of a file. */
export const blocksPerFile = 6;

/** What was read of a block whose words are of more than one value. */
export const torn = -1;

/** Of one access; `values`: what was read or written, by block. */
export interface Line {
  readonly kind: 'read' | 'write';
  readonly name: string;
  readonly first: number;
  readonly values: readonly number[];
  /** The server moved the bytes, not the program that asked. */
  readonly byServer: boolean;
  /** ms */
  readonly began: number;
  readonly ended: number;
}
