import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { run } from '../../src/cli/index.js'
import { AUTH, CANARY, healthyMachine, type Machine } from '../fixtures/doctor-machine.js'
import { basicRegistry } from '../fixtures/registry/server.js'
import { never, standIns } from '../fixtures/stand-ins.js'

/** `ecs-regcred doctor …` on that machine, as the program runs it. */
async function doctor(t: Test, machine: Machine, args: readonly string[] = [], options: { readonly terminal?: number; readonly environment?: NodeJS.ProcessEnv } = {}) {
  const show = Object.entries(machine.units).map(([unit, properties]) => `*" ${unit} "*) printf '%s\\n' '${properties}';;`)
  standIns(t, ['systemctl'], { 'systemctl-show': `case " $* " in ${show.join('\n')}\n*) printf 'LoadState=not-found\\nActiveState=inactive\\n';; esac`, 'systemctl-is-enabled': 'echo enabled' })
  const stdout = Object.assign(new PassThrough(), options.terminal === undefined ? {} : { isTTY: true, columns: options.terminal })
  const stderr = new PassThrough()
  const status = await run(['doctor', ...args], { environment: { ...machine.settingsEnvironment(), ...options.environment }, stdin: new PassThrough(), stdout, stderr, signal: never })
  stdout.end()
  stderr.end()
  const [out, err] = [await text(stdout), await text(stderr)]
  t.notMatch(out + err, CANARY)
  t.notMatch(out + err, AUTH)
  return { status, out, err }
}

t.test('a healthy machine: exit status 0, and so it says', async (t) => {
  const { status, out, err } = await doctor(t, await healthyMachine(t))
  t.equal(status, 0)
  t.equal(err, '')
  t.match(out, /\nnothing is broken \(0 broken, 0 warnings, \d+ ok, \d+ skipped\)\n$/)
  t.notMatch(out, '\u001b')
})

t.test('--json: one document, every check with its verdict, and fix null where there is nothing to do', async (t) => {
  const { status, out } = await doctor(t, await healthyMachine(t), ['--json'])
  t.equal(status, 0)
  const document = JSON.parse(out) as { ok: boolean; checks: { id: string; verdict: string; message: string; fix: string | null }[] }
  t.equal(document.ok, true)
  for (const { id, verdict, message, fix } of document.checks) {
    t.match(verdict, /^(ok|skipped)$/, id)
    t.ok(message.length > 0 && fix === null)
  }
})

t.test('the exit status tells who must act: a refused login 77, before a document that is malformed, before what merely does not run', async (t) => {
  const refusing = await healthyMachine(t, basicRegistry('ci', 'changed at the registry'))
  refusing.write('/config.json', `{"auths":{"${refusing.registry.host}":{"auth","${CANARY}"}}}`)
  t.equal((await doctor(t, refusing)).status, 77)
  const malformed = await healthyMachine(t)
  malformed.write('/config.json', `{"auths":{"${malformed.registry.host}":{"auth","${CANARY}"}}}`)
  delete malformed.units['ecs']
  const { status, out } = await doctor(t, malformed, ['--json'])
  t.equal(status, 65)
  t.match(JSON.parse(out), { ok: false })
  const down = await healthyMachine(t)
  delete down.units['ecs']
  t.equal((await doctor(t, down)).status, 69)
})

t.test('a warning alone breaks nothing', async (t) => {
  const machine = await healthyMachine(t)
  machine.write('/etc/group', 'docker:x:992:ec2-user\n')
  const { status, out } = await doctor(t, machine)
  t.equal(status, 0)
  t.match(out, /^warning {2}docker-group: ec2-user/m)
})

t.test('settings that cannot be used are a finding, 78, and the rest of the machine is looked at all the same', async (t) => {
  const machine = await healthyMachine(t)
  const { status, out } = await doctor(t, machine, [], { environment: { REGCRED_SECRETID: 'prod/registry' } })
  t.equal(status, 78)
  t.match(out, /^broken {3}settings: REGCRED_SECRETID \(environment\) is not a setting/m)
  // Regression: the fix named the env file alone, whatever the message said of where it is set.
  t.match(out, /^ +fix: mend it where it is set \(.*ecs-regcred\.env, the environment or the command line\)/m)
  t.match(out, /^ok {7}ecs-config: /m)
  t.match(out, /^skipped {2}source: /m)
})

t.test('on a terminal it is coloured and as narrow as that, unless NO_COLOR says otherwise', async (t) => {
  const machine = await healthyMachine(t)
  machine.write('/etc/group', 'docker:x:992:ec2-user\n')
  const { out } = await doctor(t, machine, [], { terminal: 60 })
  t.match(out, '\u001b[33mwarning\u001b[0m  docker-group')
  for (const line of out.replaceAll(/\u001b\[\d+m/g, '').split('\n')) t.ok([...line].length <= 60 || /^\s*(fix: |\S+$)/.test(line), line)
  t.notMatch((await doctor(t, machine, [], { terminal: 60, environment: { NO_COLOR: '1' } })).out, '\u001b')
})
