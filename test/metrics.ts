import t from 'tap'
import { type MetricFacts, readCounters, renderMetrics } from '../src/metrics.js'
import { parseExposition } from './fixtures/exposition.js'

const healthy: MetricFacts = {
  lastSuccess: new Date('2026-01-02T03:04:05.500Z'),
  lastPass: new Date('2026-01-02T03:04:06Z'),
  failed: false,
  code: undefined,
  appliedVersion: '3f2a9c01-1111-2222-3333-444455556666',
  fileDrift: false,
  ecsAgentDrift: false,
  restartOwed: false,
  setAside: undefined,
  restarts: 0,
  restartSeconds: 12,
  probes: [{ registry: 'registry.example.com', verdict: 'accepted' }],
}

t.test('a healthy machine: every series is there, in a form that Prometheus reads', async (t) => {
  const series = parseExposition(await renderMetrics(healthy, readCounters('')))
  t.strictSame(Object.fromEntries(series), {
    ecs_regcred_last_success_timestamp_seconds: 1767323045.5,
    ecs_regcred_last_pass_timestamp_seconds: 1767323046,
    ecs_regcred_consecutive_failures: 0,
    ecs_regcred_passes_total: 1,
    ecs_regcred_failed_passes_total: 0,
    'ecs_regcred_applied_version_info{version="3f2a9c01-1111-2222-3333-444455556666"}': 1,
    ecs_regcred_file_drift: 0,
    ecs_regcred_ecs_agent_drift: 0,
    ecs_regcred_restart_owed: 0,
    'ecs_regcred_set_aside{version=""}': 0,
    ecs_regcred_restarts_total: 0,
    ecs_regcred_restart_seconds_total: 0,
    'ecs_regcred_registry_probe{registry="registry.example.com",verdict="accepted"}': 1,
    'ecs_regcred_registry_probe{registry="registry.example.com",verdict="refused"}': 0,
    'ecs_regcred_registry_probe{registry="registry.example.com",verdict="unknown"}': 0,
  })
})

t.test('what is not known has no series, rather than a 0 that looks healthy', async (t) => {
  const unknown = { ...healthy, lastSuccess: undefined, appliedVersion: undefined, fileDrift: undefined, ecsAgentDrift: undefined, restartOwed: undefined, probes: [] }
  const names = [...parseExposition(await renderMetrics(unknown, readCounters(''))).keys()]
  for (const name of ['last_success', 'applied_version', 'drift', 'owed', 'registry_probe']) t.notOk(names.some((found) => found.includes(name)), name)
})

t.test('counters go on from the file of the pass before, and failures in a row end with a success', async (t) => {
  const failed = { ...healthy, failed: true, code: 'E_IAM', restarts: 0 }
  let text = ''
  for (const facts of [healthy, failed, { ...failed, restarts: 2, restartSeconds: 30.5 }]) text = await renderMetrics(facts, readCounters(text))
  t.strictSame(readCounters(text), { consecutiveFailures: 2, passes: 3, failures: 2, restarts: 2, restartSeconds: 30.5 })
  t.equal(parseExposition(text).get('ecs_regcred_last_error_info{code="E_IAM"}'), 1)
  t.match(readCounters(await renderMetrics({ ...healthy, restarts: 1 }, readCounters(text))), { consecutiveFailures: 0, restarts: 3, restartSeconds: 42.5 })
})

t.test('a file that is not ours counts from 0', async (t) => {
  for (const text of ['ecs_regcred_passes_total -4', 'ecs_regcred_passes_total NaN', '# ecs_regcred_passes_total 4', 'other 4', '\0\0']) t.equal(readCounters(text).passes, 0, text)
})

t.test('a version that is set aside is named, and any text in a label is escaped', async (t) => {
  const series = parseExposition(await renderMetrics({ ...healthy, setAside: 'a"b\\c\nd' }, readCounters('')))
  t.equal(series.get(String.raw`ecs_regcred_set_aside{version="a\"b\\c\nd"}`), 1)
})
