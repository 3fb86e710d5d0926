import t from 'tap'
import { readAgentLogWarnings } from '../../src/host/ecs-agent-log.js'

const at = (time: string): number => Date.parse(`2026-01-02T${time}Z`)
const log = (text: string): object => ({ var: { log: { ecs: { 'ecs-agent.log': text } } } })
const lines = [
  'level=info time=2026-01-02T10:00:00Z msg="Loading configuration"',
  `level=warn time=2026-01-02T10:00:01Z msg="Could not parse 'dockercfg' type auth config"`,
  '2026-01-02T10:00:02Z [WARN] Unknown auth configuration: {"canary-5ecret"}',
  `level=warn time=2026-01-02T10:00:03Z msg="Malformed auth data for registry canary-5ecret; must contain ':'" module=dockerauth.go`,
  'level=warn time=2026-01-02T10:00:04Z msg="Malformed auth data for registry canary-5ecret" module=dockerauth.go',
  'level=warn time=2026-01-02T10:00:05Z msg="Something else"',
].join('\n')

t.test('what the ECS agent could not use is told in words of ours, in both forms of its log', async (t) => {
  const warnings = await readAgentLogWarnings(t.testdir(log(lines) as never), 0)
  t.strictSame(warnings.map(({ atMs }) => atMs), [at('10:00:01'), at('10:00:02'), at('10:00:03'), at('10:00:04')])
  t.match(warnings.map(({ message }) => message), [/could not parse/, /AUTH_TYPE/, /no colon/, /not base64/])
  t.notMatch(JSON.stringify(warnings), 'canary')
})

t.test('what it said before is over, and a line without a time counts', async (t) => {
  const text = `${lines}\nUnknown auth configuration: x\n`
  const warnings = await readAgentLogWarnings(t.testdir(log(text) as never), at('10:00:04'))
  t.strictSame(warnings.map(({ atMs }) => atMs), [at('10:00:04'), undefined])
})

t.test('only the end of a long log is read, and no log is no warning', async (t) => {
  const text = `${lines}\n${'level=info msg="so much"\n'.repeat(20_000)}level=warn time=2026-01-02T11:00:00Z msg="Could not parse 'docker' type auth config"\n`
  t.equal((await readAgentLogWarnings(t.testdir(log(text) as never), 0)).length, 1)
  t.strictSame(await readAgentLogWarnings(t.testdir(), 0), [])
})
