/** What all programs have in common: exit codes, how an error reads, and that nothing ends in a stack trace. */
import { readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { type Command, CommanderError } from 'commander';
import { type ErrorContext, FsError } from '../../fs/errors.ts';

/** An error with the exit code that the program gives for it. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
  }
}

export interface ExitCodes {
  /** Wrong options or arguments. */
  readonly usage: number;
  readonly failure: number;
}

/**
 * Runs a program to its exit code. Errors go to stderr as `program: object: what was found (ERRNO)`.
 */
export async function runProgram(command: Command, codes: ExitCodes, argv: readonly string[]): Promise<number> {
  for (const each of withSubcommands(command)) each.exitOverride();
  // The reader has seen enough (`| head`): no error, as SIGPIPE would have it.
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? 0 : codes.failure),
  );
  try {
    await command.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : codes.usage; // commander printed it
    if (error instanceof ExitError) {
      if (error.message !== '') complain(command.name(), error.message);
      return error.exitCode;
    }
    complain(command.name(), errorText(error));
    return codes.failure;
  }
}

function* withSubcommands(command: Command): Generator<Command> {
  yield command;
  for (const each of command.commands) yield* withSubcommands(each);
}

/** One or more lines on stderr, each with the program's name. */
export function complain(program: string, text: string): void {
  process.stderr.write(`${text.replace(/^/gm, `${program}: `)}\n`);
}

/** `/tmp/x.img: in use by another daemon (EBUSY)` */
export function errorText(error: unknown): string {
  if (error instanceof FsError) return describe(error.code, error.context, error.cause);
  if (!(error instanceof Error)) return String(error);
  const [code, path] = ['code', 'path'].map((field) => textOf(error, field));
  return code === undefined ? error.message : describe(code, { path, detail: withoutCode(error.message) });
}

interface Described extends Omit<ErrorContext, 'op' | 'path' | 'detail'> {
  readonly op?: string | undefined;
  readonly path?: string | undefined;
  readonly detail?: string | undefined;
}

function describe(code: string, { op, path, ino, name, range, detail }: Described, cause?: unknown): string {
  const said = detail ?? (cause instanceof Error ? cause.message : undefined);
  const parts = [
    path ?? op,
    ino === undefined ? undefined : `inode ${ino}`,
    name === undefined ? undefined : `name ${JSON.stringify(name)}`,
    range === undefined ? undefined : `bytes ${range.offset}+${range.length}`,
    said === undefined ? wordsFor(code) : withoutCode(said),
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? code : `${parts.join(': ')} (${code})`;
}

/** What happened, of node's `CODE: what happened, call 'path'`. */
function withoutCode(message: string): string {
  return /^[A-Z0-9]+: (.*), \w+( '.*')?$/.exec(message)?.[1] ?? message;
}

/** What strerror(3) says, in node's words. */
function wordsFor(code: string): string | undefined {
  return [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1];
}

function textOf(error: Error, field: string): string | undefined {
  const value: unknown = Reflect.get(error, field);
  return typeof value === 'string' ? value : undefined;
}

/** Version of the package, from the package.json next to dist/. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version);
  return 'unknown';
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(
    JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? `0x${field.toString(16)}` : field), 2),
  );
}
