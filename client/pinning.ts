import { limits as fsLimits } from '../fs/limits.ts';
import { operations } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import { clientLimits } from './limits.ts';
import type { Limits, OperationOptions } from './operation.ts';
import type { Session } from './session.ts';

/** How a file is to lie on the device for as long as it is pinned (docs/files.md). */
export interface PinOptions {
  /** Bytes; by default as many as the file has. A pinned file never gets more. */
  readonly size?: number;
  /** Its place is a multiple of this: a power of two from 4096 (the default) to 2^30 bytes. */
  readonly align?: number;
}

/** Of `Client.open`. */
export type OpenOptions = OperationOptions &
  (
    | ({
        /**
         * The file lies in one piece that never moves, as of the call. With `r+` one that is pinned already keeps its place; `w` and
         * `w+` empty it first, so that it gets another.
         */
        readonly pinned: true;
      } & PinOptions)
    | { readonly pinned?: false; readonly size?: undefined; readonly align?: undefined }
  );

/** As long as it takes to write all of it. @throws ClientError NOSPC, DQUOT, INVAL, FBIG, FILE_OPEN (EBUSY), NOTSUPP, PERM */
export async function pinFile(session: Session, ino: number, options: PinOptions, limits: Limits): Promise<void> {
  const { size, align = fsLimits.blockSize } = options;
  for (const [name, value] of Object.entries({ size, align })) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) continue;
    throw new ClientError('ARGUMENT', `${name} ${value}`);
  }
  const { signal, timeoutMs = clientLimits.pinTimeoutMs } = limits;
  await session.call(operations.PIN, [ino, size ?? null, align], { signal, timeoutMs });
}
