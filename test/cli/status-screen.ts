import t from 'tap'
import { statusScreen, type StatusDocument } from '../../src/cli/status-screen.js'
import { painter, plain } from '../../src/terminal.js'

const ARN = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/registry-AbCdEf'
const at = new Date('2026-01-02T03:04:17.000Z')
const FINE: StatusDocument = {
  source: { label: `secret ${ARN}`, version: '6a1f6a0e-4f0b-4a52-8d7e-0d6f3b1d2c11', problem: null, fix: null },
  file: { path: '/etc/ecs/ecs.config', inSync: true, version: '6a1f6a0e-4f0b-4a52-8d7e-0d6f3b1d2c11' },
  ecsAgent: { running: true, inSync: true, healthy: true, version: '1.105.1', detail: 'systemd: ActiveState=active; introspection answers' },
  restartOwed: false, setAside: null, lastSuccess: '2026-01-02T03:04:05.678Z', nextPass: '2026-01-02T03:08:41.120Z',
  registries: [{ registry: 'registry.example.com', probe: 'accepted', reason: '' }],
}
const WRONG: StatusDocument = {
  ...FINE,
  source: { label: 'secret prod/registry', version: null, problem: 'access is denied', fix: 'add this statement' },
  file: { ...FINE.file, inSync: false },
  ecsAgent: { ...FINE.ecsAgent, inSync: false },
  restartOwed: true, setAside: 'v2', lastSuccess: null, nextPass: '2026-01-01T00:00:00.000Z',
  registries: [{ registry: 'ghcr.io', probe: 'refused', reason: '401' }, { registry: 'quay.io', probe: 'unknown', reason: 'not asked yet' }],
}
const look = { setAsideReason: 'the ECS agent did not come back', at, columns: undefined, paint: plain }

void t.test('a line a fact, whole and without colour where there is no terminal', async (t) => {
  t.strictSame(statusScreen(FINE, look).split('\n'), [
    `source        secret ${ARN}, version 6a1f6a0e-4f0b-4a52-8d7e-0d6f3b1d2c11`,
    'file          /etc/ecs/ecs.config holds that',
    'ECS agent     running, healthy, holds what the file holds',
    'restart       none owed',
    'last success  2026-01-02T03:04:05Z (11 s ago)',
    'next pass     2026-01-02T03:08:41Z (in 4 min)',
    'registries    registry.example.com  accepted',
    '',
  ])
})

void t.test('what is wrong is told with its reason, and its fix on a line of its own', async (t) => {
  t.strictSame(statusScreen(WRONG, look).split('\n'), [
    'source        secret prod/registry: access is denied',
    '              fix: add this statement',
    'file          /etc/ecs/ecs.config was last written from version 6a1f6a0e-4f0b-4a52-8d7e-0d6f3b1d2c11',
    'ECS agent     running, healthy, does NOT hold what the file holds',
    '              systemd: ActiveState=active; introspection answers',
    'restart       OWED: the service pays it by itself; at once: ecs-regcred sync --force',
    'set aside     v2: the ECS agent did not come back',
    'last success  never',
    'next pass     overdue: 2026-01-01T00:00:00Z (27 h ago); does the service run? ecs-regcred doctor',
    'registries    ghcr.io  refused (401)',
    '              quay.io  unknown (not asked yet)',
    '',
  ])
})

const FIX = 'put a value into it: aws secretsmanager put-secret-value --secret-id prod/registry'

for (const columns of [24, 40, 59, 60, 80]) {
  void t.test(`${columns} columns hold every line but a fix and a longer word, which stay whole for copying`, async (t) => {
    for (const status of [FINE, { ...WRONG, source: { ...WRONG.source, fix: FIX } }]) {
      const text = statusScreen(status, { ...look, columns })
      for (const line of text.split('\n')) t.ok([...line].length <= columns || /^\s*\S+$/.test(line) || line.trim() === `fix: ${FIX}`, line)
      t.equal(text.replaceAll(/\s/g, ''), statusScreen(status, look).replaceAll(/\s/g, ''))
    }
  })
}

void t.test('on a terminal, colour is for what is not as it should be', async (t) => {
  const paint = painter({ isTTY: true }, {})
  const [fine, wrong] = [FINE, WRONG].map((status) => statusScreen(status, { ...look, columns: 200, paint })) as [string, string]
  t.notMatch(fine, /\u001b\[3[13]m/)
  for (const word of ['OWED', 'does NOT hold what the file holds', 'overdue', 'never', 'unknown']) t.match(wrong, `\u001b[33m${word}\u001b[0m`)
  for (const word of ['refused', 'v2']) t.match(wrong, `\u001b[31m${word}\u001b[0m`)
})

void t.test('no service and no registry are said in so many words', async (t) => {
  const text = statusScreen({ ...FINE, nextPass: null, registries: [], ecsAgent: { ...FINE.ecsAgent, running: false, healthy: false, inSync: null } }, look)
  t.match(text, /^next pass +none planned: the service does not run here/m)
  t.match(text, /^registries +none in the file/m)
  t.match(text, /^ECS agent +not running, what it holds is not known$/m)
})
