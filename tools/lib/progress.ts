/** What the daemon is busy with, on stderr of a terminal, once it takes longer than a second. */
import type { Client } from '../../client/index.ts';

const everyMs = 1000;

/** Runs `work`, a tree copy; `what` is said of it. */
export async function withProgress<T>(client: Client, what: string, work: () => Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work();
  let isShown = false;
  let asking: Promise<void> | undefined;
  const timer = setInterval(() => {
    asking ??= show().finally(() => {
      asking = undefined;
    });
  }, everyMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await asking;
    if (isShown) process.stderr.write('\r\x1b[K');
  }

  async function show(): Promise<void> {
    try {
      const { copying } = (await client.admin.status()).filesystem;
      process.stderr.write(`\r\x1b[K${what}: ${copying === undefined ? 'waiting' : `${copying} inodes`}`);
      isShown = true;
    } catch {
      // The work itself says what is wrong.
    }
  }
}
