/** The change as a transaction: what becomes of a pass that is cut short, of a machine that others work on too, of a way back that fails. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Redacted } from '../src/core/redacted.js'
import { acquireLock } from '../src/host/lock.js'
import { createLogger } from '../src/log.js'
import { reconcile } from '../src/reconcile.js'
import { readSettings } from '../src/settings.js'
import type { CredentialSource } from '../src/sources/source.js'
import { type Machine, testMachine } from './fixtures/machine.js'

const FOREIGN = 'ECS_CLUSTER=production\n# a line of somebody else\n'
const QUICK = { REGCRED_PROBE: 'off', REGCRED_INTERVAL: '1s', REGCRED_VERIFY_TIMEOUT: '3s' }
const authOf = (password: string): string => Buffer.from(`ci:${password}`).toString('base64')
const linesOf = (host: string, password: string): string => `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"${host}":{"auth":"${authOf(password)}"}}\n`
/** In front of the ECS agent: with that password in ecs.config it does something else. */
const unless = (password: string, otherwise: string): string[] => ['/bin/sh', '-c', `grep -q "${authOf(password)}" "$4" && ${otherwise}; exec "$@"`, 'sh']

const statePath = (machine: Machine): string => join(machine.root, 'var/lib/ecs-regcred/state.json')
const writeState = (machine: Machine, state: object): void => writeFileSync(statePath(machine), JSON.stringify(state))

async function until<T>(look: () => T | undefined | false): Promise<T> {
  for (;;) {
    const seen = look()
    if (seen !== undefined && seen !== false) return seen
    await setTimeout(20)
  }
}

/** Puts another program in the place of the init system's. */
function replaceInit(machine: Machine, name: string, script: string): void {
  const path = join(machine.root, 'bin', name)
  writeFileSync(`${path}.new`, `#!/bin/sh\n${script}\n`)
  chmodSync(`${path}.new`, 0o755)
  renameSync(`${path}.new`, path)
}

/** A pass of the machine in this process, its source at hand. */
function inProcess(machine: Machine) {
  const document = (password: string) => ({ source: 'the test', content: new Redacted<Uint8Array>(Buffer.from(JSON.stringify({ auths: { [machine.host]: { auth: authOf(password) } } }))) })
  return {
    settings: readSettings(machine.environment, {}),
    log: createLogger('silent', 2),
    source: { kind: 'file', label: 'the test', watch: async () => {}, read: async () => ({ version: undefined, documents: [document('first-password')] }) } satisfies CredentialSource,
    document,
  }
}

async function apply(t: Test, machine: Machine, password: string): Promise<void> {
  machine.registry.password = password
  machine.login(password)
  t.equal((await machine.run('sync')).status, 0, `${password} is applied`)
}

void t.test('killed between the write and its note in the state, without Docker: the restart is still owed', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, docker: false })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  const { rendered, writtenAt } = machine.state()
  machine.registry.password = 'second-password'
  machine.login('second-password')
  t.equal((await machine.run('sync', '--no-restart')).status, 0)
  const { pending, ...state } = machine.state()
  writeState(machine, { ...state, rendered, writtenAt, pending: { ...pending as object, phase: 'writing' } })
  t.match(JSON.parse((await machine.run('status', '--json')).stdout), { restartOwed: true, ecsAgent: { inSync: false } })
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'restarted' })
  t.match(machine.state()['rendered'], { fingerprint: (pending as { fingerprint: string }).fingerprint })
  t.equal(machine.restarts(), 2)
})

void t.test('a restart begun once, and ended by somebody else, does not start an ECS agent that an administrator stops later', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, init: 'upstart' })
  await machine.startEcsAgent()
  writeFileSync(join(machine.standIn, 'fail-every'), '1')
  machine.login('first-password')
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_RESTART_FAILED' })
  writeFileSync(join(machine.standIn, 'fail-every'), '1000')
  await machine.startEcsAgent()
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'none' })
  machine.stopEcsAgent()
  const starts = machine.starts().length
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'none' })
  t.equal(machine.starts().length, starts)
})

void t.test('a restart begun before a reboot does not start the ECS agent after it', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, init: 'upstart' })
  await machine.startEcsAgent()
  writeFileSync(join(machine.standIn, 'fail-every'), '1')
  machine.login('first-password')
  await machine.run('sync')
  writeFileSync(join(machine.standIn, 'fail-every'), '1000')
  writeState(machine, JSON.parse(readFileSync(statePath(machine), 'utf8').replaceAll(/"bootId": "\w+"/g, '"bootId": "another"')) as object)
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'none' })
  t.equal(machine.starts().length, 1)
})

void t.test('a restart that the named init system has no service for is an error, not silence', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  await machine.startEcsAgent()
  replaceInit(machine, 'systemctl', 'echo LoadState=not-found; echo ActiveState=inactive')
  machine.login('first-password')
  const { status, stdout } = await machine.run('sync', '--json')
  t.equal(status, 69)
  t.match(JSON.parse(stdout), { ok: false, code: 'E_NO_ECS_SERVICE', action: 'wrote', fix: /--ecs-service/ })
})

// Regression: where the container that Docker shows does not publish its introspection, the write counted as all there was to do, and it pulled with the old password.
void t.test('a container started by hand that holds the old credentials is an error, not silence, though its introspection is out of reach', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_INTROSPECTION_URL: 'http://127.0.0.1:9' } })
  await machine.startEcsAgent()
  replaceInit(machine, 'systemctl', 'echo LoadState=not-found; echo ActiveState=inactive')
  machine.login('first-password')
  const { status, stdout } = await machine.run('sync', '--json')
  t.equal(status, 69)
  t.match(JSON.parse(stdout), { ok: false, code: 'E_NO_ECS_SERVICE', action: 'wrote', fix: /started by hand/ })
  machine.stopEcsAgent()
  await machine.startEcsAgent()
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'none' })
})

void t.test('an ECS agent that never takes the file is restarted once for the change and once for the way back, and not at every poll', async (t) => {
  const machine = await testMachine(t, { settings: QUICK, agentArguments: ['--ecs-config', '/nonexistent'] })
  writeFileSync(machine.ecsConfig, FOREIGN + linesOf(machine.host, 'older-password'))
  await machine.startEcsAgent()
  machine.login('first-password')
  const service = machine.service()
  await service.next('ecs-agent.rolled-back')
  for (let polls = 0; polls < 2; polls++) await service.next('credentials.refused', ({ trigger }) => trigger === 'poll')
  t.equal(machine.restarts(), 2)
  t.match(await service.next('ecs-agent.not-verified'), { code: 'E_NOT_VERIFIED', msg: /not restarted again/ })
  await service.stop()
  t.match(JSON.parse((await machine.run('status', '--json')).stdout), { restartOwed: true })
  await machine.run('sync', '--force')
  t.ok(machine.restarts() > 2, 'a person may')
})

void t.test('sync that waits for the lock ends with its own --timeout', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  machine.login('first-password')
  const release = await acquireLock(join(machine.root, 'var/lib/ecs-regcred'), 0, new AbortController().signal)
  for (const flags of [[], ['--boot']]) {
    const { status, stdout } = await machine.run('sync', '--timeout', '500ms', '--json', ...flags)
    t.equal(status, 75)
    t.match(JSON.parse(stdout), { ok: false, code: 'E_TIMEOUT' })
  }
  await release()
  t.equal(machine.file(), FOREIGN)
})

void t.test('a pass that is stopped once it has read the source claims no success', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_PROBE: 'off' } })
  const stop = new AbortController()
  const here = inProcess(machine)
  const source = { ...here.source, read: async () => {
    stop.abort()
    return { version: undefined, documents: [here.document('first-password')] }
  } }
  const result = await reconcile({ ...here, source }, { trigger: 'command' }, stop.signal)
  t.match(result, { action: 'none', error: { code: 'E_INTERRUPTED' } })
  t.equal(machine.file(), FOREIGN)
  t.equal(machine.state()['lastSuccess'], undefined)
})

void t.test('--no-restart does not restart for the way back either', async (t) => {
  const now = join(t.testdir(), 'now')
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_PROBE: 'off' }, agentPrefix: unless('deadly-password', `{ until [ -e '${now}' ]; do sleep 0.05; done; exit 1; }`) })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  machine.login('deadly-password')
  const service = machine.service()
  await service.next('ecs-agent.restarting')
  await until(() => (machine.state()['pending'] as { restartedAt?: object } | undefined)?.restartedAt)
  service.child.kill('SIGKILL')
  await service.exit
  writeFileSync(now, '')
  await until(() => existsSync(join(machine.standIn, 'exit-status')))
  await machine.run('sync', '--no-restart')
  t.equal(machine.restarts(), 2)
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_NOT_VERIFIED', action: 'rolled-back' })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
})

void t.test('a watch cut short over an ECS agent whose container is gone comes to its deadline in the next run', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, docker: false, settings: { REGCRED_PROBE: 'off' }, agentPrefix: unless('deadly-password', 'exec sleep 600') })
  const docker = createServer((_request, response) => response.writeHead(404).end('{"message":"No such container: ecs-agent"}'))
  await new Promise<void>((resolve) => docker.listen(join(machine.root, 'var/run/docker.sock'), resolve))
  t.teardown(() => docker.close())
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  machine.login('deadly-password')
  const stopped = machine.service()
  await stopped.next('ecs-agent.restarting')
  await until(() => (machine.state()['pending'] as { restartedAt?: object } | undefined)?.restartedAt)
  t.equal(await stopped.stop(), 0)
  const service = machine.service('--verify-timeout', '2s')
  t.match(await service.next('ecs-agent.rolled-back'), { healthy: true })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.restarts(), 3)
  await service.stop()
})

void t.test('a watch cut short by a reboot has its whole deadline over the start of the next boot', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, docker: false, settings: { REGCRED_PROBE: 'off' }, agentPrefix: unless('deadly-password', 'exec sleep 600') })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  machine.login('deadly-password')
  const cutShort = machine.service()
  await cutShort.next('ecs-agent.restarting')
  await until(() => (machine.state()['pending'] as { restartedAt?: object } | undefined)?.restartedAt)
  cutShort.child.kill('SIGKILL')
  await cutShort.exit
  writeState(machine, JSON.parse(readFileSync(statePath(machine), 'utf8').replaceAll(/"bootId": "\w+"/g, '"bootId": "another"')) as object)
  const service = machine.service('--verify-timeout', '2s')
  t.match(await service.next('ecs-agent.rolled-back'), { healthy: true, version: /./, registries: [machine.host], trigger: 'start' })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.restarts(), 3)
  await service.stop()
})

void t.test('an Upstart job that died of a change while nobody watched is taken back in the next run', async (t) => {
  const machine = await testMachine(t, {
    ecsConfig: FOREIGN, init: 'upstart', settings: { REGCRED_PROBE: 'off', REGCRED_VERIFY_TIMEOUT: '4s' }, agentPrefix: unless('deadly-password', 'sleep 1 && exit 5'),
  })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  machine.login('deadly-password')
  const service = machine.service()
  await service.next('ecs-agent.restarting')
  await until(() => (machine.state()['pending'] as { restartedAt?: object } | undefined)?.restartedAt && machine.state()['restartBegun'] === undefined)
  service.child.kill('SIGKILL')
  await service.exit
  await until(() => existsSync(join(machine.standIn, 'exit-status')))
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_NOT_VERIFIED', action: 'rolled-back' })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.restarts(), 3)
})

void t.test('an order that systemctl takes without ever answering has a deadline as any other', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_PROBE: 'off' }, agentPrefix: unless('deadly-password', 'exit 5') })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  const real = join(machine.root, 'taken')
  mkdirSync(real)
  renameSync(join(machine.root, 'bin/systemctl'), join(real, 'systemctl'))
  replaceInit(machine, 'systemctl', `case "$*" in *restart*) ${real}/systemctl "$@"; exec sleep 60;; esac; exec ${real}/systemctl "$@"`)
  machine.login('deadly-password')
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_RESTART_FAILED', message: /no answer within 15 s/ })
  replaceInit(machine, 'systemctl', `exec ${real}/systemctl "$@"`)
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_NOT_VERIFIED', action: 'rolled-back' })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.starts().length, 3, 'the first, the first password, and the way back')
})

void t.test('an ecs.config that somebody emptied or deleted while the source is away does not cost the ECS agent its credentials', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_PROBE: 'off' } })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  rmSync(machine.dockerConfig)
  for (const spoil of [() => writeFileSync(machine.ecsConfig, FOREIGN), () => rmSync(machine.ecsConfig)]) {
    spoil()
    t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_NO_SOURCE_FILE', action: 'none', warnings: [{ code: 'W_NO_CREDENTIALS' }] })
    t.equal(machine.restarts(), 1)
  }
  machine.login('first-password')
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'wrote' })
  t.equal(machine.restarts(), 1, 'it still holds them')
})

void t.test('the way back is gone to its end though its restart is refused and the ECS agent had failed for good', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { ...QUICK, REGCRED_VERIFY_TIMEOUT: '10s' }, agentPrefix: unless('deadly-password', 'exit 5') })
  await machine.startEcsAgent()
  const service = machine.service()
  const first = service.next('ecs-agent.verified')
  machine.login('first-password')
  const { version } = await first
  writeFileSync(join(machine.standIn, 'fail-every'), '4') // its first start counts, too
  machine.login('deadly-password')
  await service.next('restart.failed')
  t.match(await service.next('ecs-agent.verified'), { version }, 'it names what the file holds')
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.restarts(), 4, 'the first, the deadly one, the way back refused and paid')
  await service.stop()
})

void t.test('a version is not blamed for what somebody else put into ecs.config', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { ...QUICK, REGCRED_SPLAY: '0s' }, agentPrefix: unless('foreign-password', 'exit 1') })
  await machine.startEcsAgent()
  machine.login('first-password')
  await machine.run('sync', '--no-restart')
  const byHand = FOREIGN + linesOf(machine.host, 'foreign-password')
  writeFileSync(machine.ecsConfig, byHand)
  rmSync(machine.dockerConfig)
  await machine.run('sync')
  t.equal(machine.file(), byHand, 'what is not ours is not taken back')
  t.equal(machine.state()['setAside'], undefined)
})

void t.test('lines that others add between two changes survive the rollback of the second', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: QUICK, agentPrefix: unless('deadly-password', 'exit 1') })
  await machine.startEcsAgent()
  machine.login('first-password')
  await machine.run('sync', '--no-restart')
  appendFileSync(machine.ecsConfig, 'ECS_RESERVED_MEMORY=64\n')
  machine.login('deadly-password')
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { action: 'rolled-back' })
  t.equal(machine.file(), `${FOREIGN}ECS_RESERVED_MEMORY=64\n`)
})

void t.test('lines that others add survive a rollback by hand', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  await apply(t, machine, 'second-password')
  appendFileSync(machine.ecsConfig, 'ECS_RESERVED_MEMORY=64\n')
  t.equal((await machine.run('rollback')).status, 0)
  t.equal(machine.file(), `${FOREIGN}${linesOf(machine.host, 'first-password')}ECS_RESERVED_MEMORY=64\n`)
})

void t.test('a rollback by hand brings the credentials back that somebody took out of ecs.config, or with the whole file', async (t) => {
  // Regression: a file without credentials was left as it was, the ECS agent restarted with none, and the answer was that the last good ones are back.
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: QUICK })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  await apply(t, machine, 'second-password')
  const lastGood = `${FOREIGN}${linesOf(machine.host, 'first-password')}`

  writeFileSync(machine.ecsConfig, `${FOREIGN}ECS_RESERVED_MEMORY=64\n`)
  t.match(JSON.parse((await machine.run('rollback', '--json')).stdout), { ok: true, action: 'rolled-back', setAside: String, verified: true })
  t.equal(machine.file(), `${FOREIGN}ECS_RESERVED_MEMORY=64\n${linesOf(machine.host, 'first-password')}`)
  t.equal(machine.restarts(), 3)

  rmSync(machine.ecsConfig)
  t.match(JSON.parse((await machine.run('rollback', '--json')).stdout), { ok: true, action: 'rolled-back', verified: true })
  t.equal(machine.file(), lastGood, 'every other line of it, too')
  t.equal(machine.starts().at(-1)?.cluster, 'production')
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_SET_ASIDE' }, 'the version that was gone back from first is still kept away')
})

void t.test('an ecs.config that somebody emptied does not become the last good copy', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  await apply(t, machine, 'second-password')
  writeFileSync(machine.ecsConfig, FOREIGN)
  t.equal((await machine.run('sync')).status, 0)
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'second-password'))
  t.equal((await machine.run('rollback')).status, 0)
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
})

void t.test('an ECS agent that an administrator stops while we watch it is not started by the way back', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { REGCRED_VERIFY_TIMEOUT: '4s' }, agentArguments: ['--delay', '3000'] })
  await machine.startEcsAgent()
  machine.login('first-password')
  const done = machine.run('sync', '--json')
  await until(() => machine.starts().length === 2)
  machine.stopEcsAgent()
  t.match(JSON.parse((await done).stdout), { ok: true, action: 'wrote', warnings: [{ code: 'W_ECS_AGENT_DOWN', message: /stopped/ }] })
  t.equal(machine.starts().length, 2)
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.state()['setAside'], undefined)
})

void t.test('a way back that is cut short does not call the ECS agent unhealthy, and the next run sees it healthy', async (t) => {
  // Regression: stopped while the last good credentials were watched, the service logged that the ECS agent is not healthy with those either.
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { ...QUICK, REGCRED_VERIFY_TIMEOUT: '20s' }, agentPrefix: unless('deadly-password', 'exit 1'), agentArguments: ['--delay', '1500'] })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  const before = machine.starts().length
  const service = machine.service()
  await service.next('service.ready')
  machine.login('deadly-password')
  await until(() => machine.starts().length > before)
  const rolledBack = service.next('ecs-agent.rolled-back')
  t.equal(await service.stop(), 0)
  t.match(await rolledBack, { healthy: false, msg: /stopped before it was seen healthy/ })
  const again = machine.service()
  await again.next('ecs-agent.verified')
  t.equal(await again.stop(), 0)
  t.equal(machine.restarts(), 3)
})

void t.test('a lost last good copy ends the way back with its reason, and without a loop of restarts', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: { ...QUICK, REGCRED_LOG_LEVEL: 'debug' }, agentPrefix: unless('deadly-password', 'sleep 1 && exit 1') })
  await machine.startEcsAgent()
  machine.login('deadly-password')
  const service = machine.service()
  await service.next('ecs-agent.restarting')
  rmSync(join(machine.root, 'var/lib/ecs-regcred/last-good.ecs.config'))
  t.match(await service.next('ecs-agent.not-verified'), { fix: /no last good copy/ })
  for (let polls = 0; polls < 2; polls++) await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
  t.equal(machine.restarts(), 1)
  await service.stop()
  t.ok(machine.state()['setAside'])
  await machine.run('sync', '--force')
  t.equal(machine.state()['setAside'], undefined, 'it stands in the file, and a person wants it there')
})

void t.test('a write that does not come to be leaves the unverified change before it pending', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: QUICK, agentPrefix: unless('deadly-password', 'exit 1') })
  await machine.startEcsAgent()
  machine.login('deadly-password')
  await machine.run('sync', '--no-restart')
  const { pending, ...state } = machine.state() as { pending: object }
  // Killed with the next version's write announced and not made; then the source is away.
  writeState(machine, { ...state, pending: { ...pending, version: 'next', fingerprint: '0'.repeat(16), phase: 'writing', before: pending } })
  rmSync(machine.dockerConfig)
  const { stdout } = await machine.run('sync', '--json')
  t.match(JSON.parse(stdout), { action: 'rolled-back' })
  t.match(machine.state()['setAside'], { version: (pending as { version: string }).version })
  t.equal(machine.file(), FOREIGN)
})

// Regression: only a pass that found the source in the file looked at the file's mode, so a file made readable for all stayed so while the source was away.
void t.test('an ecs.config that somebody opened to all is closed again though the source cannot be applied', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  for (const [document, status] of [[undefined, 69], ['{', 65], [JSON.stringify({ auths: { [machine.host]: { auth: authOf('mistyped-password') } } }), 77]] as const) {
    chmodSync(machine.ecsConfig, 0o644)
    if (document === undefined) rmSync(machine.dockerConfig)
    else machine.writeDocument(document)
    t.equal((await machine.run('sync')).status, status)
    t.equal(machine.mode(), 0o600)
  }
  t.equal(machine.restarts(), 1)
})

// Regression: a bound of nothing was taken, and ended before anything was done, with the words for a source that is slow.
void t.test('sync refuses a --timeout of zero', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  machine.login('first-password')
  for (const [zero, ...boot] of [['0'], ['0s', '--boot']] as const) {
    const { status, stdout } = await machine.run('sync', '--json', '--timeout', zero, ...boot)
    t.equal(status, 64)
    t.match(JSON.parse(stdout), { code: 'E_USAGE', message: /--timeout.*above zero/ })
  }
  t.equal(machine.file(), FOREIGN)
})

void t.test('the boot does not wait for a config.json that is not there', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  const { status, stdout } = await machine.run('sync', '--boot', '--timeout', '5m', '--json')
  t.equal(status, 69)
  t.match(JSON.parse(stdout), { code: 'E_NO_SOURCE_FILE' })
})

// Regression: E_STATE, a file that cannot be read, was said of a way back that had been gone already; a restart that it still owed stayed owed.
void t.test('a second rollback finds the last good credentials in place, and pays the restart that the first could not', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN })
  await machine.startEcsAgent()
  await apply(t, machine, 'first-password')
  await apply(t, machine, 'second-password')
  writeFileSync(join(machine.standIn, 'fail-every'), '1')
  const refused = await machine.run('rollback', '--json')
  t.equal(refused.status, 69)
  t.match(JSON.parse(refused.stdout), { code: 'E_RESTART_FAILED' })
  rmSync(join(machine.standIn, 'fail-every'))
  const { version } = machine.state()['setAside'] as { version: string }
  t.match(JSON.parse((await machine.run('rollback', '--json')).stdout), { ok: true, action: 'restarted', setAside: version, verified: true })
  const { status, stdout } = await machine.run('rollback')
  t.equal(status, 0)
  t.match(stdout, /holds the last good credentials already/)
  t.match(JSON.parse((await machine.run('rollback', '--json')).stdout), { ok: true, action: 'none', setAside: version, verified: true })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
  t.equal(machine.restarts(), 4, 'one each, the refused one included')
})

// Regression: stopped while systemctl hung over the file that it had written, the service said that nothing had been changed.
void t.test('a pass that is stopped after its write does not say that it changed nothing', async (t) => {
  const machine = await testMachine(t, { ecsConfig: FOREIGN, settings: QUICK })
  replaceInit(machine, 'systemctl', 'exec sleep 60')
  machine.login('first-password')
  const service = machine.service()
  await service.next('ecs-config.written')
  const interrupted = service.next('pass.interrupted')
  t.equal(await service.stop(), 0)
  t.match(await interrupted, { code: 'E_INTERRUPTED', msg: /on the way/ })
  t.equal(machine.file(), FOREIGN + linesOf(machine.host, 'first-password'))
})
