/** The wire protocol of the metadata server, for both of its sides. docs/protocol.md describes it for people. */
export * from './address.ts';
export * from './digest.ts';
export * from './fields.ts';
export * from './frame.ts';
export * from './jobs.ts';
export * from './limits.ts';
export type { Operation, OperationTraits, ReplyOf, RequestOf } from './operation.ts';
export * from './ops.ts';
export * from './process-name.ts';
export * from './protocol-error.ts';
export * from './server-status.ts';
export * from './status.ts';
