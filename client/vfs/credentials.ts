import { readFileSync } from 'node:fs';
import type { Caller } from '../../fs/vfs.ts';
import { type Credentials, wireLimits } from '../../mds/protocol/index.ts';
import { clientLimits } from '../limits.ts';

interface Known {
  readonly uid: number;
  readonly gid: number;
  readonly credentials: Credentials;
  readonly untilMs: number;
}

/**
 * Whom a request of the kernel acts for. FUSE names user, group and thread, but not the other groups, which the server
 * needs to decide by itself: proc(5) has them.
 */
export class CallerCredentials {
  /** By thread; the oldest goes. */
  readonly #known = new Map<number, Known>();

  of({ uid, gid, groups, pid }: Caller): Credentials {
    const now = performance.now();
    const known = this.#known.get(pid);
    if (known?.uid === uid && known.gid === gid && now < known.untilMs) return known.credentials;
    // Root passes every check that asks for groups.
    const others = uid === 0 || pid === 0 ? groups : [...new Set([...groups, ...groupsOf(pid)])];
    const credentials: Credentials = [uid, gid, others.slice(0, wireLimits.groupsMax)];
    this.#known.delete(pid);
    this.#known.set(pid, { uid, gid, credentials, untilMs: now + clientLimits.groupsKnownMs });
    if (this.#known.size > clientLimits.callersKnownMax) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    return credentials;
  }
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
