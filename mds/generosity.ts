/**
 * How much more than was asked for a grant takes in, so that a client that goes on need not ask again (RFC 8881
 * §12.5.2 leaves it to the server). The rules:
 *
 * 1. A client that needs all that it wishes gets exactly that. The others get more only while nobody else holds or waits for a
 *    layout of the file that excludes theirs: no recall is ever due to what nobody asked for.
 * 2. For reading the whole file; where that is scattered, as far as some extents go.
 * 3. For writing what the file has there already, and the whole file if that is small. It takes no space, but a
 *    fence puts all of it away, so that it counts like space.
 * 4. To who writes in sequence twice as much each time, holes too, up to the next huge page of the file.
 * 5. Space that nobody asked for is given out only while plenty is free (aheadShare, aheadQuotaShare and scarceShare of
 *    limits.ts), and asked back before anybody else goes without (SpareGrants).
 */
import { extentState, type LayoutExtent } from '../fs/engine/leases.ts';
import { limits } from '../fs/limits.ts';
import { iomode } from '../layout/types.ts';
import { blockDown, blockUp } from './blocks.ts';
import type { Context } from './context.ts';
import { serverLimits } from './limits.ts';
import { Sequences } from './sequences.ts';
import type { Span, Wanted } from './spans.ts';

type Server = Pick<Context, 'fs' | 'leases' | 'opens'>;

/** Who asks for which file. */
interface Asker {
  readonly client: number;
  readonly ino: number;
}

/** What was granted. */
interface Given {
  readonly span: Span;
  readonly extents: readonly LayoutExtent[];
}

export class Generosity {
  readonly #server: Server;
  readonly #sequences = new Sequences();

  constructor(server: Server) {
    this.#server = server;
  }

  /** A span around what is wished for. @throws FsError */
  async spanFor(wanted: Wanted, asker: Asker, fileSize: number): Promise<Span> {
    const wish = { start: wanted.start, end: wanted.wishEnd };
    if (wanted.isExact || !this.#isAlone(wanted, asker)) return wish;
    const more =
      wanted.iomode === iomode.read
        ? await this.#moreToRead(wish, asker, blockUp(fileSize))
        : await this.#moreToWrite(wish, asker, blockUp(fileSize));
    return this.#withoutOwn(wanted, asker, more);
  }

  granted({ iomode: mode, wishEnd }: Wanted, { client, ino }: Asker, { span, extents }: Given): void {
    if (mode !== iomode.rw) return;
    this.#sequences.granted(client, ino, span);
    const isSpare = extents.some(
      ({ state, offset, length }) => state === extentState.invalid && offset + length > wishEnd,
    );
    if (isSpare) this.#server.leases.spare.add({ client, ino, start: wishEnd, end: span.end });
  }

  #isAlone({ iomode: mode }: Wanted, { client, ino }: Asker): boolean {
    const { leases, opens } = this.#server;
    if (mode === iomode.rw && opens.isOpenByOthers(ino, client)) return false;
    const file = { client, ino, iomode: mode, offset: 0, length: Infinity, sparesOwn: false };
    return leases.table.clearTo(file) === Infinity;
  }

  /** What the client holds in the other iomode stays as it is where it did not ask for it. */
  #withoutOwn({ iomode: mode, start, wishEnd }: Wanted, { client, ino }: Asker, more: Span): Span {
    const clearTo = (offset: number, end: number): number =>
      offset === end
        ? end
        : this.#server.leases.table.clearTo({
            client,
            ino,
            iomode: mode,
            offset,
            length: end - offset,
            sparesOwn: true,
          });
    return {
      start: clearTo(more.start, start) === start ? more.start : start,
      end: clearTo(wishEnd, more.end),
    };
  }

  /** Rule 2. */
  async #moreToRead(wish: Span, { ino }: Asker, fileEnd: number): Promise<Span> {
    if (wish.start === 0 && wish.end === fileEnd) return wish;
    const { layouts } = this.#server.fs;
    const whole = await layouts.reach(ino, { offset: 0, length: fileEnd }, serverLimits.moreExtentsMax);
    if (whole.listed >= fileEnd) return { start: 0, end: fileEnd };
    const range = { offset: wish.start, length: fileEnd - wish.start };
    const { listed } = await layouts.reach(ino, range, serverLimits.moreExtentsMax);
    return { start: wish.start, end: Math.max(wish.end, Math.min(listed, fileEnd)) };
  }

  /** Rules 3 and 4. */
  async #moreToWrite(wish: Span, asker: Asker, fileEnd: number): Promise<Span> {
    const room = this.#room();
    if (room < serverLimits.moreMin) return wish;
    const wished = wish.end - wish.start;
    const most = Math.max(Math.min(wished + room, serverLimits.layoutWriteMax), wished);
    const end = Math.max(await this.#endOfOwn(wish, asker.ino, fileEnd), await this.#endAhead(wish, asker));
    const right = { start: wish.start, end: Math.min(end, wish.start + most, limits.fileSizeMax) };
    if (wish.start === 0 || right.end > most || right.end < fileEnd) return right;
    const before = { offset: 0, length: wish.start };
    const { own } = await this.#server.fs.layouts.reach(asker.ino, before, serverLimits.moreExtentsMax);
    return own === wish.start ? { start: 0, end: right.end } : right;
  }

  async #endOfOwn(wish: Span, ino: number, fileEnd: number): Promise<number> {
    if (wish.end >= fileEnd) return wish.end;
    const range = { offset: wish.start, length: fileEnd - wish.start };
    const { own } = await this.#server.fs.layouts.reach(ino, range, serverLimits.moreExtentsMax);
    return Math.max(own, wish.end);
  }

  async #endAhead(wish: Span, { client, ino }: Asker): Promise<number> {
    const last = this.#sequences.before(client, ino, wish.start);
    if (last === 0) return wish.end;
    const { blocksAvailable } = await this.#server.fs.vfs.statfs(ino);
    const room = blocksAvailable * limits.blockSize * serverLimits.aheadQuotaShare;
    const end = Math.min(wish.start + Math.min(2 * last, serverLimits.aheadMax), wish.end + room);
    return Math.max(Math.floor(end / limits.hugePage) * limits.hugePage, wish.end);
  }

  /** Rule 5, but for quotas: bytes. */
  #room(): number {
    const { free, provisional, total } = this.#server.fs.status().blocks;
    if (free < total * serverLimits.scarceShare) return 0;
    const blocks = (free + provisional) * serverLimits.aheadShare - provisional;
    return blockDown(Math.max(0, blocks) * limits.blockSize);
  }
}
