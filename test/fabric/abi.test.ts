/** What fs/fabric/abi.ts says of libfabric's structures, held against its headers by a C program, where they are installed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constant, failure, flag, mrMode, offsets, sizes } from '../../fs/fabric/abi.ts';

const headers = ['fabric', 'fi_cm', 'fi_domain', 'fi_endpoint', 'fi_eq', 'fi_errno', 'fi_rma'];
const includes = headers.map((name) => `#include <rdma/${name}.h>`).join('\n');
const canCompile = spawnSync('cc', ['-fsyntax-only', '-xc', '-'], { input: includes }).status === 0;

describe.skipIf(!canCompile)(
  `the binary interface of libfabric${canCompile ? '' : ': no compiler, or no libfabric-dev'}`,
  () => {
    let dir: string;
    let found: ReadonlyMap<string, bigint>;
    beforeAll(() => {
      dir = mkdtempSync(join(tmpdir(), 'iopmemfs-abi-'));
      const asked = [
        ...Object.entries(offsets).flatMap(([of, fields]) =>
          Object.keys(fields).map((field) => [`${of}.${field}`, `offsetof(struct ${of}, ${field})`]),
        ),
        ...Object.keys(sizes).map((name) => [`sizeof ${name}`, `sizeof(struct ${name})`]),
        ...[constant, failure, flag, mrMode].flatMap((table) => Object.keys(table).map((name) => [name, name])),
      ];
      const lines = asked.map(([name, value]) => `printf("%s=%llu\\n", "${name}", (unsigned long long)(${value}));`);
      const source = join(dir, 'abi.c');
      writeFileSync(
        source,
        `#include <stddef.h>\n#include <stdio.h>\n${includes}\nint main(void) {\n${lines.join('\n')}\nreturn 0;\n}\n`,
      );
      execFileSync('cc', ['-o', join(dir, 'abi'), source]);
      const output = execFileSync(join(dir, 'abi'), { encoding: 'utf8' });
      found = new Map(
        output
          .trim()
          .split('\n')
          .map((line): [string, bigint] => {
            const [name = '', value = ''] = line.split('=');
            return [name, BigInt(value)];
          }),
      );
    });
    afterAll(() => rmSync(dir, { recursive: true, force: true }));

    test.for(Object.entries(offsets))('struct %s', ([of, fields]) => {
      for (const [field, offset] of Object.entries(fields))
        expect(found.get(`${of}.${field}`), field).toBe(BigInt(offset));
    });

    test('sizes of what is made here', () => {
      for (const [name, size] of Object.entries(sizes)) expect(found.get(`sizeof ${name}`), name).toBe(BigInt(size));
    });

    test('flags and enumerations', () => {
      for (const table of [constant, failure, flag, mrMode]) {
        for (const [name, value] of Object.entries(table)) expect(found.get(name), name).toBe(BigInt(value));
      }
    });
  },
);
