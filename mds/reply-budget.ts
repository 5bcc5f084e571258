/**
 * Replies kept for retries, in bytes over all clients. Nothing that is kept is ever thrown away, since its retry could not
 * be answered then; so beyond the bound those who have more than their share are put off before their request runs.
 */
import { serverLimits } from './limits.ts';

/** What one client has of it. */
export interface ReplyShare {
  keptBytes: number;
}

export class ReplyBudget {
  /** Of the living. */
  clients = 0;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number = serverLimits.cachedRepliesMax) {
    this.#bytesMax = bytesMax;
  }

  account(share: ReplyShare, bytes: number): void {
    share.keptBytes += bytes;
    this.#bytes += bytes;
  }

  hasRoomFor(share: ReplyShare): boolean {
    return this.#bytes < this.#bytesMax || share.keptBytes < this.#bytesMax / Math.max(1, this.clients);
  }
}
