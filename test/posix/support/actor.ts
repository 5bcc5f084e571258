/**
 * A process that makes system calls on behalf of a test, as anybody. Apart from the test's own process, so that a call
 * that never returns ends with a time limit instead of hanging the run.
 */
import { become, type Identity } from './identity.ts';
import { type Answer, type Argument, type CallName, invoke, peek, poke } from './libc.ts';

export type Order =
  | {
      readonly order: 'call';
      readonly as: Identity;
      readonly name: CallName;
      readonly args: readonly Argument[];
      /** Index of the argument that the call fills. */
      readonly out: number | undefined;
    }
  | { readonly order: 'peek'; readonly address: number; readonly length: number }
  | { readonly order: 'poke'; readonly address: number; readonly bytes: Uint8Array };

export type Reply = Answer & { readonly bytes: Uint8Array | undefined };

function carryOut(order: Order): Reply {
  switch (order.order) {
    case 'call': {
      become(order.as);
      const answer = invoke(order.name, order.args);
      const filled = order.out === undefined ? undefined : order.args[order.out];
      return { ...answer, bytes: filled instanceof Uint8Array ? filled : undefined };
    }
    case 'peek':
      return { result: 0, errno: undefined, bytes: peek(order.address, order.length) };
    case 'poke':
      poke(order.address, order.bytes);
      return { result: 0, errno: undefined, bytes: undefined };
  }
}

process.on('message', (order: Order) => {
  process.send?.(carryOut(order));
});
process.once('disconnect', () => process.exit());
process.send?.({ result: 0, errno: undefined, bytes: undefined } satisfies Reply);
