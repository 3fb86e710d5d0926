/**
 * The service against real servers that fail: moto's Secrets Manager (MOTO_SERVER, the path of moto_server) and Debian's docker-registry, each
 * behind the fault proxy; a name that does not resolve until /etc/hosts says it; inotify used up; clocks that jump (libfaketime). Each is skipped
 * where its part is missing. Needs root for namespaces of its own.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { CreateSecretCommand, DeleteSecretCommand, PutSecretValueCommand, RestoreSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import t, { type Test } from 'tap'
import { httpRequest } from '../../src/http-request.js'
import { answerWith, awsError, cutShort, onlyFor, reset, startFaultProxy, type Fault } from '../fixtures/fault-proxy.js'
import { PROGRAM, followService, testMachine } from '../fixtures/machine.js'
import { encoded, linesSince, secretMachine } from '../fixtures/secret-machine.js'

const MOTO = process.env['MOTO_SERVER']
const FAKETIME = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path))
const REGISTRY = ['docker-registry', 'htpasswd'].every((program) => (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, program))))
const skip = (missing: string | false): { skip: string | false } => ({ skip: missing })
const DAY_MS = 86_400_000
t.setTimeout(240_000)

t.test('moto and docker-registry behind a fault proxy: the last good stays, and the service comes back', skip(!MOTO ? 'MOTO_SERVER names no moto_server' : !REGISTRY && 'needs docker-registry and htpasswd'), async (t) => {
  const moto = `127.0.0.1:${await freePort()}`
  await startProcess(t, MOTO ?? '', ['-H', '127.0.0.1', '-p', moto.split(':')[1] ?? ''], `http://${moto}/moto-api/`)
  const registry = await realRegistry(t)
  const aws = await startFaultProxy(t, moto)
  const before = await startFaultProxy(t, registry.host)
  const client = new SecretsManagerClient({ endpoint: `http://${moto}`, region: 'eu-west-1', credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' } })
  t.teardown(() => client.destroy())

  const machine = await secretMachine(t, {}, { endpoint: async () => `http://${aws.host}`, registry: async () => before.host })
  registry.setPassword('first-password')
  await client.send(new CreateSecretCommand({ Name: 'prod/registry', SecretString: machine.documentOf('first-password') }))
  const service = await machine.settledService()
  t.equal(machine.file(), machine.fileWith('first-password'))
  t.match(linesSince(service, 0, 'registry.probed'), [{ verdict: 'accepted' }], 'by the real registry')

  const faults: Record<string, [Fault, string]> = {
    'HTTP 500': [awsError('InternalServiceError', 'x', 500), 'E_AWS'],
    throttled: [awsError('ThrottlingException', 'Rate exceeded'), 'E_THROTTLED'],
    'a reset': [reset, 'E_NET'],
    'an answer cut short': [onlyFor('GetSecretValue', cutShort(30)), 'E_NET'],
  }
  for (const [name, [fault, code]] of Object.entries(faults)) {
    const good = { file: machine.file(), restarts: machine.restarts() }
    const password = `password-${name.replaceAll(' ', '-')}`
    registry.setPassword(password)
    await client.send(new PutSecretValueCommand({ SecretId: 'prod/registry', SecretString: machine.documentOf(password) }))
    aws.setFault(fault)
    const failed = service.next('source.failed')
    machine.signal(service)
    t.match(await failed, { code }, name)
    await service.next('source.failed', ({ trigger }) => trigger === 'retry')
    t.strictSame({ file: machine.file(), restarts: machine.restarts() }, good, 'the last good stays')
    const verified = service.next('ecs-agent.verified')
    aws.setFault(undefined)
    t.match(await verified, { trigger: 'retry' })
    t.equal(machine.file(), machine.fileWith(password))
  }

  let good = { file: machine.file(), restarts: machine.restarts() }
  await client.send(new PutSecretValueCommand({ SecretId: 'prod/registry', SecretString: machine.documentOf('mistyped') }))
  const refused = service.next('credentials.refused')
  machine.signal(service)
  t.match(await refused, { code: 'E_REGISTRY_REFUSED' })
  t.strictSame({ file: machine.file(), restarts: machine.restarts() }, good, 'a wrong password is never applied')

  await client.send(new DeleteSecretCommand({ SecretId: 'prod/registry', RecoveryWindowInDays: 7 }))
  const deleted = service.next('source.failed')
  machine.signal(service)
  t.match(await deleted, { code: 'E_SECRET_DELETED', fix: /restore-secret/ })
  t.strictSame({ file: machine.file(), restarts: machine.restarts() }, good)
  await client.send(new RestoreSecretCommand({ SecretId: 'prod/registry' }))

  before.setFault(answerWith(500, '{}'))
  registry.setPassword('last-password')
  await client.send(new PutSecretValueCommand({ SecretId: 'prod/registry', SecretString: machine.documentOf('last-password') }))
  const verified = service.next('ecs-agent.verified')
  const warned = service.next('pass.warning')
  machine.signal(service)
  await verified
  t.match(await warned, { code: 'W_NOT_PROBED' }, 'a registry that cannot be asked does not stop it')
  good = { file: machine.file(), restarts: machine.restarts() }
  t.equal(good.file, machine.fileWith('last-password'))
  t.equal(await service.stop(), 0)
  for (const password of ['password-', 'mistyped', 'last-password']) t.notOk(service.output().includes(encoded(password).slice(0, 10)))
})

t.test('a name that begins to resolve', skip(process.getuid?.() === 0 ? false : 'needs root'), async (t) => {
  const hosts = join(t.testdir({ hosts: '127.0.0.1 localhost\n' }), 'hosts')
  const machine = await secretMachine(t, {}, { endpoint: async (url) => url.replace('127.0.0.1', 'secrets.registry.example') })
  await machine.startEcsAgent()
  const good = machine.file()
  const child = spawn('unshare', ['--mount', 'sh', '-c', `mount --bind "${hosts}" /etc/hosts && exec "$@"`, 'sh', process.execPath, PROGRAM, 'run'], { env: machine.environment, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const service = followService(child)
  t.match(await service.next('source.failed'), { code: 'E_NET', msg: /secrets\.registry\.example:\d+: the name does not resolve/, fix: /getent hosts secrets\.registry\.example/ })
  await service.next('source.failed', ({ trigger }) => trigger === 'retry')
  t.equal(machine.file(), good)
  const verified = service.next('ecs-agent.verified')
  writeFileSync(hosts, '127.0.0.1 localhost secrets.registry.example\n')
  t.match(await verified, { trigger: 'retry' })
  t.equal(machine.file(), machine.fileWith('first-password'))
  t.equal(await service.stop(), 0)
})

// On an instance full of containers and log shippers, root's are used up. A user namespace has limits of its own.
for (const [what, errno] of [['instances', 'EMFILE'], ['watches', 'ENOSPC']] as const) {
  t.test(`no inotify ${what} left: the source is polled, and watched as soon as there are some`, skip(process.getuid?.() === 0 ? false : 'needs root'), async (t) => {
    const machine = await testMachine(t, { settings: { REGCRED_INTERVAL: '1s', REGCRED_LOG_LEVEL: 'debug' } })
    const rotate = (password: string): void => {
      machine.registry.password = password
      machine.login(password)
    }
    const limit = `/proc/sys/user/max_inotify_${what}`
    rotate('first-password')
    await machine.startEcsAgent()
    const child = spawn('unshare', ['--user', '--map-root-user', 'sh', '-c', `echo 0 >${limit}; exec "$@"`, 'sh', process.execPath, PROGRAM, 'run'], { env: machine.environment, stdio: ['ignore', 'pipe', 'pipe'] })
    t.teardown(() => child.kill('SIGKILL'))
    const service = followService(child)
    t.match(await service.next('source.failed'), { level: 'warn', code: 'E_SOURCE_FILE', msg: new RegExp(`could not watch .*${errno}`), fix: `sysctl fs.inotify.max_user_${what}=` })
    await service.next('ecs-agent.verified', ({ trigger }) => trigger === 'start')
    rotate('second-password')
    t.match(await service.next('ecs-agent.verified'), { trigger: 'poll' })
    t.equal(service.lines.filter(({ event, level }) => event === 'source.failed' && level === 'warn').length, 1, 'said once')

    execFileSync('nsenter', [`--user=/proc/${child.pid}/ns/user`, '--preserve-credentials', 'sh', '-c', `echo 1000 >${limit}`])
    // Two polls: the watch is tried at the beginning of each.
    for (let polls = 0; polls < 2; polls++) await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
    const heard = service.next('credentials.read', ({ trigger }) => trigger === 'file')
    rotate('third-password')
    await heard
    t.equal(await service.stop(), 0)
  })
}

t.test('a clock that jumps years ahead and back moves no poll and no restart, and loses no rotation', skip(FAKETIME === undefined && 'needs libfaketime'), async (t) => {
  const clock = join(t.testdir({ clock: '+0' }), 'clock')
  const jump = (days: number): void => writeFileSync(clock, `${days < 0 ? '' : '+'}${days}d`)
  const machine = await secretMachine(t, {
    LD_PRELOAD: FAKETIME ?? '', FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1',
    REGCRED_INTERVAL: '1s', REGCRED_MIN_RESTART_GAP: '6s', REGCRED_LOG_LEVEL: 'debug',
  })
  const service = await machine.settledService()
  let restarts = machine.restarts()
  for (const days of [3650, -3650, 0]) {
    jump(days)
    // One line may still be on its way that was written before the jump.
    await service.next('credentials.unchanged', ({ trigger, time }) => trigger === 'poll' && Math.abs(Date.parse(String(time)) - Date.now() - days * DAY_MS) < DAY_MS)
    t.equal(machine.restarts(), restarts, 'a jump is no reason for a restart')
    t.match(JSON.parse((await machine.run('status', '--json')).stdout), { restartOwed: false, file: { inSync: true }, ecsAgent: { inSync: true } })

    machine.rotate(`password${days}`)
    // Neither the poll nor the gap between restarts waits for the calendar.
    await service.next('ecs-agent.verified')
    t.equal(machine.file(), machine.fileWith(`password${days}`))
    t.equal(machine.restarts(), ++restarts)
  }
  // The next jump while a restart is waiting for its gap.
  machine.rotate('owed-password')
  await service.next('restart.owed')
  jump(-3650)
  await service.next('ecs-agent.verified')
  t.equal(machine.restarts(), ++restarts)
  t.equal(await service.stop(), 0)
})

/** docker-registry with htpasswd, which it reads again when it has changed. */
async function realRegistry(t: Test): Promise<{ readonly host: string; readonly setPassword: (password: string) => void }> {
  const dir = t.testdir({ data: {}, htpasswd: '' })
  const host = `127.0.0.1:${await freePort()}`
  writeFileSync(join(dir, 'config.yml'), [
    'version: 0.1', `storage: { filesystem: { rootdirectory: ${dir}/data } }`, 'log: { level: error, accesslog: { disabled: true } }',
    `http: { addr: "${host}", secret: test }`, `auth: { htpasswd: { realm: Registry, path: ${dir}/htpasswd } }`, '',
  ].join('\n'))
  await startProcess(t, 'docker-registry', ['serve', join(dir, 'config.yml')], `http://${host}/v2/`)
  return { host, setPassword: (password) => void execFileSync('htpasswd', ['-iBc', join(dir, 'htpasswd'), 'ci'], { input: password, stdio: ['pipe', 'ignore', 'ignore'] }) }
}

/** Runs a server until the test ends. Resolves when `url` answers. */
async function startProcess(t: Test, program: string, args: readonly string[], url: string): Promise<void> {
  const child = spawn(program, args, { stdio: 'ignore' })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const signal = AbortSignal.timeout(60_000)
  while (!await httpRequest(url, { timeoutMs: 2_000 }, signal).then(({ status }) => status < 500, () => false)) await setTimeout(100, undefined, { signal })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}
