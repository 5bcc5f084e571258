/** The program that does the operations of a row (bench/workload.c), compiled when it is needed. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FsError } from '../../fs/errors.ts';
import { command, onCores } from './command.ts';

/** From dist/bench/lib to bench/. */
const source = fileURLToPath(new URL('../../../bench/workload.c', import.meta.url));

/** What one run of a row took. Times in seconds. */
export interface Sample {
  readonly operations: number;
  readonly elapsed: number;
  /** Processor time of the client, with what the kernel did on its behalf, and of the server. */
  readonly clientCpu: number;
  readonly serverCpu: number;
}

export interface Run {
  readonly row: string;
  readonly directory: string;
  readonly count: number;
  /** 0: there is no server. */
  readonly serverPid: number;
  /** Of the client. */
  readonly cores: string;
}

export class Workload {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  /** @throws FsError EIO when there is no C compiler */
  static async compile(directory: string): Promise<Workload> {
    const program = join(directory, 'workload');
    await command('gcc', ['-O2', '-Wall', '-o', program, source, '-lpthread']);
    return new Workload(program);
  }

  /** @throws FsError EIO */
  async run({ row, directory, count, serverPid, cores }: Run): Promise<Sample> {
    const printed = await command(...onCores(cores, this.#program, row, directory, String(count), String(serverPid)));
    const [operations, elapsed, clientCpu, serverCpu] = printed.trim().split(' ').map(Number);
    if (operations === undefined || elapsed === undefined || clientCpu === undefined || serverCpu === undefined) {
      throw new FsError('EPROTO', { op: row, detail: `the workload printed ${JSON.stringify(printed)}` });
    }
    return { operations, elapsed, clientCpu, serverCpu };
  }
}
