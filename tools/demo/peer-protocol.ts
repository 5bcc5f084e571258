/** What the demonstration asks of its client processes, and what they answer. */
export type PeerRequest =
  | { readonly do: 'connect'; readonly address: string; readonly device: string; readonly owner: string }
  /** Reads the whole file through a READ layout; answers its digest and how many bytes came which way. */
  | { readonly do: 'read'; readonly path: string }
  /** Writes `bytes` of noise to a new file through a RW layout and commits. */
  | { readonly do: 'write'; readonly path: string; readonly bytes: number }
  /** Takes a layout and keeps it. `answer`: returns it when recalled, or ignores the recall. */
  | {
      readonly do: 'hold';
      readonly path: string;
      readonly iomode: 'read' | 'rw';
      readonly offset: number;
      readonly length: number;
      readonly answer: 'return' | 'ignore';
    }
  /** What was heard about the layout held, and the digest of the bytes that it still names, read from the device itself. */
  | { readonly do: 'held' }
  /** Asks for one more layout; answers the name of the refusal. */
  | { readonly do: 'try-layout'; readonly path: string }
  /** Tries to commit under the layout held. */
  | { readonly do: 'try-commit' }
  /** Writes files under a RW layout, committing each, until killed; reports through `progress`. */
  | { readonly do: 'write-until-killed'; readonly dir: string }
  | { readonly do: 'progress' }
  | { readonly do: 'measure-throughput'; readonly path: string; readonly bytes: number }
  | { readonly do: 'measure-layoutget'; readonly path: string; readonly rounds: number }
  /** Takes a RW layout that another peer holds, so that it is recalled; answers how long that took. */
  | { readonly do: 'take'; readonly path: string }
  | { readonly do: 'close' };

export interface Segment {
  readonly offset: number;
  readonly length: number;
  readonly storageOffset: number;
}

export interface PeerReply {
  readonly digest?: string;
  readonly directBytes?: number;
  readonly serverBytes?: number;
  readonly segments?: readonly Segment[];
  readonly recalled?: boolean;
  readonly revoked?: boolean;
  readonly returned?: boolean;
  readonly status?: string;
  readonly committed?: readonly { readonly path: string; readonly digest: string }[];
  /** GB/s (10^9 bytes a second). */
  readonly readGBps?: number;
  readonly writeGBps?: number;
  readonly memcpyGBps?: number;
  readonly microseconds?: readonly number[];
}
