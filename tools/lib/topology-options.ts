import { FsError } from '../../fs/errors.ts';
import { type TopologyOptions, type TopologyRule, type Translation, topologyRules } from '../../mds/topology.ts';

/** As options of a command and of `-o` have them; absent: as it is by default. */
export interface TopologyTexts {
  readonly topology?: string | undefined;
  readonly pci?: string | undefined;
  readonly translate: readonly string[];
}

/** @throws FsError EINVAL */
export function parseTopology({ topology, pci, translate }: TopologyTexts): TopologyOptions {
  if (pci !== undefined && !/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(pci)) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(pci)} is no PCI address: 0000:03:00.0` });
  }
  return {
    rule: topology === undefined ? undefined : ruleOf(topology),
    pci,
    translations: translate.map(translationOf),
  };
}

function ruleOf(text: string): TopologyRule {
  const rule = topologyRules.find((each) => each === text);
  if (rule !== undefined) return rule;
  throw new FsError('EINVAL', { detail: `topology is ${topologyRules.join(', ')}, not ${JSON.stringify(text)}` });
}

/** `WHO=OFFSET`, the offset with a sign or without, decimal or hexadecimal. The owner of a client may have `=` in it. */
function translationOf(text: string): Translation {
  const [, who = '', sign, number = ''] = /^(.+)=([+-]?)(0x[0-9a-f]{1,16}|\d{1,20})$/i.exec(text) ?? [];
  if (who === '') {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not WHO=OFFSET: 0000:03:00.0=-0x1000` });
  }
  const add = BigInt(number);
  return { who, add: sign === '-' ? -add : add };
}
