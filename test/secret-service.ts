/** The service with a secret for its source, from PutSecretValue to a restarted ECS agent. */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { splayOffsetMs } from '../src/core/decide.js'
import { encoded, FOREIGN, linesSince, secretMachine } from './fixtures/secret-machine.js'
import { secretOf } from './fixtures/secrets-manager/server.js'

// Most of each test is waiting for others.
t.jobs = 3
/** tap keeps its own things in these, so each test gets its own. */
const beside = (): { buffered: true } => ({ buffered: true })

t.test('a secret reaches the running ECS agent, and each rotation after it by a signal', beside(), async (t) => {
  const machine = await secretMachine(t)
  const service = await machine.settledService()
  t.equal(machine.file(), machine.fileWith('first-password'), 'every other line keeps its bytes')
  t.equal(machine.mode(), 0o600)
  t.match(service.lines.find(({ event }) => event === 'credentials.read'), {
    source: 'secret prod/registry', version: machine.secret.versions[0]?.id, registries: [machine.host], trigger: 'start',
  })
  t.strictSame(machine.aws.actions(), ['DescribeSecret', 'GetSecretValue'])

  const second = machine.rotate('second-password')
  const verified = service.next('ecs-agent.verified')
  machine.signal(service)
  t.match(await verified, { version: second, trigger: 'signal' })
  t.equal(machine.file(), machine.fileWith('second-password'))
  t.equal(machine.restarts(), 2)
  t.strictSame(machine.aws.actions(), ['DescribeSecret', 'GetSecretValue'])
  t.equal(await service.stop(), 0)
})

t.test('a rotation is found by the poll, and a poll that finds none is one DescribeSecret', beside(), async (t) => {
  const machine = await secretMachine(t, { REGCRED_INTERVAL: '1s', REGCRED_LOG_LEVEL: 'debug' })
  const service = await machine.settledService()
  machine.aws.actions()
  for (let poll = 0; poll < 3; poll++) await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
  t.strictSame(new Set(machine.aws.actions()), new Set(['DescribeSecret']))

  const id = machine.rotate('second-password')
  t.match(await service.next('ecs-agent.verified'), { version: id, trigger: 'poll' })
  t.equal(machine.file(), machine.fileWith('second-password'))
  t.equal(machine.aws.actions().filter((action) => action === 'GetSecretValue').length, 1)
  t.equal(await service.stop(), 0)

  // The version stands in the state only; that it is what the file holds is told by a keyed fingerprint of the file.
  const again = machine.service()
  await again.next('credentials.unchanged', ({ trigger }) => trigger === 'start')
  await again.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
  t.strictSame(new Set(machine.aws.actions()), new Set(['DescribeSecret']), 'nor does a restarted service read the value again')
  t.equal(machine.restarts(), 2)

  const repaired = again.next('ecs-config.written', ({ trigger }) => trigger === 'poll')
  const held = again.next('ecs-agent.verified')
  writeFileSync(machine.ecsConfig, `${machine.fileWith('changed-by-hand')}ECS_RESERVED_MEMORY=64\n`)
  await repaired
  await held
  t.equal(machine.file(), `${machine.fileWith('second-password')}ECS_RESERVED_MEMORY=64\n`, 'put right, and the line that was added stays')
  await again.stop()
})

t.test('a version that waits in AWSPENDING is never read, and is taken once it is current', beside(), async (t) => {
  const machine = await secretMachine(t, { REGCRED_LOG_LEVEL: 'debug' })
  const service = await machine.settledService()
  const pending = machine.putText(machine.documentOf('pending-password'), 'AWSPENDING')
  const unchanged = service.next('credentials.unchanged')
  machine.signal(service)
  await unchanged
  t.notOk(machine.aws.calls.some(({ action, input }) => action === 'GetSecretValue' && (input['VersionId'] === pending || input['VersionStage'] === 'AWSPENDING')))
  t.equal(machine.file(), machine.fileWith('first-password'))
  t.equal(machine.restarts(), 1)

  // What a rotation function's finishSecret step does.
  machine.secret.versions = machine.secret.versions.map((version) => ({ ...version, stages: version.id === pending ? ['AWSCURRENT', 'AWSPENDING'] : ['AWSPREVIOUS'] }))
  machine.registry.password = 'pending-password'
  const verified = service.next('ecs-agent.verified')
  machine.signal(service)
  t.match(await verified, { version: pending })
  t.equal(machine.file(), machine.fileWith('pending-password'))
  await service.stop()
})

t.test('two secrets are one file: one by its json-key, one binary', beside(), async (t) => {
  const hub = secretOf('hub', '', randomUUID())
  const machine = await secretMachine(t, { REGCRED_SECRET_ID: `${hub.arn}:mirror::,prod/registry`, REGCRED_PROBE: 'off' })
  machine.aws.secrets.push(hub)
  const mirror = (password: string): string => JSON.stringify({ unrelated: 'not-a-credential', mirror: { 'mirror.example.com': { username: 'ci', password } } })
  machine.putText(mirror('mirror-password'), 'AWSCURRENT', hub)
  machine.secret.versions = [{ id: randomUUID(), stages: ['AWSCURRENT'], binary: Buffer.from(machine.documentOf('binary-password')) }]
  const service = await machine.settledService()
  const lines = (mirrorPassword: string): string => `${FOREIGN}ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${JSON.stringify(Object.fromEntries([
    [machine.host, { auth: encoded('binary-password') }], ['mirror.example.com', { auth: encoded(mirrorPassword) }],
  ]))}\n`
  t.equal(machine.file(), lines('mirror-password'))
  t.match(service.lines.find(({ event }) => event === 'credentials.read'), { source: 'secrets hub-AbCdEf, prod/registry' })

  machine.putText(mirror('second-password'), 'AWSCURRENT', hub)
  const verified = service.next('ecs-agent.verified')
  machine.signal(service)
  await verified
  t.equal(machine.file(), lines('second-password'), 'one of them rotates, the other stays')
  t.equal(machine.restarts(), 2)
  await service.stop()
})

t.test('a version that is no usable document is fetched once, told at every poll, and judged again by a signal', beside(), async (t) => {
  const machine = await secretMachine(t, { REGCRED_INTERVAL: '1s' })
  const service = await machine.settledService()
  const first = service.next('credentials.refused')
  machine.putText('{"auths":')
  t.match(await first, { code: 'E_JSON_TRUNCATED', level: 'error' })
  machine.aws.actions()
  const told = await service.next('credentials.refused', ({ trigger }) => trigger === 'poll')
  t.match(told, { code: 'E_JSON_TRUNCATED', msg: /version/ }, 'in the same words')
  t.notOk(machine.aws.actions().includes('GetSecretValue'))
  const again = service.next('credentials.refused', ({ trigger }) => trigger === 'signal')
  machine.signal(service)
  await again
  t.ok(machine.aws.actions().includes('GetSecretValue'))
  t.equal(machine.file(), machine.fileWith('first-password'), 'what worked stays')
  await service.stop()
})

t.test("the restart waits for the host's own place in the splay; the file does not, and five rotations meanwhile are one restart", beside(), async (t) => {
  const windowMs = 20_000
  // A place late enough that five rotations fit before it on a busy machine.
  const instanceId = ['i-0a', 'i-0b', 'i-0c', 'i-0d', 'i-0e', 'i-0f', 'i-10', 'i-11', 'i-12', 'i-13'].find((id) => {
    const placeMs = splayOffsetMs(id, windowMs)
    return placeMs > 9_000 && placeMs < 14_000
  }) ?? ''
  const placeMs = splayOffsetMs(instanceId, windowMs)
  const machine = await secretMachine(t, { REGCRED_SPLAY: `${windowMs / 1000}s` })
  mkdirSync(join(machine.root, 'var/lib/cloud/data'), { recursive: true })
  writeFileSync(join(machine.root, 'var/lib/cloud/data/instance-id'), `${instanceId}\n`)
  await machine.startEcsAgent()
  const service = machine.service()
  const firstOwed = await service.next('restart.owed')
  t.equal(firstOwed['waitMs'], placeMs, 'its place, to the millisecond')
  t.equal(machine.file(), machine.fileWith('first-password'), 'written at once')

  let waitMs = placeMs
  for (const password of ['second', 'third', 'fourth', 'fifth']) {
    machine.rotate(password)
    const owed = service.next('restart.owed')
    machine.signal(service)
    const next = Number((await owed)['waitMs'])
    t.ok(next < waitMs && next > 0, 'a rotation does not move the place')
    waitMs = next
    t.equal(machine.file(), machine.fileWith(password), 'each is written at once')
  }
  t.equal(machine.restarts(), 0)
  t.match(JSON.parse((await machine.run('status', '--json')).stdout), { restartOwed: true, file: { inSync: true }, ecsAgent: { inSync: false } })

  const verified = await service.next('ecs-agent.verified')
  t.equal(verified['version'], machine.secret.versions[0]?.id)
  t.equal(machine.file(), machine.fileWith('fifth'))
  t.equal(machine.restarts(), 1)
  const restarting = service.lines.find(({ event }) => event === 'ecs-agent.restarting')
  const passedMs = Date.parse(String(restarting?.['time'])) - Date.parse(String(firstOwed['time']))
  t.ok(passedMs >= placeMs - 50, `the restart came ${passedMs} ms after it was owed, its place is ${placeMs}`)
  await service.stop()
})

t.test('neither the AWS credentials nor those of the secret are seen by a child, in a log line or in another file', beside(), async (t) => {
  const canaries = ['canary-one-4ZkQ7', 'canary-two-8PwX3', 'canary-bad-1LmN9']
  const machine = await secretMachine(t, { REGCRED_LOG_LEVEL: 'trace', HTTPS_PROXY: 'http://user:canary-proxy@127.0.0.1:9', NO_PROXY: '127.0.0.1' })
  machine.rotate(canaries[0] ?? '')
  const service = await machine.settledService()
  const commandLine = readFileSync(`/proc/${String(service.child.pid)}/cmdline`, 'utf8')
  const verified = service.next('ecs-agent.verified')
  machine.rotate(canaries[1] ?? '')
  machine.signal(service)
  await verified
  const refused = service.next('credentials.refused')
  machine.putText(machine.documentOf(canaries[2] ?? ''))
  machine.signal(service)
  t.match(await refused, { code: 'E_REGISTRY_REFUSED' })
  const cut = service.next('credentials.refused', ({ code }) => code === 'E_JSON_TRUNCATED')
  machine.putText(machine.documentOf(canaries[2] ?? '').slice(0, -3))
  machine.signal(service)
  await cut
  await service.stop()
  const outputs = [commandLine, service.output(), machine.childEnvironments()]
  for (const command of [['status', '--json'], ['probe', '--json'], ['doctor', '--json'], ['sync', '--dry-run', '--json']]) {
    const { stdout, stderr } = await machine.run(...command)
    outputs.push(stdout, stderr)
  }
  t.match(machine.childEnvironments(), /^PATH=/m, 'a child was seen')
  t.notMatch(machine.childEnvironments(), /^AWS_/m)
  const forms = [...canaries.flatMap((canary) => [canary, encoded(canary), encodeURIComponent(`ci:${canary}`)]), 'canary-aws-key', 'canary-aws-session', 'canary-proxy']
  for (const form of forms) t.notOk(outputs.join('\n').includes(form), 'in no output')
  const allowed = ['etc/ecs/ecs.config', 'var/lib/ecs-regcred/last-good.ecs.config']
  for (const form of forms) t.strictSame(machine.filesHolding(form).filter((path) => !allowed.includes(path)), [])
  t.equal(linesSince(service, 0, 'ecs-agent.restarting').length, 2)
})

t.test('settings that give the same version another meaning are applied at the next start, and a version is held back by those it was read by', beside(), async (t) => {
  // Regression: a version once rendered was taken for known whatever the settings said of it, so that a changed json-key or registry waited for the next
  // rotation, with every pass telling that nothing was to do.
  const machine = await secretMachine(t)
  await machine.startEcsAgent()
  const member = (password: string): object => JSON.parse(machine.documentOf(password)) as object
  const version = machine.putText(JSON.stringify({ blue: member('first-password'), green: member('second-password') }))
  const sync = async (jsonKey: string) => machine.run('sync', '--json', '--secret-id', `${machine.secret.arn}:${jsonKey}::`)
  t.match(JSON.parse((await sync('blue')).stdout), { ok: true, action: 'restarted', version })

  machine.registry.password = 'second-password'
  t.match(JSON.parse((await sync('green')).stdout), { ok: true, action: 'restarted', version })
  t.equal(machine.file(), machine.fileWith('second-password'))
  t.match(JSON.parse((await sync('blue')).stdout), { ok: false, code: 'E_REGISTRY_REFUSED' })
  t.match(JSON.parse((await sync('green')).stdout), { ok: true, action: 'none', version }, 'what the registry refused was another meaning of that version')
  t.notOk(machine.state()['refused'])

  machine.aws.actions()
  t.match(JSON.parse((await sync('green')).stdout), { ok: true, action: 'none', version })
  t.strictSame(machine.aws.actions(), ['DescribeSecret'], 'the same settings read nothing again')
})

t.test('a refused version that the secret has left is not told of any more', beside(), async (t) => {
  // Regression: where the stage went back to the version in the file, a signal found that one known, and status and metrics told of the refusal from then on.
  const machine = await secretMachine(t, { REGCRED_LOG_LEVEL: 'debug' })
  const service = await machine.settledService()
  const [first] = machine.secret.versions
  machine.putText(machine.documentOf('wrong-password'))
  const refused = service.next('credentials.refused')
  machine.signal(service)
  await refused

  machine.secret.versions = [{ ...first, stages: ['AWSCURRENT'] } as typeof first & object]
  const unchanged = service.next('credentials.unchanged')
  machine.signal(service)
  await unchanged
  t.equal(await service.stop(), 0)
  t.notOk(machine.state()['refused'])
  t.match(JSON.parse((await machine.run('status', '--json')).stdout), { registries: [{ registry: machine.host, probe: 'accepted' }] })
})

t.test('a version put anew with the same value while its restart is owed is set aside by its new name', beside(), async (t) => {
  // Regression: the name of the version before was set aside, so the next pass tried the same value once more: two restarts for nothing.
  const machine = await secretMachine(t, { REGCRED_VERIFY_TIMEOUT: '2s' })
  await machine.startEcsAgent()
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { action: 'restarted' })
  const document = machine.documentOf('second-password')
  machine.rotate('second-password')
  t.match(JSON.parse((await machine.run('sync', '--json', '--no-restart')).stdout), { action: 'wrote' })
  const version = machine.putText(`${document}\n`)
  const agentArguments = readFileSync(join(machine.standIn, 'arguments'), 'utf8')
  writeFileSync(join(machine.standIn, 'arguments'), `/bin/sh\n-c\ngrep -q "${encoded('second-password')}" "$4" && exit 1; exec "$@"\nsh\n${agentArguments}`)
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { action: 'rolled-back', version })
  t.equal(machine.file(), machine.fileWith('first-password'))
  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { code: 'E_SET_ASIDE', action: 'none' })
  t.equal(machine.restarts(), 3)
})
