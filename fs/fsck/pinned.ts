/** P1 to P3 of fs/engine/pinned.ts: a pinned file is one written extent of its own, where it was asked to be. */
import { alignmentOf, isPinned } from '../engine/pinned.ts';
import type { ExtentRecord } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { CheckContext } from './context.ts';

const bs = limits.blockSize;

/** Extents come in the order of their files and offsets. */
export class PinnedFiles {
  readonly #check: CheckContext;
  readonly #seen = new Set<number>();

  constructor(check: CheckContext) {
    this.#check = check;
  }

  async extent(
    ino: number,
    { fileBlock, block, length, flags }: ExtentRecord & { readonly fileBlock: number },
  ): Promise<void> {
    const inode = this.#check.inodes.get(ino);
    if (inode === undefined || !isPinned(inode)) return;
    const report = (detail: string): Promise<void> => this.#check.report(5, 'pinned', ino, `pinned, but ${detail}`);
    if (this.#seen.has(ino)) return report(`file block ${fileBlock} begins another extent`);
    this.#seen.add(ino);
    const needed = Math.ceil(inode.size / bs);
    if (fileBlock !== 0 || length !== needed)
      await report(`its extent has file blocks ${fileBlock}+${length}, not 0+${needed}`);
    if (flags !== 0) await report('it is unwritten, or shared with other files');
    const align = BigInt(alignmentOf(inode));
    const offset = BigInt(block) * BigInt(bs);
    // The memory may have another address since: then it still is aligned as it was.
    if (offset % align !== 0n && (this.#check.busAddress + offset) % align !== 0n && this.#check.busAddress !== 0n)
      return;
    if (offset % align !== 0n && this.#check.busAddress === 0n)
      await report(`byte ${offset} of the device is no multiple of ${align}`);
  }

  /** When all extents were seen. */
  async end(): Promise<void> {
    for (const inode of this.#check.inodes.all()) {
      if (!isPinned(inode) || inode.size === 0 || this.#seen.has(inode.ino)) continue;
      await this.#check.report(5, 'pinned', inode.ino, 'pinned, but has no blocks');
    }
  }
}
