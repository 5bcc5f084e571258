import type { ServerCounters } from './protocol/server-status.ts';

/** What the server did since it began; the only place where these numbers change is where the thing happens. */
export type Counters = { -readonly [name in keyof ServerCounters]: number };

export function newCounters(): Counters {
  return {
    requests: 0,
    bytesRead: 0,
    bytesWritten: 0,
    layoutsGranted: 0,
    layoutsCommitted: 0,
    recallsSent: 0,
    layoutsReturned: 0,
    layoutsRevoked: 0,
    protocolErrors: 0,
  };
}
