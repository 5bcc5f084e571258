/** Session buffers (docs/protocol.md). */
import { inSession, type Service } from '../context.ts';
import { deviceIdOf } from '../device-id.ts';
import { theDevice } from '../devices.ts';
import { stateIdToWire } from '../protocol/fields.ts';
import { operations } from '../protocol/ops.ts';
import { requireReclaimed } from '../reclaim.ts';

export const bufferServices: readonly Service[] = [
  inSession(operations.BUFFERS_ALLOC, async ([count, length, align], call) => {
    const { context, client } = call;
    requireReclaimed(client);
    const { stateid, offsets } = await context.buffers.allocate({ count, length, align }, call);
    return [stateIdToWire(stateid), deviceIdOf(context.fs.generation, client, theDevice), [...offsets]];
  }),

  inSession(operations.BUFFERS_FREE, ([offsets], { context, client }) => {
    context.buffers.free(client.id, offsets);
    return [];
  }),
];
