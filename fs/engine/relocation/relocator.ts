/** What the jobs that move data have in common: a place to move to, layouts kept off, one slice after the other. */
import { limits } from '../../limits.ts';
import type { AllocateOptions, BlockRange } from '../../space/space.ts';
import type { Volume } from '../volume.ts';
import { run } from '../wait.ts';
import type { Progress } from './job.ts';
import { type Moved, Mover } from './move.ts';
import { Pace } from './pace.ts';

const bs = limits.blockSize;

export class Relocator {
  readonly v: Volume;
  readonly pace: Pace;
  readonly progress: Progress;
  readonly #mover: Mover;

  constructor(v: Volume, signal: AbortSignal, progress: Progress) {
    this.v = v;
    this.pace = new Pace(signal);
    this.progress = progress;
    this.#mover = new Mover(v);
  }

  /**
   * Runs `use` with free blocks to move to, closed to everybody else meanwhile: as many as asked for, or fewer.
   * @throws FsError ENOSPC: not a single block is free
   */
  async withTarget<T>(length: number, options: AllocateOptions, use: (target: BlockRange) => Promise<T>): Promise<T> {
    const { v } = this;
    const target = await run(() => v.space.setAside(length, options) ?? v.noSpace(this.progress.ino ?? 0));
    try {
      return await use(target);
    } finally {
      v.space.reopen(target);
    }
  }

  /** One slice; whoever is in the way is waited for. Then everybody else has a turn. */
  async slice(move: (mover: Mover) => Moved): Promise<Moved> {
    const moved = await run(() => move(this.#mover));
    if (moved.kind === 'moved') this.progress.moved += moved.length * bs;
    if (this.pace.isOver) await this.pace.next();
    return moved;
  }

  /**
   * Runs `work` while no client holds a layout on these blocks of the file, and none is granted: those that are out are
   * asked back once, and not for each slice.
   */
  async withoutLayouts<T>(ino: number, fileBlock: number, length: number, work: () => Promise<T>): Promise<T> {
    const range = { offset: fileBlock * bs, length: length * bs };
    const found = this.v.breakLayouts(ino, range, 'unmap');
    try {
      await found?.done;
      return await work();
    } finally {
      found?.release();
    }
  }
}
