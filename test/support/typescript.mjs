/**
 * Lets a child process of a test run TypeScript on Node 20: `node --import test/support/typescript.mjs file.ts`.
 * Types are stripped file by file, as vitest does for the test itself.
 */
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  return compiled(url, await readFile(fileURLToPath(url), 'utf8'));
}

/** What a load hook answers for the module at `url` with this source. */
export async function compiled(url, source) {
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
  return { format: 'module', source: outputText, shortCircuit: true };
}
