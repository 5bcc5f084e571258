import { declare } from '../../fs/fuse/kernel/libc.ts';

/**
 * Threads of the daemon's pool. Invalidations of the kernel's pages take all but three (fs/fuse/kernel/limits.ts), and
 * one that waits for a peer's layout blocks its thread meanwhile: so many files can wait before any other has to. A
 * thread costs some 20 KiB.
 */
const threadPoolSize = 64;

const variable = 'UV_THREADPOOL_SIZE';

const setDescriptorFlags = 2; // F_SETFD

/** The environment of a daemon: its pool is as large as the user asks for, but never too small. */
export function daemonEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return { ...env, [variable]: String(Math.max(threadPoolSize, sizeIn(env))) };
}

/**
 * Gives this very process a pool of that size. libuv makes the pool when it is first used, which is when node loads the
 * program, so the program begins again: same process, same descriptors (execve(2)). To be called before anything is
 * open. Goes on with the pool that there is where that is impossible: a process that talks to its parent would fall
 * silent.
 */
export function enlargeThreadPool(): void {
  if (sizeIn(process.env) >= threadPoolSize || process.send !== undefined) return;
  const execve = declare<[path: string, argv: readonly (string | null)[], envp: readonly (string | null)[]]>(
    'int execve(const char *path, const char **argv, const char **envp)',
  );
  const fcntl = declare<[fd: number, command: number, flags: number]>('int fcntl(int fd, int command, int flags)');
  for (const standard of [0, 1, 2]) fcntl(standard, setDescriptorFlags, 0); // node has them closed on exec
  const variables = Object.entries(daemonEnvironment()).map(([name, value]) => `${name}=${value}`);
  execve(process.execPath, [process.argv0, ...process.execArgv, ...process.argv.slice(1), null], [...variables, null]);
}

function sizeIn(env: NodeJS.ProcessEnv): number {
  const size = Number(env[variable]);
  return Number.isInteger(size) ? size : 0;
}
