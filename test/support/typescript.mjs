/**
 * Lets a child process of a test run TypeScript on Node 20: `node --import test/support/typescript.mjs file.ts`.
 * Types are stripped file by file, as vitest does for the test itself. What came out is kept beside the packages:
 * loading the compiler takes longer than most of these processes run.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire, register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

const kept = new URL('../../node_modules/.cache/typescript-mjs/', import.meta.url);
const { version } = createRequire(import.meta.url)('typescript/package.json');

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  return compiled(url, await readFile(fileURLToPath(url), 'utf8'));
}

/** What a load hook answers for the module at `url` with this source. */
export async function compiled(url, source) {
  const digest = `\n// ${hashed([version, url, source])}\n`;
  const file = new URL(hashed([url]), kept);
  const known = await readFile(file, 'utf8').catch(() => '');
  const output = known.endsWith(digest) ? known : (await compile(url, source)) + digest;
  if (output !== known) await keep(file, output);
  return { format: 'module', source: output, shortCircuit: true };
}

function hashed(parts) {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

async function compile(url, source) {
  const { default: ts } = await import('typescript');
  const { outputText } = ts.transpileModule(source, {
    fileName: fileURLToPath(url),
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
    },
  });
  return outputText;
}

/** Several processes may be at the same one. */
async function keep(file, output) {
  const part = new URL(`${file.href}.${randomUUID()}`);
  await mkdir(kept, { recursive: true });
  await writeFile(part, output);
  await rename(part, file);
}
