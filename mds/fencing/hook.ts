import type { ByteRange } from '../../fs/engine/leases.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { fencingLimits } from './limits.ts';
import type { Attempt, ClientFacts, FenceResult, FencingProvider } from './provider.ts';
import { runProgram } from './run-program.ts';
import { Seats } from './seats.ts';

/** The device that hooks are told of. */
export interface FencedDevice {
  readonly path: string;
  readonly uuid: string;
}

/** EX_TEMPFAIL of sysexits.h. */
const tryAgain = 75;

/** A program of the operator cuts the client off, as nfsd-recall-failed does for Linux' nfsd. docs/fencing.md says what it is given. */
export class HookProvider implements FencingProvider {
  readonly name = 'hook';
  readonly #path: string;
  readonly #device: FencedDevice;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #seats = new Seats(fencingLimits.hooksMax);

  constructor(path: string, device: FencedDevice, clock: Clock, log: Log) {
    this.#path = path;
    this.#device = device;
    this.#clock = clock;
    this.#log = log;
  }

  serves(): boolean {
    return true;
  }

  async fence(facts: ClientFacts, attempt: Attempt): Promise<FenceResult> {
    const leave = await this.#seats.take(attempt.unneeded);
    if (leave === undefined) return { kind: 'wait', why: 'no hook was started: the client needs no fence any more' };
    try {
      return await this.#run(facts, attempt);
    } finally {
      leave();
    }
  }

  async #run(facts: ClientFacts, { number, givenUp }: Attempt): Promise<FenceResult> {
    const { exit, output } = await runProgram({
      path: this.#path,
      args: [String(facts.client), this.#device.path],
      env: this.#environment(facts, number),
      input: linesOf(facts.ranges()),
      outputMax: fencingLimits.hookOutputMax,
      limitMs: fencingLimits.attemptMs,
      clock: this.#clock,
      signal: givenUp,
    });
    if (output !== '') this.#log.info({ client: facts.client, hook: this.#path, output }, 'the fence hook said');
    if (exit === 0) return { kind: 'fenced' };
    if (exit === tryAgain) return { kind: 'wait', why: `${this.#path} asks for another try` };
    throw new Error(`${this.#path} ${typeof exit === 'number' ? `answered ${exit}` : exit}`);
  }

  #environment({ client, owner, reach }: ClientFacts, attempt: number): Record<string, string> {
    const text = Buffer.from(owner).toString('utf8');
    return {
      PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      IOPMEMFS_CLIENT: String(client),
      IOPMEMFS_OWNER: /^[\x20-\x7e]*$/.test(text) ? text : '',
      IOPMEMFS_OWNER_HEX: Buffer.from(owner).toString('hex'),
      IOPMEMFS_ADDRESSES: reach.addresses.join(' '),
      IOPMEMFS_PID: reach.process === undefined ? '' : String(reach.process.pid),
      IOPMEMFS_DEVICE: this.#device.path,
      IOPMEMFS_UUID: this.#device.uuid,
      IOPMEMFS_ATTEMPT: String(attempt),
    };
  }
}

function linesOf(ranges: readonly ByteRange[]): string {
  const told = ranges.slice(0, fencingLimits.hookRangesMax);
  const [last, end] = [told.pop(), ranges.at(-1)];
  if (last !== undefined && end !== undefined) {
    told.push({ offset: last.offset, length: end.offset + end.length - last.offset });
  }
  return told.map(({ offset, length }) => `${offset} ${length}\n`).join('');
}
