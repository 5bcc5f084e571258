import { type Static, type TSchema, type TTuple, Type } from 'typebox';
import { Compile } from 'typebox/compile';

/** How an operation stands to sessions (RFC 8881 §2.10.6). */
export interface OperationTraits {
  /** `none`: sent outside of any session, without slot and sequence number. */
  readonly session: 'required' | 'none';
  /** A retry may run it again: its reply need not be cached. */
  readonly idempotent: boolean;
}

/** One operation: its number, and what its arguments and results look like. Arguments are positional. */
export interface Operation<A, R> extends OperationTraits {
  readonly name: string;
  readonly number: number;
  isRequest(value: unknown): value is A;
  isReply(value: unknown): value is R;
}

export type RequestOf<O> = O extends Operation<infer A, infer _R> ? A : never;
export type ReplyOf<O> = O extends Operation<infer _A, infer R> ? R : never;

const required: OperationTraits = { session: 'required', idempotent: false };
/** May run twice without harm. */
export const idempotent: OperationTraits = { session: 'required', idempotent: true };
export const sessionless: OperationTraits = { session: 'none', idempotent: true };

export function operation<Q extends TSchema[], R extends TSchema[]>(
  name: string,
  number: number,
  request: [...Q],
  reply: [...R],
  traits: OperationTraits = required,
): Operation<Static<TTuple<Q>>, Static<TTuple<R>>> {
  const requests = Compile(Type.Tuple(request));
  const replies = Compile(Type.Tuple(reply));
  return {
    name,
    number,
    ...traits,
    isRequest: (value): value is Static<TTuple<Q>> => requests.Check(value),
    isReply: (value): value is Static<TTuple<R>> => replies.Check(value),
  };
}
