/** Options of `Client`, as node's fs has them; each takes `signal` and `timeoutMs` as well. */
import type { Mode } from './arguments.ts';
import type { OpenFlags } from './open-flags.ts';
import type { OperationOptions } from './operation.ts';

export interface MkdirOptions extends OperationOptions {
  readonly mode?: Mode;
  readonly recursive?: boolean;
}

export interface ReaddirOptions extends OperationOptions {
  readonly recursive?: boolean;
}

export interface RmOptions extends OperationOptions {
  readonly recursive?: boolean;
  readonly force?: boolean;
}

export interface ReadFileOptions<Encoding> extends OperationOptions {
  /** Without one the result is a Buffer. */
  readonly encoding?: Encoding;
  readonly flag?: OpenFlags;
}

export interface WriteFileOptions extends OperationOptions {
  readonly encoding?: BufferEncoding | null;
  readonly flag?: OpenFlags;
  /** Of a file that is made. */
  readonly mode?: Mode;
}
