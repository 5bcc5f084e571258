/** What the metadata server and its target process say to each other, over the channel of node:child_process. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';

const Provider = Type.Union([Type.Literal('tcp'), Type.Literal('shm'), Type.Literal('verbs')]);

/** A part of the device with a key of its own, within one window of the mapping. */
const NewKey = Type.Object({
  /** Names it from here on. */
  id: Type.Number(),
  offset: Type.Number(),
  length: Type.Number(),
  writable: Type.Boolean(),
  /** Hex of the 64 bits that are wished for. */
  wish: Type.String(),
});
export type NewKey = Static<typeof NewKey>;

const Work = Type.Union([
  /** An endpoint for a client, which takes the place of the one that it had → its address. */
  Type.Object({
    kind: Type.Literal('open'),
    client: Type.Number(),
    provider: Provider,
    host: Type.String(),
    /** Hex of the client's own address. */
    peer: Type.String(),
  }),
  Type.Object({ kind: Type.Literal('register'), client: Type.Number(), keys: Type.Array(NewKey) }),
  /** → when nothing comes in under them any more. */
  Type.Object({ kind: Type.Literal('close'), client: Type.Number(), ids: Type.Array(Type.Number()) }),
  /** The endpoint and all keys of a client → when nothing of it comes in any more. */
  Type.Object({ kind: Type.Literal('end'), client: Type.Number() }),
]);
export type Work = Static<typeof Work>;

const Request = Type.Object({ id: Type.Number(), work: Work });
export type Request = Static<typeof Request>;

/** key and address of the first byte, hex of 64 bits each. */
const Opened = Type.Object({ key: Type.String(), base: Type.String() });
export type Opened = Static<typeof Opened>;

const Answer = Type.Union([
  Type.Object({ kind: Type.Literal('done') }),
  /** Hex. */
  Type.Object({ kind: Type.Literal('opened'), address: Type.String() }),
  Type.Object({ kind: Type.Literal('registered'), keys: Type.Array(Opened) }),
  Type.Object({ kind: Type.Literal('failed'), why: Type.String() }),
]);
export type Answer = Static<typeof Answer>;

const Reply = Type.Union([
  Type.Object({ id: Type.Number(), answer: Answer }),
  /** Once, at the start: it serves, or says why it cannot. */
  Type.Object({ ready: Type.Boolean(), why: Type.String() }),
]);
export type Reply = Static<typeof Reply>;

const request = Compile(Request);
const reply = Compile(Reply);
export const isRequest = (message: unknown): message is Request => request.Check(message);
export const isReply = (message: unknown): message is Reply => reply.Check(message);
