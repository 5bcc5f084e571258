import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { FsError } from '../../fs/errors.ts';

const run = promisify(execFile);

/** Runs a program and answers what it printed. @throws FsError EIO with what it complained of */
export async function command(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  try {
    const { stdout } = await run(file, [...args], { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 });
    return stdout;
  } catch (error) {
    throw new FsError('EIO', { op: file, detail: error instanceof Error ? error.message : String(error) }, error);
  }
}

/** Runs it on these processors only (taskset(1)): `0`, `0,1`. */
export function onCores(cores: string, file: string, ...args: readonly string[]): readonly [string, readonly string[]] {
  return ['taskset', ['-c', cores, file, ...args]];
}
