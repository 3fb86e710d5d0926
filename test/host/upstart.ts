import t from 'tap'
import { parseStatus, upstart } from '../../src/host/upstart.js'
import { monotonicUs } from '../../src/host/process-identity.js'
import { never, standIns } from '../fixtures/stand-ins.js'

const ALL = ['initctl', 'status', 'stop', 'start']

t.test('each answer of status is told apart', async (t) => {
  const cases: [string, string][] = [
    ['ecs start/running, process 4242', 'running'],
    ['ecs (blue) start/running, process 4242', 'running'],
    ['ecs start/running', 'running'],
    ['ecs start/starting', 'starting'],
    ['ecs start/pre-start, process 4242', 'starting'],
    ['ecs start/post-start, process 4242\n\tpost-start process 4250', 'starting'],
    ['ecs start/spawned, process 4242', 'starting'],
    ['ecs start/killed', 'starting'],
    ['ecs stop/waiting', 'stopped'],
    ['ecs stop/killed, process 4242', 'stopped'],
    ['ecs stop/pre-stop, process 4242\n\tpre-stop process 4250', 'stopped'],
    ['', 'unknown'],
    ['something else', 'unknown'],
  ]
  for (const [answer, expected] of cases) t.equal(parseStatus(`${answer}\n`).state, expected, answer)
  t.equal(parseStatus('', 'status: Unknown job: ecs\n').state, 'absent')
  t.notOk(parseStatus('ecs stop/waiting\n').stopping)
  t.ok(parseStatus('ecs stop/killed, process 4242\n').stopping, 'its container may run for some seconds more')
})

t.test('a running job tells the start of its process on the monotonic clock', async (t) => {
  const before = monotonicUs()
  standIns(t, ALL, { status: `echo "ecs start/running, process ${process.pid}"` })
  const status = await upstart.readJob('ecs', never)
  t.match(status, { state: 'running', pid: process.pid, detail: `start/running` })
  const ageMs = (before - (status.startedAtUs ?? 0)) / 1000
  t.ok(Math.abs(ageMs - performance.now()) < 20_000, `this process started ${ageMs} ms ago by /proc, ${performance.now()} ms ago by itself`)
})

t.test('a restart is stop and start, never restart', async (t) => {
  const calls = standIns(t, ALL, { stop: 'echo "ecs stop/waiting"', start: 'echo "ecs start/running, process 4250"' })
  await upstart.restart('ecs', never)
  t.strictSame(calls(), ['stop ecs', 'start ecs'])
})

t.test('initctl takes the place of the short names where they are not installed', async (t) => {
  const calls = standIns(t, ['initctl'], { 'initctl-status': 'echo "ecs start/running, process 4242"' })
  t.equal((await upstart.readJob('ecs', never)).state, 'running')
  await upstart.restart('ecs', never)
  t.strictSame(calls(), ['initctl status ecs', 'initctl stop ecs', 'initctl start ecs'])
})

t.test('stopping a stopped job is no error', async (t) => {
  const calls = standIns(t, ALL, { stop: 'echo "stop: Unknown instance: " >&2; exit 1' })
  await upstart.restart('ecs', never)
  t.strictSame(calls(), ['stop ecs', 'start ecs'])
})

t.test('a start that is refused names the job and keeps the words', async (t) => {
  for (const words of ['start: Job is already running: ecs', 'start: Job failed to start']) {
    await t.test(words, async (t) => {
      standIns(t, ALL, { start: `echo "${words}" >&2; exit 1` })
      await t.rejects(upstart.restart('ecs', never), { code: 'E_RESTART_FAILED', message: `could not restart ecs (start ecs): exit status 1: ${words}` })
    })
  }
})

t.test('a stop that fails is reported, and the job is started all the same: it may be on its way down', async (t) => {
  const calls = standIns(t, ALL, { stop: 'echo "stop: Method call timed out" >&2; exit 1' })
  await t.rejects(upstart.restart('ecs', never), { code: 'E_RESTART_FAILED', message: /stop ecs.*Method call timed out/ })
  t.strictSame(calls(), ['stop ecs', 'start ecs'])
})

t.test('a shutdown between stop and start does not leave the job stopped', async (t) => {
  const shutdown = new AbortController()
  const calls = standIns(t, ALL, { stop: `kill -USR2 ${process.pid}; echo "ecs stop/waiting"` })
  const asked = new Promise<void>((resolve) => {
    process.once('SIGUSR2', () => {
      shutdown.abort()
      resolve()
    })
  })
  await upstart.restart('ecs', shutdown.signal).catch(() => {})
  await asked
  t.strictSame(calls(), ['stop ecs', 'start ecs'])
})

t.test('a job that Upstart does not know, and an Upstart that is not there', async (t) => {
  await t.test('unknown job', async (t) => {
    const calls = standIns(t, ALL, { status: 'echo "status: Unknown job: ecs" >&2; exit 1', stop: 'echo "stop: Unknown job: ecs" >&2; exit 1' })
    t.equal((await upstart.readJob('ecs', never)).state, 'absent')
    await t.rejects(upstart.restart('ecs', never), { code: 'E_NO_ECS_SERVICE', message: /Unknown job: ecs/ })
    t.notOk(calls().includes('start ecs'))
  })
  await t.test('no Upstart', async (t) => {
    standIns(t, [], {})
    t.equal((await upstart.readJob('ecs', never)).state, 'absent')
    await t.rejects(upstart.restart('ecs', never), { code: 'E_NO_ECS_SERVICE' })
  })
})
