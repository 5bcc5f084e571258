// Runs in a guest: node program.mjs ADDRESS ROLE…; prints what it finds as lines of a label and JSON.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '../../dist/client/index.js';

const [address, role, ...args] = process.argv.slice(2);
const block = 4096;
const say = (label, what) => console.log(`${label} ${JSON.stringify(what)}`);

function bar() {
  const root = '/sys/bus/pci/devices';
  const found = readdirSync(root).find((each) => readFileSync(`${root}/${each}/device`, 'utf8').trim() === '0x1110');
  return `${root}/${found}/resource2`;
}

async function until(client, path) {
  for (;;) {
    try {
      return await client.stat(path);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      await pause(100);
    }
  }
}

/** Writes its own file, reads that of the other, then both write blocks of one file and read whatever block they like. */
async function pair(client, self, other) {
  const size = 2 << 20;
  const own = Buffer.alloc(size, Number(self));
  const file = await client.open(`from-${self}`, 'w+');
  const { path, reason } = await file.write(own, 0, size, 0);
  await file.close();
  await (await client.open(`done-${self}`, 'w')).close();
  say('wrote', { path, reason });

  await until(client, `done-${other}`);
  const theirs = await client.open(`from-${other}`, 'r');
  const read = await theirs.read(Buffer.alloc(size), 0, size, 0);
  const content = await theirs.readFile();
  await theirs.close();
  say('read', { path: read.path, reason: read.reason, wrong: content.filter((byte) => byte !== Number(other)).length });

  const shared = await client.open('shared', 'r+');
  const paths = { direct: 0, server: 0 };
  let torn = 0;
  for (let round = 0; round < 40; round++) {
    const at = ((round * 7 + Number(self)) % 16) * block;
    paths[(await shared.write(Buffer.alloc(block, Number(self)), 0, block, at)).path] += 1;
    const seen = Buffer.alloc(block);
    const from = ((round * 5) % 16) * block;
    paths[(await shared.read(seen, 0, block, from)).path] += 1;
    if (!seen.every((byte) => byte === seen[0])) torn += 1;
  }
  await shared.close();
  say('shared', { paths, torn });
}

/** Holds a range for writing, and writes to it without a sync until somebody says that it is over. */
async function holder(client) {
  const file = await client.open('held', 'w+');
  const buffer = Buffer.alloc(block, 0x5a);
  say('holds', await file.write(buffer, 0, block, 0));
  while ((await client.stat('over').catch(() => undefined)) === undefined) {
    await file.write(buffer, 0, block, 0).catch(() => {});
    await pause(20);
  }
  say('lost', await file.sync().then(() => 'nothing', ({ status }) => status));
  await file.close();
}

const client = await connect(address, { device: bar() });
await { pair, holder }[role](client, ...args);
await client.close();
