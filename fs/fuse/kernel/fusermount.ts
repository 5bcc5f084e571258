/**
 * Mounting without CAP_SYS_ADMIN: fusermount3(1) of libfuse, which is set-user-ID root, opens /dev/fuse, mounts it, and
 * passes the descriptor back over the socket that _FUSE_COMMFD names. It forces nosuid and nodev, lets a user mount only
 * on directories that are the user's, and takes allow_other only where /etc/fuse.conf has user_allow_other.
 */
import { spawn } from 'node:child_process';
import { closeSync, constants, readFileSync } from 'node:fs';
import { type ErrnoName, FsError } from '../../errors.ts';
import type { MountOptions } from '../driver.ts';
import { makeNonBlocking, receiveDescriptor, socketPair } from './descriptor.ts';
import { kernelLimits } from './limits.ts';

const program = 'fusermount3';

/** Bit 21 of the effective set (capabilities(7)). */
const capSysAdmin = 1n << 21n;

/** Whether mount(2) and umount2(2) are ours to call (proc(5), status: CapEff). */
export function mayMount(): boolean {
  const effective = /^CapEff:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & capSysAdmin) !== 0n;
}

/** The mounted connection, O_NONBLOCK. @throws FsError with what fusermount3 says, and what to do */
export async function mountThroughHelper(options: MountOptions, subtype: string): Promise<number> {
  const [ours, theirs] = socketPair();
  try {
    const list = helperOptions(options, subtype).join(',');
    await helper(['-o', list, '--', options.mountPoint], { op: 'mount', path: options.mountPoint }, theirs);
    const fd = receiveDescriptor(ours);
    if (fd === undefined)
      throw new FsError('EIO', { op: 'mount', path: options.mountPoint, detail: `${program} passed no descriptor` });
    makeNonBlocking(fd, constants.O_RDWR);
    return fd;
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** @throws FsError EBUSY (not with `lazy`), EPERM */
export async function unmountThroughHelper(mountPoint: string, lazy: boolean): Promise<void> {
  await helper(['-u', ...(lazy ? ['-z'] : []), '--', mountPoint], { op: 'umount', path: mountPoint });
}

/** What fusermount3 takes; it adds user_id, group_id, rootmode and the descriptor itself. */
export function helperOptions(
  options: Pick<MountOptions, 'source' | 'readOnly' | 'allowOther' | 'options'>,
  subtype: string,
): readonly string[] {
  return [
    `fsname=${options.source.replace(/[\\,]/g, '\\$&')}`,
    `subtype=${subtype}`,
    `max_read=${kernelLimits.dataMax}`,
    'default_permissions',
    ...(options.allowOther ? ['allow_other'] : []),
    ...options.options.filter((option) => !ours.has(option)),
    ...(options.readOnly ? ['ro'] : []),
  ];
}

/** Followed by this driver itself (access-times.ts); some versions of fusermount3 refuse them, and the kernel ignores them. */
const ours: ReadonlySet<string> = new Set([
  'defaults',
  'relatime',
  'norelatime',
  'strictatime',
  'nostrictatime',
  'diratime',
  'nodiratime',
  'lazytime',
  'nolazytime',
]);

/** Runs fusermount3 to its end, without holding up the event loop: the mount it works on may be served by this thread. */
function helper(
  args: readonly string[],
  context: { readonly op: string; readonly path: string },
  socket?: number,
): Promise<void> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe', ...(socket === undefined ? [] : [socket])],
    env: { ...process.env, ...(socket === undefined ? {} : { _FUSE_COMMFD: '3' }) },
  });
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (data: Buffer) => (said += data.toString()));
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = `only root can mount without ${program}: install fuse3`;
      reject(
        new FsError(
          cause.code === 'ENOENT' ? 'EPERM' : 'EIO',
          { ...context, detail: cause.code === 'ENOENT' ? missing : cause.message },
          cause,
        ),
      );
    });
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(refusal(said, code, signal, context));
    });
  });
}

/** fusermount3 says why in words; the ones that people meet get what to do. */
function refusal(
  said: string,
  code: number | null,
  signal: string | null,
  context: { readonly op: string; readonly path: string },
): FsError {
  const lines = said.split('\n').map((line) => line.replace(/^fusermount3: /, '').trim());
  const words = lines.filter((line) => line !== '').join('; ');
  if (words === '') return new FsError('EIO', { ...context, detail: `${program} ended with ${signal ?? code}` });
  const known = refusals.find(({ pattern }) => pattern.test(words));
  const advice = known?.advice === undefined ? '' : `: ${known.advice}`;
  return new FsError(known?.code ?? 'EPERM', { ...context, detail: `${program}: ${words}${advice}` });
}

const refusals: readonly { readonly pattern: RegExp; readonly code: ErrnoName; readonly advice?: string }[] = [
  { pattern: /user_allow_other/, code: 'EPERM', advice: 'root has to add that line, or mount without allow_other' },
  { pattern: /fuse device (not found|is missing)/, code: 'ENODEV' },
  { pattern: /not found in/, code: 'EINVAL' },
  { pattern: /busy/i, code: 'EBUSY' },
  {
    pattern: /\/dev\/fuse: Permission denied/,
    code: 'EACCES',
    advice: 'root has to let users open it, as udev does: chmod 666 /dev/fuse',
  },
  {
    pattern: /no write access|Permission denied/,
    code: 'EACCES',
    advice: 'a user can mount on directories of their own',
  },
];
