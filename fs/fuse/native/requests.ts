import { errnoOf, FsError } from '../../errors.ts';

/** The negative errno that the kernel gets. Anything but an FsError is a fault of the program: EIO, and a warning. */
export function resultOf(error: unknown): number {
  if (error instanceof FsError) return -error.errno;
  process.emitWarning(error instanceof Error ? error : new Error(String(error)), { code: 'FUSE_HANDLER' });
  return -errnoOf('EIO');
}

/** Runs one request and answers it exactly once, with its value or with a negative errno. */
export function serve<T>(run: () => Promise<T>, done: (value: T) => void, failed: (result: number) => void): void {
  run().then(done, (error: unknown) => failed(resultOf(error)));
}
