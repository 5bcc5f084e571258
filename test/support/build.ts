/** Tests of programs run what is in dist/: made here if it is missing. `npm test` has built it already. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export default function build(): void {
  if (existsSync('dist/tools/iopmemfs.js')) return;
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'inherit', 'inherit'] });
}
