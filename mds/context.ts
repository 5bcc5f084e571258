/** What the operations of the server work with. */
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type { Caller, Reply } from '../fs/vfs.ts';
import type { SessionBuffers } from './buffers.ts';
import type { Challenges } from './challenges.ts';
import type { Client } from './client.ts';
import type { Clients } from './clients.ts';
import type { Connection } from './connection.ts';
import type { Counters } from './counters.ts';
import type { Drain } from './drain.ts';
import type { Fences } from './fencing/fences.ts';
import type { Generosity } from './generosity.ts';
import type { LayoutLeases } from './leases.ts';
import type { Opens } from './opens.ts';
import type { Credentials } from './protocol/fields.ts';
import type { Operation } from './protocol/operation.ts';
import type { ServerStatus } from './protocol/server-status.ts';
import { StatusError } from './protocol/status.ts';
import type { ReturnOnClose } from './return-on-close.ts';
import type { RmaKeys } from './rma/keys.ts';
import type { Session } from './session.ts';
import type { Topology } from './topology.ts';

export interface Context {
  readonly fs: Filesystem;
  readonly clients: Clients;
  readonly opens: Opens;
  readonly leases: LayoutLeases;
  readonly buffers: SessionBuffers;
  readonly drain: Drain;
  readonly challenges: Challenges;
  readonly returnOnClose: ReturnOnClose;
  readonly fences: Fences;
  readonly generosity: Generosity;
  readonly topology: Topology;
  /** undefined: the server has no one-sided access. */
  readonly rma: RmaKeys | undefined;
  readonly counters: Counters;
  readonly leaseMs: number;
  readonly layoutWaitMs: number;
  /** Differs between runs of the server: unstable writes of a former run may be lost (RFC 8881 §18.32). */
  readonly writeVerifier: Uint8Array;
  readonly after: (ms: number, task: () => void) => () => void;
  status(): ServerStatus;
}

/** A request outside of any session. */
export interface ConnectionCall {
  readonly context: Context;
  readonly connection: Connection;
  /** Those of the request itself; null: it names none. */
  readonly credentials: Credentials | null;
}

/** A request that passed its slot. */
export interface SessionCall extends ConnectionCall {
  readonly session: Session;
  readonly client: Client;
  readonly caller: Caller;
}

/** One operation with what it does. */
export interface Service {
  readonly operation: Pick<Operation<unknown, unknown>, 'name' | 'number' | 'session' | 'idempotent'>;
  /** @throws StatusError, FsError */
  run(args: unknown, call: ConnectionCall | SessionCall): Reply<unknown[]>;
}

export function inSession<A, R extends unknown[] | []>(
  operation: Operation<A, R>,
  handler: (args: A, call: SessionCall) => Reply<NoInfer<R>>,
): Service {
  return {
    operation,
    run(args, call) {
      if (!('session' in call)) throw new StatusError('OP_NOT_IN_SESSION', `${operation.name} needs a session`);
      return handler(checked(operation, args), call);
    },
  };
}

export function onConnection<A, R extends unknown[] | []>(
  operation: Operation<A, R>,
  handler: (args: A, call: ConnectionCall) => Reply<NoInfer<R>>,
): Service {
  return {
    operation,
    run(args, call) {
      return handler(checked(operation, args), call);
    },
  };
}

/** RFC 8881 §13.1: only for a client that asked for a metadata server. */
export function forPnfs(service: Service): Service {
  const { operation } = service;
  return {
    operation,
    run(args, call) {
      if ('session' in call && call.client.introduction.pnfs) return service.run(args, call);
      const status = 'session' in call ? 'NOTSUPP' : 'OP_NOT_IN_SESSION';
      throw new StatusError(status, `${operation.name} is for clients with EXCHGID4_FLAG_USE_PNFS_MDS`);
    },
  };
}

function checked<A>(operation: Operation<A, unknown>, args: unknown): A {
  if (!operation.isRequest(args)) {
    throw new StatusError('BADXDR', `the arguments of ${operation.name} are not as docs/protocol.md says`);
  }
  return args;
}
