/** Who makes a system call. The kernel keeps identities by thread, and so one thread can act as anybody in turn. */
import koffi from 'koffi';
import { invoke } from './libc.ts';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly umask: number;
}

export const root: Identity = { uid: 0, gid: 0, groups: [], umask: 0o022 };
export const alice: Identity = { uid: 4001, gid: 4001, groups: [4100], umask: 0o022 };
export const bob: Identity = { uid: 4002, gid: 4002, groups: [], umask: 0o022 };

/** The C library would change all threads, and node's others have to stay who they are: hence by number. */
const numbers: Partial<Record<NodeJS.Architecture, Record<'setgroups' | 'setresuid' | 'setresgid', number>>> = {
  x64: { setgroups: 116, setresuid: 117, setresgid: 119 },
  arm64: { setgroups: 159, setresuid: 147, setresgid: 149 },
};

const setIds: (number: number, real: number, effective: number, saved: number) => number = koffi
  .load(null)
  .func('long syscall(long number, uint32_t real, uint32_t effective, uint32_t saved)');
const setGroups: (number: number, count: number, groups: Uint32Array) => number = koffi
  .load(null)
  .func('long syscall(long number, size_t count, const void *groups)');

let current: Identity | undefined;

/**
 * Makes this thread `identity`. The saved user stays root, which is the way back; nothing that decides on files looks
 * at it (path_resolution(7), capabilities(7)).
 */
export function become(identity: Identity): void {
  if (identity === current) return;
  const calls = numbers[process.arch];
  if (calls === undefined) throw new Error(`system call numbers of ${process.arch} are not known`);
  const { uid, gid, groups, umask } = identity;
  const done =
    setIds(calls.setresuid, 0, 0, 0) === 0 &&
    setGroups(calls.setgroups, groups.length, Uint32Array.from(groups)) === 0 &&
    setIds(calls.setresgid, gid, gid, gid) === 0 &&
    setIds(calls.setresuid, uid, uid, 0) === 0;
  if (!done) throw new Error(`cannot act as uid ${uid}`);
  invoke('umask', [umask]);
  current = identity;
}
