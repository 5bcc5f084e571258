/** Processor time of a process, user's and kernel's, all its threads included. */
import { readFile } from 'node:fs/promises';

/** Ticks of /proc/PID/stat in a second (proc_pid_stat(5)); 100 on every Linux that Debian ships. */
const ticksPerSecond = 100;

/** So far, in seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
