import { createServer } from 'node:http'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import t, { type Test } from 'tap'
import { reportPass } from '../../src/cli/report-pass.js'
import { ServiceError } from '../../src/errors.js'
import { fingerprint } from '../../src/host/state.js'
import type { PassResult } from '../../src/pass/pass.js'
import { readSettings } from '../../src/settings.js'
import { parseExposition } from '../fixtures/exposition.js'
import { testMachine } from '../fixtures/machine.js'
import { never, standIns } from '../fixtures/stand-ins.js'

const KEY = 'ab'.repeat(32)
const DATA = '{"registry.example.com":{"auth":"Y2k6Y2FuYXJ5LVBhNTV3b3Jk"}}'
const ARN = 'arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/0123456789abcdef'
const fine: PassResult = { action: 'none', retryable: false, version: 'v1', registries: ['registry.example.com'], warnings: [], verified: true, containerInstanceArn: ARN }

function host(t: Test, options: { readonly state?: Record<string, unknown>; readonly data?: string; readonly environment?: NodeJS.ProcessEnv } = {}) {
  // Not t.testdir: the stand-ins have that.
  const root = mkdtempSync(join(tmpdir(), 'regcred-report-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  for (const directory of ['etc/ecs', 'state']) mkdirSync(join(root, directory), { recursive: true })
  writeFileSync(join(root, 'etc/ecs/ecs.config'), `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${options.data ?? DATA}\n`)
  writeFileSync(join(root, 'state/state.json'), JSON.stringify({
    schema: 1, fingerprintKey: KEY, rendered: { version: 'v1', fingerprint: fingerprint(KEY, DATA), registries: ['registry.example.com'] }, lastSuccess: '2026-01-02T03:04:05.000Z',
    probes: { 'registry.example.com': { verdict: 'accepted', reason: '', at: '' }, 'gone.example.com': { verdict: 'refused', reason: '', at: '' } }, ...options.state,
  }))
  const lines: string[] = []
  const environment = { REGCRED_ROOT: root, REGCRED_STATE_DIR: '/state', REGCRED_INTROSPECTION_URL: 'http://127.0.0.1:9', ...options.environment }
  const settings = readSettings(environment, {})
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  return {
    root, lines,
    report: (result: PassResult | undefined, error?: ServiceError, durationMs = 1500) => reportPass({ settings, log, environment }, { result, error, durationMs }, never),
    series: () => parseExposition(readFileSync(join(root, 'metrics.prom'), 'utf8')),
  }
}
const METRICS = { REGCRED_METRICS_FILE: '/metrics.prom' }

// Regression: a `sync` by hand left the metrics of the last pass of the service, so the alarm that it was to end rang on.
t.test('a pass by hand is told as well, a failed one too, and a dry one is none', async (t) => {
  const machine = await testMachine(t, { settings: { REGCRED_METRICS_FILE: '/metrics.prom' } })
  const series = () => parseExposition(readFileSync(join(machine.root, 'metrics.prom'), 'utf8'))
  await machine.startEcsAgent()
  await machine.run('sync')
  t.match(Object.fromEntries(series()), { ecs_regcred_passes_total: 1, ecs_regcred_failed_passes_total: 1 })
  machine.login('first-password')
  await machine.run('sync', '--dry-run')
  await machine.run('sync')
  t.match(Object.fromEntries(series()), { ecs_regcred_passes_total: 2, ecs_regcred_restarts_total: 1, ecs_regcred_consecutive_failures: 0, ecs_regcred_ecs_agent_drift: 0 })
})

t.test('with nothing configured nothing is written, run or said', async (t) => {
  const { root, report, lines } = host(t)
  await report(fine)
  t.notOk(existsSync(join(root, 'metrics.prom')))
  t.strictSame(lines, [])
})

t.test('a verified pass: no drift, its version, and the registries of now', async (t) => {
  const { root, report, series } = host(t, { environment: METRICS })
  await report(fine)
  t.match(Object.fromEntries(series()), {
    ecs_regcred_file_drift: 0, ecs_regcred_ecs_agent_drift: 0, ecs_regcred_restart_owed: 0, ecs_regcred_consecutive_failures: 0,
    ecs_regcred_last_success_timestamp_seconds: 1767323045, 'ecs_regcred_applied_version_info{version="v1"}': 1, 'ecs_regcred_registry_probe{registry="registry.example.com",verdict="accepted"}': 1,
  })
  t.notOk([...series().keys()].some((name) => name.includes('gone.example.com')))
  t.equal(statSync(join(root, 'metrics.prom')).mode & 0o777, 0o644, 'another user reads it')
  t.notMatch(readFileSync(join(root, 'metrics.prom'), 'utf8'), /Y2k6|canary/)
})

t.test('restarts and their seconds are counted, a rollback as two, and they survive a restart of the service', async (t) => {
  const { report, series } = host(t, { environment: METRICS })
  await report({ ...fine, action: 'restarted' }, undefined, 4000)
  await report(fine)
  await report({ ...fine, action: 'rolled-back' }, new ServiceError('E_NOT_VERIFIED', 'no'), 6500)
  t.match(Object.fromEntries(series()), { ecs_regcred_restarts_total: 3, ecs_regcred_restart_seconds_total: 10.5, ecs_regcred_passes_total: 3, ecs_regcred_failed_passes_total: 1, ecs_regcred_consecutive_failures: 1 })
})

t.test('the file drifts where somebody changed it, and where a version is held back', async (t) => {
  const changed = host(t, { environment: METRICS, data: '{}' })
  await changed.report(undefined, new ServiceError('E_NET', 'away'))
  t.equal(changed.series().get('ecs_regcred_file_drift'), 1, 'changed by hand')
  for (const code of ['E_REGISTRY_REFUSED', 'E_SET_ASIDE', 'E_TAKEOVER', 'E_JSON'] as const) {
    const { report, series } = host(t, { environment: METRICS })
    await report({ ...fine, verified: false }, new ServiceError(code, 'no'))
    t.equal(series().get('ecs_regcred_file_drift'), 1, code)
  }
  const away = host(t, { environment: METRICS })
  await away.report({ ...fine, version: undefined, verified: false } as unknown as PassResult, new ServiceError('E_NET', 'away'))
  t.equal(away.series().get('ecs_regcred_file_drift'), 0, 'a source that is away is no drift')
})

t.test('a pass that was not verified asks the machine: an ECS agent of before the write drifts, and a restart is owed', async (t) => {
  const { report, series } = host(t, { environment: METRICS, state: { pending: { version: 'v1', fingerprint: 'x', registries: [], fileFingerprint: 'x', phase: 'written' } } })
  standIns(t, ['systemctl'], { 'systemctl-show': "printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nMainPID=0\\n'" })
  await report({ ...fine, action: 'deferred', verified: false })
  t.match(Object.fromEntries(series()), { ecs_regcred_ecs_agent_drift: 1, ecs_regcred_restart_owed: 1 })
})

t.test('metrics that cannot be written are one warning with its fix', async (t) => {
  const { report, lines } = host(t, { environment: { REGCRED_METRICS_FILE: '/nowhere/metrics.prom' } })
  await report(fine)
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0] ?? '{}'), { level: 40, event: 'report.failed', code: 'E_STATE', msg: /could not write the metrics file: .*nowhere/, fix: /./ })
})

t.test('systemd hears a sign of life after a pass, and on the way to one that is further off than its watchdog', async (t) => {
  const calls = standIns(t, ['systemd-notify'], {}, { NOTIFY_SOCKET: '/run/systemd/notify' })
  const { report } = host(t, { environment: { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '600000', INVOCATION_ID: 'a', REGCRED_INTERVAL: '1s' } })
  await report(fine)
  t.strictSame(calls(), ['systemd-notify WATCHDOG=1 to /run/systemd/notify'])
  // 300 ms apart for an interval of 1 s: at 300, 600 and 900 ms, and never again.
  for (const deadline = Date.now() + 20_000; calls().length < 4 && Date.now() < deadline;) await sleep(20)
  await sleep(700)
  t.equal(calls().length, 4)
})

// Regression: Amazon Linux 2's PID 1 drops a sign whose writer has ended by the time it looks, and ended a service that was well.
t.test('where systemd is as old as Amazon Linux 2 has it, the sign is given several times', async (t) => {
  const calls = standIns(t, ['systemd-notify'], {}, { NOTIFY_SOCKET: '/run/systemd/notify' })
  await host(t, { environment: { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '1800000000' } }).report(fine)
  t.strictSame(calls(), Array<string>(5).fill('systemd-notify WATCHDOG=1 to /run/systemd/notify'))
})

t.test('without a watchdog nothing is run', async (t) => {
  const calls = standIns(t, ['systemd-notify'], {})
  await host(t, { environment: { NOTIFY_SOCKET: '/run/systemd/notify' } }).report(fine)
  t.strictSame(calls(), [])
})

t.test('the version is published once it is verified, again when it changes, and a denial is a warning', async (t) => {
  const puts: { attributes: { name: string; value: string }[]; cluster: string }[] = []
  let status = 200
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      puts.push(JSON.parse(Buffer.concat(chunks).toString()))
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(status === 200 ? '{"attributes":[]}' : '{"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:assumed-role/r/i is not authorized to perform: ecs:PutAttributes"}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const aws = { AWS_ENDPOINT_URL_ECS: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example' }
  t.intercept(process, 'env', { value: { ...process.env, ...aws } })
  const { report, lines } = host(t, { environment: { REGCRED_PUBLISH_VERSION: 'on' } })

  await report({ ...fine, verified: false })
  await report(fine, new ServiceError('E_NET', 'away'))
  t.equal(puts.length, 0, 'not verified')
  await report(fine)
  await report(fine)
  t.match(puts, [{ cluster: 'prod', attributes: [{ name: 'ecs-regcred.version', value: 'v1' }, { name: 'ecs-regcred.at' }] }])
  t.equal(puts.length, 1, 'once')
  status = 400
  await report({ ...fine, version: 'v2' })
  t.match(lines.at(-1), /report\.failed.*E_IAM.*ecs:PutAttributes/)
  status = 200
  await report({ ...fine, version: 'v2' })
  t.match(puts.at(-1), { attributes: [{ value: 'v2' }] })
})
