/** Two client processes that write different files directly, beside one: nothing that they share stands in their way. */
import { withServer } from '../leases/place.ts';
import type { Place } from '../lib/place.ts';
import { median } from '../lib/statistics.ts';
import { ClientProcess } from './client-process.ts';

export interface DirectOptions {
  readonly place: Place;
  readonly rounds: number;
  /** Divides the writes of every row: a try instead of a measurement. */
  readonly divisor: number;
  readonly progress: (text: string) => void;
}

/** MiB a second of all clients, medians. */
export interface DirectResult {
  /** Bytes of one write. */
  readonly bytes: number;
  readonly one: number;
  readonly two: number;
  readonly ratio: number;
}

const fileMiB = 32;
const rows = [
  { bytes: 2 ** 20, count: 4000 },
  { bytes: 4096, count: 1_000_000 },
] as const;

/** Each client has a core of its own; the one that is measured alone takes turns between the two. @throws FsError */
export async function measureDirect({ place, rounds, divisor, progress }: DirectOptions): Promise<DirectResult[]> {
  return await withServer(place, '0', 2, fileMiB * 2 ** 20, async ({ socket }) => {
    const clients = [await start(socket, 'f0', '0'), await start(socket, 'f1', '1')];
    try {
      const results: DirectResult[] = [];
      for (const { bytes, count } of rows) {
        const task = { bytes, count: Math.ceil(count / divisor) };
        const [one, two]: [number[], number[]] = [[], []];
        for (let round = 0; round <= rounds; round++) {
          progress(`writes of ${bytes} bytes, round ${round} of ${rounds}`);
          const alone = await run(clients.slice(round % 2, (round % 2) + 1), task);
          const both = await run(clients, task);
          if (round === 0) continue; // code compiled, memory touched
          one.push(alone);
          two.push(both);
        }
        results.push({ bytes, one: median(one), two: median(two), ratio: median(two) / median(one) });
      }
      return results;
    } finally {
      for (const client of clients) await client.end();
    }
  });
}

/** MiB a second of all of them together. */
async function run(clients: readonly ClientProcess[], task: { bytes: number; count: number }): Promise<number> {
  const took = await Promise.all(clients.map((client) => client.ask(task)));
  return took.reduce((sum, ms) => sum + (task.bytes * task.count) / 2 ** 20 / (ms / 1000), 0);
}

function start(socket: string, name: string, core: string): Promise<ClientProcess> {
  return ClientProcess.start('direct-client.js', [`unix:${socket}`, name, String(fileMiB)], core);
}
