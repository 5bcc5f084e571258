import { processName } from '../protocol/process-name.ts';
import { fencingLimits } from './limits.ts';
import { PeerProcess } from './peer-process.ts';
import { lookUp, processRecord } from './process-record.ts';

/** A connection, as far as fencing looks at it. */
export interface PeerConnection {
  readonly closed: boolean;
  /** `tcp://HOST:PORT` of the client, or `unix`. */
  readonly address: string;
  /** Of the process that connected over a Unix socket. */
  readonly pid: number | undefined;
}

/**
 * From where a client comes. Its process is known if it says which it is, and all its connections are from that one: then
 * its end, with that of the connections, is the end of all its accesses. A connection that outlives the process was handed on,
 * and who has it may have a mapping too.
 */
export class Reach {
  readonly #declared: string | undefined;
  readonly #onGone: () => void;
  readonly #open = new Set<PeerConnection>();
  readonly #addresses = new Set<string>();
  #last: PeerConnection | undefined;
  #process: PeerProcess | undefined;
  #record = '';
  #isElsewhere: boolean;
  /** Of a client of a former run: it was gone when this one began. */
  #wasGone = false;

  /** @param declared what the client says that its process is; null: its accesses are not those of one process. */
  constructor(declared: string | null, onGone: () => void) {
    this.#declared = declared ?? undefined;
    this.#isElsewhere = declared === null;
    this.#onGone = onGone;
  }

  /** From where a client of a former run came; `record` is what stands on record for it. */
  static ofFormer(record: string, onGone: () => void): Reach {
    const reach = new Reach(null, onGone);
    const found = lookUp(record);
    const process = typeof found === 'number' ? PeerProcess.open(found) : undefined;
    // Its number may have become another's between the two looks.
    const isSame = process !== undefined && lookUp(record) === found;
    if (isSame) {
      reach.#process = process;
      process.onGone(onGone);
    } else process?.close();
    reach.#wasGone = found === 'gone';
    return reach;
  }

  /** Each request of the client comes here with its connection. */
  over(connection: PeerConnection): void {
    if (connection === this.#last) return;
    this.#last = connection;
    for (const each of this.#open) if (each.closed) this.#open.delete(each);
    this.#open.add(connection);
    if (this.#addresses.size < fencingLimits.addressesMax) this.#addresses.add(connection.address);
    if (!this.#isElsewhere) this.#look(connection);
  }

  /** Those that requests came over, and that may stand still. */
  get connections(): readonly PeerConnection[] {
    return [...this.#open];
  }

  get addresses(): readonly string[] {
    return [...this.#addresses];
  }

  /** undefined: nothing can be told from processes. */
  get process(): { readonly pid: number } | undefined {
    return this.#process;
  }

  /** What `ofFormer` takes; empty: nothing can be told from processes. */
  get record(): string {
    return this.#record;
  }

  /** The process is gone, and so are its mappings and all that it had begun. */
  get gone(): boolean {
    return this.#wasGone || (this.#process?.gone === true && [...this.#open].every((connection) => connection.closed));
  }

  close(): void {
    this.#process?.close();
    this.#process = undefined;
    this.#record = '';
    this.#isElsewhere = true;
  }

  #look({ pid }: PeerConnection): void {
    if (pid !== undefined && this.#declared !== undefined && processName(pid) === this.#declared) {
      if (this.#process !== undefined) return;
      this.#process = PeerProcess.open(pid);
      this.#process?.onGone(this.#onGone);
      this.#record = processRecord(pid);
      if (this.#process !== undefined) return;
    }
    this.close();
  }
}
