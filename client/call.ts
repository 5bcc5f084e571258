import type { Credentials, Operation, RequestFrame } from '../mds/protocol/index.ts';
import { onAbort } from './abort.ts';
import { ClientError } from './errors.ts';

export interface CallOptions {
  /** The caller stops waiting; a request already sent is carried out all the same. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with TIMEOUT. */
  readonly timeoutMs?: number | undefined;
  /** May use the slots kept for what the server waits for. */
  readonly urgent?: boolean;
  /** false: DELAY and GRACE are answers like others, since there is another way than waiting. */
  readonly patient?: boolean;
  /** The arguments name state of this incarnation: with the next one the call fails with STATE_LOST. */
  readonly stateful?: boolean;
  /** Goes out, and waits, however long the server has been silent: it is how the end of that is found out. */
  readonly probes?: boolean;
  /** Whom it acts for; otherwise for whom the client was made. */
  readonly credentials?: Credentials | undefined;
}

/** One request from its making to its reply, across connections and retries. */
export class Call<R = unknown> {
  readonly operation: Operation<unknown[], unknown>;
  readonly args: unknown[];
  readonly urgent: boolean;
  readonly patient: boolean;
  readonly stateful: boolean;
  readonly probes: boolean;
  readonly credentials: Credentials | null;
  readonly result: Promise<R>;
  /** As sent first: a retry is the same request (RFC 8881 §2.10.6.1). */
  frame: RequestFrame | undefined;
  /** Of the first sending; later ones prove no more about the lease. */
  sentAt = 0;
  /** Times the server put it off. */
  delays = 0;
  #settled = false;
  #end: () => void = () => {};
  #accept: (results: unknown) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  /** `late` gets the results of a call whose caller had stopped waiting, so that what it made can be undone. */
  constructor(
    operation: Operation<unknown[], R>,
    args: unknown[],
    options: CallOptions & { readonly timeoutMs: number },
    late?: (results: R) => void,
  ) {
    this.operation = operation;
    this.args = args;
    this.urgent = options.urgent === true;
    this.patient = options.patient !== false;
    this.stateful = options.stateful === true;
    this.probes = options.probes === true;
    this.credentials = options.credentials ?? null;
    this.result = new Promise((resolve, reject) => {
      const { signal, timeoutMs } = options;
      const timer = setTimeout(
        () => this.fail(new ClientError('TIMEOUT', `${operation.name}: no reply within ${timeoutMs} ms`)),
        timeoutMs,
      );
      const forget = onAbort(signal, () => this.fail(signal?.reason));
      this.#end = () => {
        this.#settled = true;
        clearTimeout(timer);
        forget();
      };
      this.#reject = reject;
      this.#accept = (results) => {
        if (!operation.isReply(results)) {
          this.fail(new ClientError('BAD_REPLY', `${operation.name}: results of another form`));
        } else if (this.#settled) {
          late?.(results);
        } else {
          this.#end();
          resolve(results);
        }
      };
      if (signal?.aborted === true) this.fail(signal.reason);
    });
  }

  /** Nobody waits for the result any more. */
  get settled(): boolean {
    return this.#settled;
  }

  succeed(results: unknown): void {
    this.#accept(results);
  }

  fail(error: unknown): void {
    if (this.#settled) return;
    this.#end();
    this.#keepBytes();
    this.#reject(error);
  }

  /** The caller has its buffers back; over a new connection the request is sent again as it was. */
  #keepBytes(): void {
    if (this.frame === undefined) return;
    for (const [index, value] of this.args.entries())
      if (value instanceof Uint8Array) this.args[index] = Uint8Array.from(value);
  }
}
