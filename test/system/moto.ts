/**
 * The service against moto's Secrets Manager, end to end: what is put into the secret reaches the running ECS agent, and every call on the way is
 * counted by a proxy. secrets-manager.ts holds the source alone. MOTO_SERVER is the path of moto_server.
 */
import { spawn } from 'node:child_process'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  CreateSecretCommand, DeleteSecretCommand, PutSecretValueCommand, RestoreSecretCommand, SecretsManagerClient, UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager'
import { freePort, testMachine } from '../fixtures/machine.js'

const MOTO = process.env['MOTO_SERVER']
if (MOTO === undefined) t.pass('skipped: MOTO_SERVER names no moto_server')
else {
  const motoPort = await freePort()
  const moto = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(motoPort)], { stdio: 'ignore' })
  t.teardown(() => moto.kill('SIGKILL'))
  const proxy = await countingProxy(t, motoPort)
  const environment = { AWS_ENDPOINT_URL: proxy.url, AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' }
  const aws = new SecretsManagerClient({
    endpoint: `http://127.0.0.1:${motoPort}`, region: 'eu-west-1', credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' },
  })
  t.teardown(() => aws.destroy())
  t.setTimeout(180_000)
  for (const deadline = Date.now() + 60_000; !await fetch(`http://127.0.0.1:${motoPort}/moto-api/`).then(() => true, () => false); await sleep(100)) {
    if (Date.now() > deadline) throw new Error('moto_server does not answer')
  }
  const machineOf = async (t: Test, settings: Readonly<Record<string, string>>) => {
    const machine = await testMachine(t, { ecsConfig: 'ECS_CLUSTER=test\n', settings: { REGCRED_SPLAY: '0s', REGCRED_LOG_LEVEL: 'debug', ...environment, ...settings } })
    delete machine.environment['REGCRED_DOCKER_CONFIG']
    await machine.startEcsAgent()
    return machine
  }
  const holds = (machine: { file: () => string; host: string }, password: string): boolean =>
    machine.file() === `ECS_CLUSTER=test\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"${machine.host}":{"auth":"${Buffer.from(`ci:${password}`).toString('base64')}"}}\n`

  void t.test('a secret through its versions and stages, by poll and by signal', async (t) => {
    const machine = await machineOf(t, { REGCRED_SECRET_ID: 'prod/registry', REGCRED_INTERVAL: '1s' })
    const secret = (password: string): string => JSON.stringify({ registry: machine.host, username: 'ci', password })
    const { ARN = '', VersionId: first = '' } = await aws.send(new CreateSecretCommand({ Name: 'prod/registry', SecretString: secret('first-password') }))
    const service = machine.service()
    t.match(await service.next('ecs-agent.verified'), { version: first })
    t.ok(holds(machine, 'first-password'))

    await t.test('an idle service asks for the version alone', async (t) => {
      const before = proxy.count('GetSecretValue')
      const described = proxy.count('DescribeSecret')
      for (let polls = 0; polls < 3; polls++) await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
      t.equal(proxy.count('GetSecretValue'), before)
      t.ok(proxy.count('DescribeSecret') >= described + 3)
    })

    await t.test('a version of the same meaning is read once, and costs no restart', async (t) => {
      const before = { reads: proxy.count('GetSecretValue'), restarts: machine.restarts() }
      const read = service.next('credentials.read')
      await aws.send(new PutSecretValueCommand({ SecretId: ARN, SecretString: `  ${secret('first-password')}\n` }))
      await read
      for (let polls = 0; polls < 3; polls++) await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
      t.equal(proxy.count('GetSecretValue'), before.reads + 1)
      t.equal(machine.restarts(), before.restarts)
    })

    await t.test('a deleted secret changes nothing, and a restored one needs nothing', async (t) => {
      const failed = service.next('source.failed')
      await aws.send(new DeleteSecretCommand({ SecretId: ARN, RecoveryWindowInDays: 7 }))
      t.match(await failed, { code: 'E_SECRET_DELETED', level: 'error', fix: /restore/i })
      t.ok(holds(machine, 'first-password'), 'the last good stays')
      const unchanged = service.next('credentials.unchanged')
      await aws.send(new RestoreSecretCommand({ SecretId: ARN }))
      await unchanged
      t.equal(machine.restarts(), 1)
    })
    await service.stop()

    await t.test('a signal is a pass at once', async (t) => {
      machine.environment['REGCRED_INTERVAL'] = '1h'
      const service = machine.service()
      await service.next('credentials.unchanged')
      machine.registry.password = 'second-password'
      await aws.send(new PutSecretValueCommand({ SecretId: ARN, SecretString: secret('second-password') }))
      const verified = service.next('ecs-agent.verified')
      service.child.kill('SIGHUP')
      t.match(await verified, { trigger: 'signal' })
      t.ok(holds(machine, 'second-password'))
      t.equal(machine.restarts(), 2)
      t.notMatch(service.output(), /(first|second)-password/)
      await service.stop()
    })

    // The last, because moto leaves AWSCURRENT on two versions at a put after this.
    await t.test('a version that is only pending is never read', async (t) => {
      machine.environment['REGCRED_INTERVAL'] = '1s'
      const service = machine.service()
      await service.next('credentials.unchanged')
      const { rendered } = machine.state() as { rendered: { version: string } }
      const { VersionId: pending = '' } = await aws.send(new PutSecretValueCommand({ SecretId: ARN, SecretString: secret('third-password'), VersionStages: ['AWSPENDING'] }))
      const before = proxy.count('GetSecretValue')
      await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
      await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
      t.equal(proxy.count('GetSecretValue'), before)
      t.ok(holds(machine, 'second-password'))

      machine.registry.password = 'third-password'
      const verified = service.next('ecs-agent.verified')
      await aws.send(new UpdateSecretVersionStageCommand({ SecretId: ARN, VersionStage: 'AWSCURRENT', MoveToVersionId: pending, RemoveFromVersionId: rendered.version }))
      t.match(await verified, { version: pending, trigger: 'poll' })
      t.ok(holds(machine, 'third-password'))
      t.equal(proxy.count('GetSecretValue'), before + 1, 'read once, when it became current')
      await service.stop()
    })
  })

  void t.test('binary, json-key and several secrets make one file', async (t) => {
    const machine = await machineOf(t, {})
    await aws.send(new CreateSecretCommand({ Name: 'binary', SecretBinary: Buffer.from(JSON.stringify({ auths: { [machine.host]: { username: 'ci', password: 'first-password' } } })) }))
    const { ARN = '' } = await aws.send(new CreateSecretCommand({ Name: 'keyed', SecretString: JSON.stringify({ other: 'x', quay: { 'quay.example.com': { username: 'bot', password: 'keyed-password' } } }) }))
    machine.environment['REGCRED_SECRET_ID'] = `binary,${ARN}:quay::`
    const { status, stdout } = await machine.run('sync', '--json')
    t.equal(status, 0, stdout)
    t.match(JSON.parse(stdout), { action: 'restarted', registries: [machine.host, 'quay.example.com'] })
    t.match(machine.file(), `"quay.example.com":{"auth":"${Buffer.from('bot:keyed-password').toString('base64')}"}`)
    t.match(machine.file(), `"${machine.host}":{"auth":"${Buffer.from('ci:first-password').toString('base64')}"}`)
    t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { action: 'none' })
    const missing = await machine.run('sync', '--secret-id', `${ARN}:nothing::`, '--json')
    t.equal(missing.status, 65)
    t.match(JSON.parse(missing.stdout), { ok: false, code: 'E_JSON_KEY' })
  })
}

/** Hands every call on, and counts each by its operation. */
async function countingProxy(t: Test, port: number) {
  const counts = new Map<string, number>()
  const server = createServer((incoming, outgoing) => {
    const operation = String(incoming.headers['x-amz-target']).split('.').at(-1) ?? ''
    counts.set(operation, (counts.get(operation) ?? 0) + 1)
    const onward = request({ port, host: '127.0.0.1', method: incoming.method, path: incoming.url, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    onward.once('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, count: (operation: string) => counts.get(operation) ?? 0 }
}
