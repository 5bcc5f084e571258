/**
 * A process, as it stands on record: so that its end is known after a restart of the server too, and after one of the host. A number of a
 * process says nothing by itself, since numbers are used again; with the run of the kernel, the namespace of numbers and
 * the time at which the process began it means this one process.
 */
import { readFileSync } from 'node:fs';
import { processName } from '../protocol/process-name.ts';

/** The first namespace of process numbers (include/linux/proc_ns.h, PROC_PID_INIT_INO): no container. */
const initialNamespace = 'pid:[4026531836]';

/** `MACHINE BOOT NAMESPACE PID START`; empty: it cannot be told. `pid` must be alive. */
export function processRecord(pid: number): string {
  const [name, machine, start] = [processName(pid), machineId(), startTime(pid)];
  return name === undefined || machine === undefined || start === undefined ? '' : `${machine} ${name} ${start}`;
}

/**
 * `gone`, or its number if it lives; undefined: it cannot be told. Of a former run of the kernel nothing lives on: known
 * outside of containers, where the machine is the one that machine-id(5) says.
 */
export function lookUp(record: string): 'gone' | number | undefined {
  const [machine, boot, namespace, pid, start] = record.split(' ');
  const [ownBoot, ownNamespace] = processName(process.pid)?.split(' ') ?? [];
  if (start === undefined || ownBoot === undefined || namespace !== ownNamespace) return undefined;
  if (boot !== ownBoot) return namespace === initialNamespace && machine === machineId() ? 'gone' : undefined;
  const isThere = isAlive(Number(pid));
  if (isThere !== true) return isThere === false ? 'gone' : undefined;
  const startedAt = startTime(Number(pid));
  if (startedAt === undefined) return undefined;
  return startedAt === start ? Number(pid) : 'gone';
}

/** undefined: nothing can be said. A process of somebody else is alive too. */
function isAlive(pid: number): boolean | undefined {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ESRCH') return false;
    return code === 'EPERM' ? true : undefined;
  }
}

function machineId(): string | undefined {
  const id = contentOf('/etc/machine-id')?.trim();
  return id !== undefined && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}

/** In clock ticks since the kernel began: field 22 of proc_pid_stat(5); the second one is a name, which may have spaces. */
function startTime(pid: number): string | undefined {
  const stat = contentOf(`/proc/${pid}/stat`);
  return stat
    ?.slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .at(19);
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
