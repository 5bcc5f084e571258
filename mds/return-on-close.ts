/**
 * What becomes of layouts when a client has closed a file for the last time (RFC 8881 §18.43.3, logr_return_on_close). Those
 * for writing keep everybody else waiting and hold blocks that nothing was written to: the client is to return them before
 * it closes, and where it has not, they are recalled, never just dropped, since nothing else keeps it from using
 * them. Those for reading hinder no reader and make the next open cheap: they stay until somebody needs them back.
 */
import { type Iomode, iomode } from '../layout/types.ts';
import type { LayoutLeases } from './leases.ts';
import type { Opens } from './opens.ts';

/** @param isPinned it keeps nobody waiting, and no blocks but the file's own */
export function isReturnedOnClose(mode: Iomode, isPinned: boolean): boolean {
  return mode === iomode.rw && !isPinned;
}

export class ReturnOnClose {
  readonly #opens: Pick<Opens, 'isOpen'>;
  readonly #leases: Pick<LayoutLeases, 'recallOwn'>;
  readonly #isPinned: (ino: number) => boolean;
  /** Under way, so that opening and closing again begins no second one. */
  readonly #recalling = new Set<string>();

  constructor(
    opens: Pick<Opens, 'isOpen'>,
    leases: Pick<LayoutLeases, 'recallOwn'>,
    isPinned: (ino: number) => boolean,
  ) {
    this.#isPinned = isPinned;
    this.#opens = opens;
    this.#leases = leases;
  }

  /** The client has closed the file; nobody waits for what follows. */
  closed(ino: number, client: number): void {
    const key = `${client}/${ino}`;
    if (this.#isPinned(ino) || this.#opens.isOpen(ino, client) || this.#recalling.has(key)) return;
    const recalled = this.#leases.recallOwn(client, { ino, offset: 0, length: Infinity }, 'close');
    if (recalled === undefined) return;
    this.#recalling.add(key);
    void recalled.then(() => this.#recalling.delete(key));
  }
}
