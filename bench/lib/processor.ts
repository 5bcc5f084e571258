/** Processor time of a process, user's and kernel's, all its threads included. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Ticks of /proc/PID/stat in a second (proc_pid_stat(5)); 100 on every Linux that Debian ships. */
const ticksPerSecond = 100;

/** So far, in seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Where it has not grown in all of three seconds: what goes on in the background makes pauses of a tenth. */
export async function cpuSecondsAtRest(pid: number): Promise<number> {
  let last = await cpuSeconds(pid);
  for (let still = 0; still < 3; ) {
    await sleep(1000);
    const now = await cpuSeconds(pid);
    still = now === last ? still + 1 : 0;
    last = now;
  }
  return last;
}
