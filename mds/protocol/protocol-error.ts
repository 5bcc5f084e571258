/** What was wrong with the bytes of a peer; stable names for logs and tests. */
export type ProtocolFault =
  | 'oversized'
  | 'truncated'
  | 'too-deep'
  | 'bad-type'
  | 'bad-number'
  | 'not-an-array'
  | 'trailing-bytes'
  | 'bad-frame'
  | 'half-frame'
  | 'closed';

/**
 * The peer does not speak the protocol. Nothing after it on this connection can be trusted, so the connection
 * closes; sessions and other connections live on.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly fault: ProtocolFault;

  constructor(fault: ProtocolFault, detail: string) {
    super(`${fault}: ${detail}`);
    this.fault = fault;
  }
}
