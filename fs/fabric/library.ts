/**
 * libfabric 1.x in this process, loaded when it is first asked for. What is not exported by the library is called through
 * the function tables of its objects (abi.ts). The one module here with a foreign function interface.
 */
import koffi, { type TypeObject } from 'koffi';
import { FsError } from '../errors.ts';

/** The interface that we were written for: what fi_getinfo is asked for. Newer libraries of the same major number keep to it. */
const apiVersion = { major: 1, minor: 17 } as const;

type Call<Args extends unknown[], Result> = (...args: Args) => Result;
/** Where something lies in this process. Numbers are the cheapest argument of a foreign call; 0 is null. */
export type Address = number;

/** A kind of function in a table; koffi types what it makes of it by `any`, the prototype is what makes the type true. */
export interface Prototype<Args extends unknown[]> {
  readonly type: TypeObject;
  /** Never there: it carries the type of the arguments. */
  readonly args?: Args;
}

export function prototype<Args extends unknown[]>(definition: string): Prototype<Args> {
  return { type: koffi.proto(definition) };
}

/** The function that a table of an object holds. */
export function method<Args extends unknown[]>(
  table: Address,
  offset: number,
  kind: Prototype<Args>,
): Call<Args, number> {
  return koffi.decode(BigInt(pointerAt(table + offset)), kind.type);
}

export function pointerAt(at: Address): Address {
  return Number(koffi.decode(BigInt(at), 'uint64_t'));
}

/** The bytes of a structure of the library; valid as long as the structure is. */
export function structure(at: Address, length: number): DataView {
  return new DataView(koffi.view(BigInt(at), length));
}

/** Where the bytes are; they must stay referenced while the address is in use. */
export function addressOf(bytes: Uint8Array): Address {
  return Number(koffi.address(bytes));
}

export interface Library {
  /** As `MAJOR.MINOR`. */
  readonly version: string;
  readonly versionAsked: number;
  readonly getinfo: Call<
    [version: number, node: string | null, service: string | null, flags: bigint, hints: Address, info: Uint8Array],
    number
  >;
  readonly freeinfo: Call<[info: Address], void>;
  /** Without an info: a new one, all zero. */
  readonly dupinfo: Call<[info: Address], Address>;
  readonly fabric: Call<[attr: Address, fabric: Uint8Array, context: Address], number>;
  readonly strerror: Call<[code: number], string>;
}

let loaded: Library | undefined;

/** @throws FsError ENOENT: it is not installed, EPROTO: of another kind than is known here; with a reason for people */
export function libfabric(): Library {
  loaded ??= loadLibrary();
  return loaded;
}

function loadLibrary(): Library {
  // Structures are read and written as 64-bit machines with the low byte first lay them out.
  if (process.arch !== 'x64' && process.arch !== 'arm64') {
    throw new FsError('EPROTO', { op: 'libfabric', detail: `the bindings know x64 and arm64, not ${process.arch}` });
  }
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libfabric.so.1');
  } catch (cause) {
    throw new FsError('ENOENT', { op: 'libfabric', detail: 'it is not installed (Debian: libfabric1)' }, cause);
  }
  const version: number = library.func('uint32_t fi_version(void)')();
  const [major, minor] = [version >>> 16, version & 0xffff];
  if (major !== apiVersion.major || minor < apiVersion.minor) {
    const known = `${apiVersion.major}.${apiVersion.minor} and later of that kind`;
    throw new FsError('EPROTO', { op: 'libfabric', detail: `it is version ${major}.${minor}, known here is ${known}` });
  }
  return {
    version: `${major}.${minor}`,
    versionAsked: (apiVersion.major << 16) | apiVersion.minor,
    getinfo: library.func(
      'int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags, uintptr_t hints, _Out_ void *info)',
    ),
    freeinfo: library.func('void fi_freeinfo(uintptr_t info)'),
    dupinfo: library.func('uintptr_t fi_dupinfo(uintptr_t info)'),
    fabric: library.func('int fi_fabric(uintptr_t attr, _Out_ void *fabric, uintptr_t context)'),
    strerror: library.func('const char *fi_strerror(int code)'),
  };
}

/** Makes a call that fills in a pointer. @throws FsError EIO with what the library says */
export function made(op: string, call: (out: Uint8Array) => number): Address {
  const out = Buffer.alloc(8);
  requireOk(op, call(out));
  return Number(out.readBigUInt64LE());
}

/** @param result 0, or a negative error of libfabric. @throws FsError EIO with what the library says */
export function requireOk(op: string, result: number): void {
  if (result < 0) throw new FsError('EIO', { op, detail: reasonOf(-result) });
}

/** What an error of libfabric (fi_errno(3)) means. */
export function reasonOf(code: number): string {
  return `${libfabric().strerror(code)} (libfabric ${code})`;
}
