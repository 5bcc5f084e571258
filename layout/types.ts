/**
 * The words of layout leasing (RFC 8881 §12, RFC 5663). This folder is pure: it decides, the MDS acts. It imports
 * nothing, knows nothing of the wire or of blocks, does no I/O and has no clock: every event carries `now`.
 *
 * Times are milliseconds of a clock that never goes back; offsets and lengths are bytes of the file, a length of
 * Infinity means to the end and beyond.
 */

/** RFC 8881 §3.3.20. READ may be held by many, RW by one, for any byte. */
export const iomode = { read: 1, rw: 2, any: 3 } as const;
export type Iomode = 1 | 2;

/** RFC 8881 §3.3.12: seqid 1..2^32-1 (wraps to 1), `other` as 24 hex digits, constant for the life of the state. */
export interface StateId {
  readonly seqid: number;
  readonly other: string;
}

export interface Segment {
  readonly iomode: Iomode;
  readonly offset: number;
  readonly length: number;
}

/** Names of RFC 8881 §15.1 without their prefix, as far as this folder decides them. */
export type LayoutStatus =
  | 'BAD_STATEID'
  | 'OLD_STATEID'
  | 'ADMIN_REVOKED'
  | 'BADIOMODE'
  | 'BADLAYOUT'
  | 'INVAL'
  | 'LAYOUTTRYLATER'
  | 'RECALLCONFLICT';

export type Refused = { readonly kind: 'refused'; readonly status: LayoutStatus; readonly detail: string };

/**
 * Why an operation breaks layouts; fs/engine/leases.ts says what each means. `close`: a client has closed the file for the
 * last time, and its layouts for writing go with that (RFC 8881 §18.43.3, logr_return_on_close). `space`: others need what
 * a client was granted for writing without having asked for it.
 */
export type BreakReason = 'write' | 'remap' | 'unmap' | 'extend' | 'share' | 'cache' | 'close' | 'space';

export interface GetRequest {
  readonly client: number;
  readonly ino: number;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
  readonly minlength: number;
  /** Layouts of several clients on this file do not exclude each other: true for all of them, as long as one is out. */
  readonly isShared?: boolean;
  /** The layout stateid the client holds; undefined when it came with a (verified) open stateid instead. */
  readonly stateid: StateId | undefined;
}

export type GetResult =
  /** Inserted before its mapping is made durable: from now on it conflicts with others. Ends with confirm or cancel. */
  | {
      readonly kind: 'reserved';
      readonly grant: number;
      readonly segment: Segment;
      readonly actions: readonly Action[];
    }
  /** Others hold what conflicts and are being recalled. Wait for `broken`, ask again, then end the break. */
  | { readonly kind: 'conflict'; readonly breakId: number; readonly actions: readonly Action[] }
  | Refused;

export type ConfirmResult =
  /** Somebody may be waiting already: the actions can hold the recall of what was just granted. */
  | {
      readonly kind: 'granted';
      readonly stateid: StateId;
      readonly segment: Segment;
      readonly actions: readonly Action[];
    }
  /** A recall began meanwhile; the grant is gone (insert, then look again). The client gets RECALLCONFLICT. */
  | { readonly kind: 'recalled'; readonly actions: readonly Action[] };

export interface ReturnRequest {
  readonly client: number;
  readonly ino: number;
  readonly stateid: StateId;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
}

export type ReturnResult =
  | {
      readonly kind: 'returned';
      /** undefined: nothing is left, the stateid is gone (lrs_present false). */
      readonly stateid: StateId | undefined;
      /** What the client held and holds no more; uncommitted provisional blocks below `rw` ones can go. */
      readonly released: readonly Segment[];
      readonly actions: readonly Action[];
    }
  | Refused;

/** What a client returns by LAYOUTRETURN4_FSID or _ALL. */
export type BulkReturnResult =
  | { readonly kind: 'returned'; readonly released: readonly ReleasedFile[]; readonly actions: readonly Action[] }
  | Refused;

export interface ReleasedFile {
  readonly ino: number;
  readonly segments: readonly Segment[];
}

/** layoutrecall_type4 and layoutreturn_type4 (RFC 8881 §3.3.22, §20.3.1). */
export const recallKind = { file: 1, fsid: 2, all: 3 } as const;
export type BulkKind = typeof recallKind.fsid | typeof recallKind.all;

/** The client's answer to CB_LAYOUTRECALL, or why there was none; whatever makes no sense is `bad-stateid`. */
export type RecallReply = 'ok' | 'nomatching' | 'delay' | 'bad-stateid' | 'unreachable';

/** CB_LAYOUTRECALL of a file. It depends on all replies that carried an older seqid of `stateid` (RFC 8881 §12.5.5.2.1.2). */
export interface FileRecallAction {
  readonly type: 'recall';
  readonly recallId: number;
  readonly client: number;
  readonly ino: number;
  readonly stateid: StateId;
  readonly iomode: 1 | 2 | 3;
  readonly offset: number;
  readonly length: number;
  /** clora_changed: the blocks are about to move, do not write through the layout any more. */
  readonly changed: boolean;
}

/** CB_LAYOUTRECALL of everything; it depends on the replies to all layout requests of the client. */
export interface BulkRecallAction {
  readonly type: 'bulk-recall';
  readonly recallId: number;
  readonly client: number;
  readonly kind: BulkKind;
  readonly changed: boolean;
}

/** What the MDS must do now. Each is given once. */
export type Action =
  | FileRecallAction
  | BulkRecallAction
  /** CB_RECALL_ANY: keep no more layouts than this, of the client's choice. */
  | { readonly type: 'recall-any'; readonly client: number; readonly keep: number }
  /**
   * Everything was asked back, and the client holds nothing any more: it returned it, said that it had none of it, or its
   * fence holds. Its device ids are void (RFC 8881 §12.5.5.2.1.5).
   */
  | { readonly type: 'bulk-ended'; readonly recallId: number; readonly client: number }
  /** CB_RECALLABLE_OBJ_AVAIL: what the client was refused is free now. */
  | { readonly type: 'available'; readonly client: number; readonly ino: number }
  /** Make sure the client reaches none of this any more, then report `fenced`. All its layouts are revoked already. */
  | {
      readonly type: 'fence';
      readonly fenceId: number;
      readonly client: number;
      readonly segments: readonly FenceSegment[];
    }
  /**
   * The client holds none of this any more, though it sent no LAYOUTRETURN: it forgot (RFC 8881 errata 3208), or it
   * answered NOMATCHING_LAYOUT. Uncommitted provisional blocks below the `rw` ones can go.
   */
  | { readonly type: 'released'; readonly client: number; readonly ino: number; readonly segments: readonly Segment[] }
  /** Nothing conflicting is left below this break. */
  | { readonly type: 'broken'; readonly breakId: number };

export interface FenceSegment extends Segment {
  readonly ino: number;
}

export interface HeldLayout {
  readonly client: number;
  readonly ino: number;
  readonly stateid: StateId;
  readonly segments: readonly Segment[];
  readonly state: 'held' | 'recalling' | 'revoked';
  /** Since the first grant. */
  readonly since: number;
}

export interface LayoutOptions {
  /** Longest time from a recall's start to the revocation of what was not returned. At least one lease (RFC 8881 §12.5.5.2). */
  readonly recallDeadlineMs: number;
  /** 24 hex digits, never the same twice; given from outside so that a simulation can repeat them. */
  readonly newOther: () => string;
  /** Segments a client may hold in all; more are refused with LAYOUTTRYLATER. */
  readonly segmentsPerClientMax: number;
  /** Segments of all clients from which on those that hold most are asked to keep fewer. */
  readonly segmentsHighMark: number;
  /** Segments of all clients beyond which every get is refused with LAYOUTTRYLATER; above the high mark. */
  readonly segmentsMax: number;
}

/** How far could a get reach from `offset` on without anybody being asked to return a layout for it? */
export interface ClearRequest {
  readonly client: number;
  readonly ino: number;
  readonly iomode: Iomode;
  readonly offset: number;
  /** Infinity: as far as it goes. */
  readonly length: number;
  /** As in `GetRequest`. */
  readonly isShared?: boolean;
  /** The break of this very request. */
  readonly own?: number | undefined;
  /** Also what the client itself holds in the other iomode ends it: nothing that it did not ask for changes under it. */
  readonly sparesOwn: boolean;
}

/** Implemented by layout/layouts.ts. */
export interface LayoutTable {
  /**
   * The first byte in the way from `offset` on: layouts of others, those who wait, recalls that are out. `offset` itself
   * where that is in the way, the end of the range where nothing is.
   */
  clearTo(request: ClearRequest): number;
  get(now: number, request: GetRequest, /** a break of this very request, now over */ own?: number): GetResult;
  confirm(now: number, grant: number): ConfirmResult;
  /** The mapping could not be made; nothing was granted. */
  cancel(now: number, grant: number): readonly Action[];
  return(now: number, request: ReturnRequest): ReturnResult;
  /** LAYOUTRETURN4_FSID or _ALL: all that the client holds. */
  returnAll(now: number, client: number, kind: BulkKind): BulkReturnResult;
  /** undefined: the client holds RW over all the ranges and may commit. */
  checkCommit(
    request: { readonly client: number; readonly ino: number; readonly stateid: StateId },
    ranges: readonly { readonly offset: number; readonly length: number }[],
  ): Refused | undefined;
  /** They are committed: a client that is asked for them is at work. */
  committed(
    now: number,
    client: number,
    ino: number,
    ranges: readonly { readonly offset: number; readonly length: number }[],
  ): void;
  /** undefined: nothing conflicts, and nothing was changed. */
  break(
    now: number,
    request: {
      readonly ino: number;
      readonly offset: number;
      readonly length: number;
      readonly reason: BreakReason;
      /** Its layouts do not stand in the way of a `write`, and only they of a `close`, or of a `space` that names it. */
      readonly client: number | undefined;
    },
  ): { readonly breakId: number; readonly actions: readonly Action[] } | undefined;
  /** The operation is over; grants on the range are possible again. */
  endBreak(now: number, breakId: number): readonly Action[];
  /** The get that waits in this break is sent away with LAYOUTTRYLATER. true: it keeps its turn, and may be told (`available`). */
  giveUp(
    now: number,
    breakId: number,
    signal: boolean,
  ): { readonly kept: boolean; readonly actions: readonly Action[] };
  /**
   * Asks everything back from the client, as soon as no other recall to it is out; `bulk-ended` follows.
   * undefined: there is nothing to ask for, or its fence is under way.
   */
  recallAll(
    now: number,
    client: number,
    kind: BulkKind,
    changed: boolean,
  ): { readonly recallId: number; readonly actions: readonly Action[] } | undefined;
  recallReply(now: number, recallId: number, reply: RecallReply): readonly Action[];
  /** The client is gone or its lease is over: everything it holds is revoked and fenced. */
  clientLost(now: number, client: number): readonly Action[];
  /** The client ended (`clientLost`), and its fence holds. */
  forgetClient(client: number): void;
  /** FREE_STATEID of a revoked state: it is unknown from now on. */
  freeState(client: number, other: string): void;
  /** The fence holds and has drained. */
  fenced(now: number, fenceId: number): readonly Action[];
  /** Deadlines that have passed. */
  tick(now: number): readonly Action[];
  /** When tick is due next. */
  nextDeadline(): number | undefined;
  /** Somebody holds, or waits for, a layout of the file: else nothing needs a break. */
  concerns(ino: number): boolean;
  holdsAny(client: number): boolean;
  /** Somebody waits for the client to return something. */
  isRecalled(client: number): boolean;
  /** The break waits for what this client has. */
  waitsFor(breakId: number, client: number): boolean;
  /** Of this file; also what is only reserved, and what is revoked but not fenced yet. */
  holds(client: number, ino: number): boolean;
  /** The client knows of a layout state on the file, though it may hold nothing and only be asked back still. */
  hasState(client: number, ino: number): boolean;
  /** Of all clients: for lists, not for decisions. At most `most`. */
  held(most?: number): readonly HeldLayout[];
  /** Of one client, the oldest first. */
  heldBy(client: number): readonly HeldLayout[];
  /** Of one client on one file. */
  heldOn(client: number, ino: number): HeldLayout | undefined;
  /** What is reserved for gets of the client that are not confirmed yet. */
  reservedOn(client: number, ino: number): readonly Segment[];
  /** Clients that hold something. */
  holders(): readonly number[];
}
