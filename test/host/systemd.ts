import t from 'tap'
import { parseShow, parseUnit, systemd } from '../../src/host/systemd.js'
import { never, standIns } from '../fixtures/stand-ins.js'

const running = [
  'LoadState=loaded', 'ActiveState=active', 'SubState=running', 'Result=success', 'MainPID=4242', 'ExecMainStatus=0', 'ExecMainCode=0',
  'ExecMainStartTimestampMonotonic=81234567', 'ActiveEnterTimestampMonotonic=81234600',
].join('\n')
const with_ = (changes: Record<string, string>): Partial<Record<string, string>> => ({ ...parseShow(running), MainPID: '0', ...changes })
const ended = { ExecMainCode: '1' }

t.test('each state of a unit is told apart', async (t) => {
  const cases: [string, Record<string, string>, string | undefined, string][] = [
    ['running', { MainPID: '4242' }, undefined, 'running'],
    ['running, and a restart waits its turn', { MainPID: '4242' }, 'restart', 'starting'],
    ['start under way', { ActiveState: 'activating', SubState: 'start-pre' }, 'start', 'starting'],
    ['the wait before an automatic restart', { ActiveState: 'activating', SubState: 'auto-restart', ...ended, ExecMainStatus: '255' }, undefined, 'starting'],
    ['the stopping half of a restart', { ActiveState: 'deactivating', SubState: 'stop', MainPID: '4242' }, 'restart', 'starting'],
    ["an administrator's stop under way", { ActiveState: 'deactivating', SubState: 'stop', MainPID: '4242' }, 'stop', 'stopped'],
    ['ended by itself, cleaning up', { ActiveState: 'deactivating', SubState: 'stop-post', ...ended }, undefined, 'starting'],
    ['stopped', { ActiveState: 'inactive', SubState: 'dead', ...ended }, undefined, 'stopped'],
    ['between stop and start of a restart', { ActiveState: 'inactive', SubState: 'dead', ...ended }, 'restart', 'starting'],
    ['failed', { ActiveState: 'failed', SubState: 'failed', Result: 'exit-code', ...ended, ExecMainStatus: '5' }, undefined, 'failed'],
    ['failed, and a start is queued', { ActiveState: 'failed', ...ended }, 'start', 'starting'],
    ['boot: not started yet', { ActiveState: 'inactive', ExecMainStartTimestampMonotonic: '0', ActiveEnterTimestampMonotonic: '0' }, 'start', 'not-started'],
    ['disabled: never started', { ActiveState: 'inactive', ExecMainStartTimestampMonotonic: '0', ActiveEnterTimestampMonotonic: '0' }, undefined, 'not-started'],
    ['no such unit', { LoadState: 'not-found', ActiveState: 'inactive' }, undefined, 'absent'],
    ['its file is gone but it runs', { LoadState: 'not-found', MainPID: '4242' }, undefined, 'running'],
    ['its file is wrong', { LoadState: 'bad-setting', ActiveState: 'inactive' }, undefined, 'failed'],
    ['an answer of some other kind', { ActiveState: 'maintenance' }, undefined, 'unknown'],
  ]
  for (const [name, changes, queued, expected] of cases) t.equal(parseUnit(with_(changes), queued).state, expected, name)
})

t.test('a running unit tells its pid and its start on the monotonic clock', async (t) => {
  t.match(parseUnit(parseShow(running), undefined), { pid: 4242, startedAtUs: 81_234_567, exitStatus: undefined })
})

t.test('a terminal failure keeps its exit status, and a signal is none', async (t) => {
  const failed = { ActiveState: 'failed', SubState: 'failed', Result: 'exit-code', ExecMainStatus: '5' }
  t.strictSame(parseUnit(with_({ ...failed, ExecMainCode: '1' }), undefined), {
    state: 'failed', detail: 'ActiveState=failed, SubState=failed, Result=exit-code, ExecMainStatus=5', exitStatus: 5,
  })
  t.equal(parseUnit(with_({ ...failed, ExecMainCode: '2', ExecMainStatus: '9' }), undefined).exitStatus, undefined)
})

t.test('a start limit that was hit stands in the detail', async (t) => {
  for (const result of ['start-limit', 'start-limit-hit']) {
    t.match(parseUnit(with_({ ActiveState: 'failed', SubState: 'failed', Result: result }), undefined).detail, `Result=${result}`)
  }
})

t.test('a queued job is looked up by its type, since a stop and a restart look alike', async (t) => {
  const calls = standIns(t, ['systemctl'], {
    'systemctl-show': `echo '${with_({}) && running.replace('ActiveState=active', 'ActiveState=deactivating')}\nJob=815'`,
    'systemctl-list-jobs': 'echo " 814 other.service start waiting"; echo " 815 ecs.service stop running"',
  })
  t.match(await systemd.readJob('ecs', never), { state: 'stopped', stopping: true, detail: /Job=stop/ })
  t.match(calls(), [/^systemctl show ecs -p LoadState,ActiveState/, /^systemctl list-jobs/])
})

t.test('a systemctl that shows no properties is asked in its oldest words', async (t) => {
  standIns(t, ['systemctl'], { 'systemctl-show': 'exit 1', 'systemctl-is-active': '[ "$2" = ecs ] && echo active' })
  t.strictSame(await systemd.readJob('ecs', never), { state: 'running', detail: 'systemctl is-active: active' })
})

t.test('a systemctl that tells nothing is not understood as anything, and its words are kept', async (t) => {
  standIns(t, ['systemctl'], { systemctl: 'echo "Failed to connect to bus: No such file or directory" >&2; exit 1' })
  t.match(await systemd.readJob('ecs', never), { state: 'unknown', detail: /exit status 1: Failed to connect to bus/ })
})

t.test('without systemctl, or with one that systemd does not stand behind, there is no unit', async (t) => {
  await t.test('no systemctl', async (t) => {
    standIns(t, [], {})
    t.equal((await systemd.readJob('ecs', never)).state, 'absent')
  })
  await t.test('not PID 1', async (t) => {
    standIns(t, ['systemctl'], { systemctl: 'echo "System has not been booted with systemd as init system (PID 1)." >&2; exit 1' })
    t.equal((await systemd.readJob('ecs', never)).state, 'absent')
  })
})

t.test('a restart does not wait for the boot it may be part of', async (t) => {
  const calls = standIns(t, ['systemctl'], {})
  await systemd.restart('ecs', never)
  t.strictSame(calls(), ['systemctl --no-block restart ecs'])
})

t.test("a refused restart names the unit and keeps systemctl's words", async (t) => {
  const cases: [string, string, RegExp][] = [
    ['Failed to restart ecs.service: Unit ecs.service not found.', 'E_NO_ECS_SERVICE', /ecs-init/],
    ['Failed to restart ecs.service: Unit ecs.service is masked.', 'E_RESTART_FAILED', /unmask ecs/],
    ['Failed to restart ecs.service: Interactive authentication required.', 'E_RESTART_FAILED', /root/],
    ['Failed to restart ecs.service: Transaction is destructive.', 'E_RESTART_FAILED', /systemctl status ecs/],
  ]
  for (const [words, code, fix] of cases) {
    await t.test(words, async (t) => {
      standIns(t, ['systemctl'], { 'systemctl-restart': `echo "${words}" >&2; exit 1` })
      await t.rejects(systemd.restart('ecs', never), { code, message: `could not restart ecs (systemctl --no-block restart ecs): exit status 1: ${words}`, details: { fix } })
    })
  }
})
