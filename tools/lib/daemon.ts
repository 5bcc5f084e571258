/** The way from a command line to a running service, for `mount`, `serve` and the helper of mount(8). */
import { printSummary, startInBackground } from './background.ts';
import type { RunOptions } from './foreground.ts';
import { enlargeThreadPool } from './thread-pool.ts';

/** In the foreground until it ends, in the background until it answers. @throws ExitError, FsError */
export async function runDaemon(options: RunOptions, foreground: boolean): Promise<void> {
  if (foreground) {
    enlargeThreadPool();
    // Only the daemon itself needs the engine and the server: the command in front of it starts in half the time.
    const { runInForeground } = await import('./foreground.ts');
    return runInForeground(options);
  }
  const [, script = '', ...args] = process.argv;
  printSummary(await startInBackground(script, [...args, '--foreground']), options.json);
}
