import { readFileSync } from 'node:fs';
import type { Caller } from '../../fs/vfs.ts';
import { type Credentials, wireLimits } from '../../mds/protocol/index.ts';

/**
 * Whom a request of the kernel acts for. FUSE names user, group and thread, but not the other groups, which the server
 * needs to decide by itself: proc(5) has them. Asked each time, since a thread may give up groups at any time.
 */
export function credentialsOf({ uid, gid, groups, pid }: Caller): Credentials {
  // Root passes every check that asks for groups.
  const others = uid === 0 || pid === 0 ? groups : [...new Set([...groups, ...groupsOf(pid)])];
  return [uid, gid, others.slice(0, wireLimits.groupsMax)];
}

/** None of a thread that has gone, or that another PID namespace hides. */
function groupsOf(pid: number): readonly number[] {
  try {
    const [, list = ''] = /^Groups:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return list
      .split(' ')
      .filter((word) => word !== '')
      .map(Number);
  } catch {
    return [];
  }
}
