/** The state machine contradicts itself: the program is wrong, not its input. Stays on in production. */
export class LayoutAssertion extends Error {
  override readonly name = 'LayoutAssertion';
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new LayoutAssertion(message);
}
