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
import { extentState, type LayoutExtent, type LayoutReach } from '../fs/engine/leases.ts';
import { limits } from '../fs/limits.ts';
import { after } from '../fs/reply.ts';
import type { Reply } from '../fs/vfs.ts';
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
  spanFor(wanted: Wanted, asker: Asker, fileSize: number): Reply<Span> {
    const wish = { start: wanted.start, end: wanted.wishEnd };
    if (wanted.isExact || !this.#isAlone(wanted, asker)) return wish;
    const more =
      wanted.iomode === iomode.read
        ? this.#moreToRead(wish, asker, blockUp(fileSize))
        : this.#moreToWrite(wish, asker, blockUp(fileSize));
    return after(more, (span) => this.#withoutOwn(wanted, asker, span));
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
    const isShared = this.#server.fs.isPinned(ino);
    const file = { client, ino, iomode: mode, offset: 0, length: Infinity, sparesOwn: false, isShared };
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
            isShared: this.#server.fs.isPinned(ino),
          });
    return {
      start: clearTo(more.start, start) === start ? more.start : start,
      end: clearTo(wishEnd, more.end),
    };
  }

  /** Rule 2. */
  #moreToRead(wish: Span, { ino }: Asker, fileEnd: number): Reply<Span> {
    if (wish.start === 0 && wish.end === fileEnd) return wish;
    return after(this.#reach(ino, 0, fileEnd), (whole) => {
      if (whole.listed >= fileEnd) return { start: 0, end: fileEnd };
      return after(this.#reach(ino, wish.start, fileEnd), ({ listed }) => ({
        start: wish.start,
        end: Math.max(wish.end, Math.min(listed, fileEnd)),
      }));
    });
  }

  /** Rules 3 and 4. */
  #moreToWrite(wish: Span, asker: Asker, fileEnd: number): Reply<Span> {
    const room = this.#room();
    if (room < serverLimits.moreMin) return wish;
    const wished = wish.end - wish.start;
    const most = Math.max(Math.min(wished + room, serverLimits.layoutWriteMax), wished);
    return after(this.#endOfOwn(wish, asker.ino, fileEnd), (endOfOwn) =>
      after(this.#endAhead(wish, asker), (endAhead) => {
        const end = Math.min(Math.max(endOfOwn, endAhead), wish.start + most, limits.fileSizeMax);
        const right = { start: wish.start, end };
        if (wish.start === 0 || end > most || end < fileEnd) return right;
        return after(this.#reach(asker.ino, 0, wish.start), ({ own }) =>
          own === wish.start ? { start: 0, end } : right,
        );
      }),
    );
  }

  #endOfOwn(wish: Span, ino: number, fileEnd: number): Reply<number> {
    if (wish.end >= fileEnd) return wish.end;
    return after(this.#reach(ino, wish.start, fileEnd), ({ own }) => Math.max(own, wish.end));
  }

  #endAhead(wish: Span, { client, ino }: Asker): Reply<number> {
    const last = this.#sequences.before(client, ino, wish.start);
    if (last === 0) return wish.end;
    return after(this.#server.fs.vfs.statfs(ino), ({ blocksAvailable }) => {
      const room = blocksAvailable * limits.blockSize * serverLimits.aheadQuotaShare;
      const end = Math.min(wish.start + Math.min(2 * last, serverLimits.aheadMax), wish.end + room);
      return Math.max(Math.floor(end / limits.hugePage) * limits.hugePage, wish.end);
    });
  }

  #reach(ino: number, start: number, end: number): Reply<LayoutReach> {
    const range = { offset: start, length: end - start };
    return this.#server.fs.layouts.reach(ino, range, serverLimits.moreExtentsMax);
  }

  /** Rule 5, but for quotas: bytes. */
  #room(): number {
    const { free, provisional, total } = this.#server.fs.status().blocks;
    if (free < total * serverLimits.scarceShare) return 0;
    const blocks = (free + provisional) * serverLimits.aheadShare - provisional;
    return blockDown(Math.max(0, blocks) * limits.blockSize);
  }
}
