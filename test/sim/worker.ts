/** A process of pool.ts: runs the seeds that it is sent, and ends with its parent. */
import type { Order } from './pool.ts';
import { runSeed } from './world.ts';

process.on('message', (order: Order) => void run(order));
process.on('disconnect', () => process.exit());

async function run({ seeds, withTrace }: Order): Promise<void> {
  for (const seed of seeds) {
    const outcome = await runSeed(seed);
    const trace = withTrace || outcome.failure !== undefined ? outcome.trace : [];
    process.send?.({ ...outcome, trace });
  }
}
