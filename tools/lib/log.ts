import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Logger, pino } from 'pino';

/** To stderr in the foreground; a daemon in the background writes to its file. Synchronous: the last words count. */
export function openLog(file: string | undefined): Logger {
  if (file !== undefined) mkdirSync(dirname(file), { recursive: true });
  return pino({ base: { pid: process.pid } }, pino.destination({ dest: file ?? 2, sync: true }));
}
