/**
 * What is around the service breaks, and becomes well again: the source, the instance's credentials, the network, the registry. In every case the
 * last good file stays and nothing is restarted, the log says what to do and shows no credential, and the service comes back by itself.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import {
  answerWith, awsError, babble, cutShort, drip, hang, onlyFor, passOn, reset, startFaultProxy, withBody, type Fault, type FaultProxy,
} from './fixtures/fault-proxy.js'
import type { LogLine } from './fixtures/machine.js'
import { makeAuthority, type Identity } from './fixtures/registry/certificate.js'
import { encoded, linesSince, secretMachine, type SecretMachine, type Service } from './fixtures/secret-machine.js'

// Most of each test is waiting: for a backoff, a time limit, another process.
t.jobs = 4
/** tap keeps its own things in these, so each test gets its own. */
const beside = (): { buffered: true } => ({ buffered: true })

const ROLE = 'arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0abc'
const CANARY = 'canary-7Yb2-password'

type Case = {
  readonly code: string
  readonly says: RegExp
  readonly fix: RegExp
  readonly fault?: Fault
  /** What breaks where it is not the proxy, and how it is mended. */
  readonly breaks?: () => unknown
  readonly mends?: () => unknown
}

/**
 * The secret rotates while something is broken.
 * @param wellBy how the service gets to know that it is mended
 */
async function suffer(t: Test, machine: SecretMachine, service: Service, proxy: FaultProxy, name: string, broken: Case, wellBy: 'retry' | 'signal'): Promise<void> {
  const before = { file: machine.file(), restarts: machine.restarts() }
  const password = `${CANARY}-${randomUUID().slice(0, 8)}`
  machine.rotate(password)
  await broken.breaks?.()
  if (broken.fault !== undefined) proxy.setFault(broken.fault)
  const first = service.next('source.failed')
  machine.signal(service)
  const line = await first
  t.equal(line['code'], broken.code, `${name}: its code`)
  t.match(line.msg, broken.says, `${name}: what was tried and why it failed`)
  t.match(line['fix'], broken.fix, `${name}: what to do`)
  t.match(line, { level: 'error', source: /^secret prod\/registry/ })
  if (wellBy === 'retry') await service.next('source.failed', ({ trigger }) => trigger === 'retry')
  t.strictSame({ file: machine.file(), restarts: machine.restarts() }, before, `${name}: the last good stays`)

  const mark = service.lines.length
  const verified = service.next('ecs-agent.verified')
  await broken.mends?.()
  if (broken.fault !== undefined) proxy.setFault(undefined)
  if (wellBy === 'signal') machine.signal(service)
  t.match((await verified)['trigger'], wellBy === 'signal' ? /signal|retry/ : 'retry')
  t.ok(linesSince(service, mark, 'source.failed').length <= 1, `${name}: well within one retry (one may have been under way)`)
  t.equal(machine.file(), machine.fileWith(password))
  t.equal(machine.restarts(), before.restarts + 1)
}

async function endQuietly(t: Test, service: Service): Promise<void> {
  t.equal(await service.stop(), 0)
  for (const form of [CANARY, encoded(CANARY).slice(0, 20), 'canary-aws', 'canary-imds']) t.notOk(service.output().includes(form), 'no credential in any line')
}

/** A service with a proxy before its Secrets Manager, seen well. */
async function settled(t: Test, settings: Readonly<Record<string, string>> = {}): Promise<{ machine: SecretMachine; service: Service; proxy: FaultProxy }> {
  let proxy!: FaultProxy
  const machine = await secretMachine(t, settings, { endpoint: async (url) => `http://${(proxy = await startFaultProxy(t, url)).host}` })
  return { machine, service: await machine.settledService(), proxy }
}

t.test('Secrets Manager that fails, throttles or denies', beside(), async (t) => {
  const { machine, service, proxy } = await settled(t)
  const denied = (action: string, why: string): string => `User: ${ROLE} is not authorized to perform: ${action} on resource: ${machine.secret.arn} because ${why}`
  const cases: Record<string, Case> = {
    'HTTP 500': { fault: awsError('InternalServiceError', CANARY, 500), code: 'E_AWS', says: /DescribeSecret on prod\/registry in eu-west-1: AWS answered HTTP 500 .*request 0a1b2c3d/, fix: /again by itself/ },
    'HTTP 503 of a proxy': { fault: answerWith(503, `<html>${CANARY}</html>`, { 'content-type': 'text/html' }), code: 'E_AWS', says: /HTTP 503/, fix: /again by itself/ },
    throttled: { fault: awsError('ThrottlingException', 'Rate exceeded'), code: 'E_THROTTLED', says: /throttles the calls of this account/, fix: /REGCRED_INTERVAL/ },
    'HTTP 429': { fault: awsError('TooManyRequestsException', 'Rate exceeded', 429), code: 'E_THROTTLED', says: /throttles/, fix: /REGCRED_INTERVAL/ },
    'denied by IAM': {
      fault: (client, request, upstream) => {
        const action = /secretsmanager\.(\w+)/.exec(request.toString('latin1'))?.[1] ?? ''
        awsError('AccessDeniedException', denied(`secretsmanager:${action}`, `no identity-based policy allows the secretsmanager:${action} action`))(client, request, upstream)
      },
      code: 'E_IAM', says: /ecsInstanceRole\/i-0abc is not allowed secretsmanager:GetSecretValue: no identity-based policy allows it/,
      fix: /the policies of role ecsInstanceRole: \{"Effect":"Allow","Action":\["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue"\],"Resource":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod\/registry-AbCdEf"\}/,
    },
    'denied by KMS': {
      fault: onlyFor('GetSecretValue', awsError('AccessDeniedException', 'Access to KMS is not allowed')),
      code: 'E_KMS', says: /may read the secret but not decrypt it: kms:Decrypt/, fix: /"Action":"kms:Decrypt".*"kms:ViaService":"secretsmanager\.eu-west-1\.amazonaws\.com"/,
    },
    'a clock that is off': {
      fault: awsError('InvalidSignatureException', 'Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z (20260101T010500Z - 5 min.)'),
      code: 'E_AWS', says: /the clock of this machine is off/, fix: /chronyc makestep/,
    },
    'credentials that AWS does not know': {
      fault: awsError('UnrecognizedClientException', 'The security token included in the request is invalid.'),
      code: 'E_IAM', says: /does not accept these credentials/, fix: /where they come from/,
    },
  }
  for (const [index, [name, broken]] of Object.entries(cases).entries()) await suffer(t, machine, service, proxy, name, broken, index % 4 === 0 ? 'retry' : 'signal')
  await endQuietly(t, service)
})

t.test('a network that refuses, cuts and babbles', beside(), async (t) => {
  const { machine, service, proxy } = await settled(t)
  const cases: Record<string, Case> = {
    'a reset': { fault: reset, code: 'E_NET', says: /127\.0\.0\.1:\d+: the connection was cut \(ECONNRESET\)/, fix: /proxy or firewall/ },
    'an answer cut short': { fault: onlyFor('GetSecretValue', cutShort(30)), code: 'E_NET', says: /GetSecretValue .*the connection was cut/, fix: /proxy or firewall/ },
    'an answer that is not JSON': { fault: onlyFor('GetSecretValue', withBody((body) => `<html>${body}`)), code: 'E_AWS', says: /could not be understood/, fix: /a proxy answers in its place/ },
    'JSON cut in the middle': { fault: onlyFor('GetSecretValue', withBody((body) => body.slice(0, -20))), code: 'E_AWS', says: /could not be understood/, fix: /may hold the secret/ },
    'bytes that are no HTTP': { fault: babble, code: 'E_NET', says: /what answers there is not HTTP \(HPE_/, fix: /AWS_ENDPOINT_URL.*proxy/ },
    'a refused connection': { breaks: () => proxy.refuse(), mends: () => proxy.listenAgain(), code: 'E_NET', says: /connection refused/, fix: /VPC endpoint com\.amazonaws\.eu-west-1\.secretsmanager/ },
  }
  for (const [index, [name, broken]] of Object.entries(cases).entries()) await suffer(t, machine, service, proxy, name, broken, index % 4 === 0 ? 'retry' : 'signal')
  await endQuietly(t, service)
})

for (const [name, fault] of Object.entries({ 'is silent': hang, 'drips its answer': drip(200) })) {
  t.test(`a server that ${name} is given up in bounded time`, beside(), async (t) => {
    const { machine, service, proxy } = await settled(t)
    const begun = performance.now()
    await suffer(t, machine, service, proxy, name, { fault, code: 'E_NET', says: /no answer in time/, fix: /security groups.*VPC endpoint/ }, 'signal')
    t.ok(performance.now() - begun < 40_000)
    await endQuietly(t, service)
  })
}

t.test('TLS that is none, or not to be trusted', beside(), async (t) => {
  const authority = makeAuthority()
  const trusted = join(t.testdir({ 'ca.pem': authority.cert }), 'ca.pem')
  let proxy!: FaultProxy
  let stranger = 0
  const machine = await secretMachine(t, { NODE_EXTRA_CA_CERTS: trusted }, {
    endpoint: async (url) => {
      stranger = await terminateTls(t, makeAuthority('Another CA').issue(), url)
      proxy = await startFaultProxy(t, `127.0.0.1:${await terminateTls(t, authority.issue(), url)}`)
      return `https://${proxy.host}`
    },
  })
  const service = await machine.settledService()
  const cases: Record<string, Case> = {
    'no TLS': { fault: babble, code: 'E_NET', says: /127\.0\.0\.1:\d+: what answers there is not TLS/, fix: /AWS_ENDPOINT_URL.*proxy/ },
    'a certificate of a stranger': {
      fault: (client, request) => passOn(client, request, { host: '127.0.0.1', port: stranger }),
      code: 'E_NET', says: /TLS failed \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\)/, fix: /NODE_EXTRA_CA_CERTS/,
    },
    'a hello and nothing after it': { fault: reset, code: 'E_NET', says: /cut|TLS failed/, fix: /proxy/ },
  }
  for (const [name, broken] of Object.entries(cases)) await suffer(t, machine, service, proxy, name, broken, 'signal')
  await endQuietly(t, service)
})

t.test('a name that does not resolve', beside(), async (t) => {
  // The endpoint cannot become well without another /etc/hosts: test/system/recovery.ts has one.
  const machine = await secretMachine(t, { AWS_ENDPOINT_URL_SECRETS_MANAGER: 'https://secretsmanager.eu-west-1.invalid' })
  await machine.startEcsAgent()
  const before = machine.file()
  const service = machine.service()
  const line = await service.next('source.failed')
  t.match(line, { code: 'E_NET', msg: /secretsmanager\.eu-west-1\.invalid: the name does not resolve/, fix: /getent hosts secretsmanager\.eu-west-1\.invalid/ })
  await service.next('source.failed', ({ trigger }) => trigger === 'retry')
  t.equal(machine.file(), before)
  t.equal(machine.restarts(), 0)
  await endQuietly(t, service)
})

t.test("an instance's own credentials that expire while the metadata is away, late or without a role", beside(), async (t) => {
  const instance = await instanceMetadata(t)
  const metadata = await startFaultProxy(t, instance.url)
  let proxy!: FaultProxy
  const machine = await secretMachine(t, {
    AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${metadata.host}`, AWS_EC2_METADATA_DISABLED: 'false',
    AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_SESSION_TOKEN: '', AWS_REGION: '',
  }, { endpoint: async (url) => `http://${(proxy = await startFaultProxy(t, url)).host}` })
  await machine.startEcsAgent()
  await metadata.refuse()
  const service = machine.service()
  t.match(await service.next('source.failed'), { code: 'E_IMDS', msg: /no region is set, and could not reach the instance metadata/, fix: /set AWS_REGION or use the secret's ARN/ })
  let verified = service.next('ecs-agent.verified')
  await metadata.listenAgain()
  t.match(await verified, { trigger: 'retry' }, 'at boot, before the network is up')

  const cases: Record<string, Pick<Case, 'says' | 'fix' | 'breaks' | 'mends'>> = {
    'nothing else': { says: /the credentials in use have expired/, fix: /clock is right.*169\.254\.169\.254/ },
    'no role': {
      breaks: () => { instance.hasRole = false }, mends: () => { instance.hasRole = true },
      says: /no AWS credentials: .*this instance has no role/, fix: /associate-iam-instance-profile/,
    },
    'metadata that refuses': {
      breaks: () => metadata.refuse(), mends: () => metadata.listenAgain(),
      says: /no AWS credentials: .*could not reach the instance metadata at http:\/\/127\.0\.0\.1:\d+: ECONNREFUSED/, fix: /firewall rule against 169\.254\.169\.254/,
    },
    'metadata that is silent': {
      breaks: () => metadata.setFault(hang), mends: () => metadata.setFault(undefined),
      says: /no AWS credentials: .*no answer within 1 s/, fix: /hop limit/,
    },
  }
  for (const [index, [name, { says, fix, breaks, mends }]] of Object.entries(cases).entries()) {
    const before = { file: machine.file(), restarts: machine.restarts() }
    const old = instance.keyId
    const expired = awsError('ExpiredTokenException', 'The security token included in the request is expired')
    proxy.setFault((client, request, upstream) => (request.includes(`Credential=${old}/`) ? expired : passOn)(client, request, upstream))
    await breaks?.()
    machine.rotate(`${CANARY}-${index}`)
    const failed = service.next('source.failed', ({ msg }) => says.test(msg))
    machine.signal(service)
    t.match(await failed, { code: 'E_IMDS', fix }, name)
    t.strictSame({ file: machine.file(), restarts: machine.restarts() }, before, `${name}: the last good stays`)
    verified = service.next('ecs-agent.verified')
    instance.keyId = `ASIARENEWED${index}`
    const mark = service.lines.length
    await mends?.()
    if (index > 0) machine.signal(service)
    await verified
    t.ok(linesSince(service, mark, 'source.failed').length <= 1, `${name}: well within one retry (one may have been under way)`)
    t.equal(machine.file(), machine.fileWith(`${CANARY}-${index}`))
  }
  await endQuietly(t, service)
})

t.test('a secret that is deleted, missing or without a current version', beside(), async (t) => {
  const { machine, service, proxy } = await settled(t)
  const kept = (): typeof machine.secret.versions => machine.secret.versions
  let versions = kept()
  const cases: Record<string, Case> = {
    deleted: {
      breaks: () => { machine.secret.deletedAt = 1_790_000_000 }, mends: () => { delete machine.secret.deletedAt },
      code: 'E_SECRET_DELETED', says: /secret prod\/registry in eu-west-1 is deleted since 2026-/, fix: /aws secretsmanager restore-secret --region eu-west-1 --secret-id prod\/registry/,
    },
    missing: {
      breaks: () => { machine.aws.secrets.splice(0) }, mends: () => { machine.aws.secrets.push(machine.secret) },
      code: 'E_SECRET_NOT_FOUND', says: /there is no secret prod\/registry in eu-west-1/, fix: /list-secrets --region eu-west-1/,
    },
    'no current version': {
      breaks: () => { versions = kept(); machine.secret.versions = [] }, mends: () => { machine.secret.versions = versions },
      code: 'E_NO_CURRENT', says: /no version has the stage AWSCURRENT/, fix: /secret put/,
    },
  }
  for (const [name, broken] of Object.entries(cases)) await suffer(t, machine, service, proxy, name, broken, name === 'deleted' ? 'retry' : 'signal')
  await endQuietly(t, service)
})

t.test('a secret that is put wrong is never applied, and is not asked for again until the next wake-up', beside(), async (t) => {
  const { machine, service } = await settled(t)
  const good = { file: machine.file(), restarts: machine.restarts() }
  const document = machine.documentOf(CANARY)
  const cases: Record<string, { text: string; code: RegExp; fix: RegExp }> = {
    empty: { text: '', code: /^E_EMPTY$/, fix: /./ },
    blank: { text: ' \n', code: /^E_EMPTY$/, fix: /./ },
    'no registries': { text: '{}', code: /^E_EMPTY$/, fix: /./ },
    'cut short': { text: document.slice(0, -4), code: /^E_JSON_TRUNCATED$/, fix: /./ },
    malformed: { text: document.replace('":', '";'), code: /^E_JSON$/, fix: /./ },
    'a page of HTML': { text: `<html>${CANARY}</html>`, code: /^E_/, fix: /./ },
    'an empty password': { text: machine.documentOf(''), code: /^E_EMPTY_PASSWORD$/, fix: /./ },
    'a wrong password': { text: document, code: /^E_REGISTRY_REFUSED$/, fix: /right password/ },
  }
  for (const [name, { text, code, fix }] of Object.entries(cases)) {
    machine.putText(text)
    const refused = service.next('credentials.refused')
    machine.signal(service)
    const line = await refused
    t.match(line['code'], code, name)
    t.match(line['fix'], fix, `${name}: what to do`)
    t.match(line['source'], /^secret prod\/registry/, `${name}: where`)
    t.strictSame({ file: machine.file(), restarts: machine.restarts() }, good, `${name}: the last good stays`)
  }
  const calls = machine.aws.calls.length
  t.ok(await nextPassInMs(machine, service.lines.at(-1) as LogLine) > 60_000, 'the next is the poll')
  t.equal(machine.aws.calls.length, calls)
  const verified = service.next('ecs-agent.verified')
  machine.rotate('mended-password')
  machine.signal(service)
  await verified
  t.equal(machine.file(), machine.fileWith('mended-password'))
  await endQuietly(t, service)
})

t.test('retries are further and further apart, never a busy loop, and a signal cuts the wait short', beside(), async (t) => {
  const { machine, service, proxy } = await settled(t)
  const calls = proxy.seen.length
  const mark = service.lines.length
  proxy.setFault(awsError('InternalServiceError', 'x', 500))
  machine.rotate('second-password')
  machine.signal(service)
  const failures = (): LogLine[] => linesSince(service, mark, 'source.failed')
  let longestMs = 0
  // Each failure is followed by the time of the next pass. The fifth wait may be up to 16 s; one of more than 3 s is what the signal is to cut short.
  for (let known = 0; longestMs <= 3_000;) {
    if (known > 20) return void t.fail('twenty failures, and never a wait of 3 s: a busy loop')
    if (failures().length === known) await service.next('source.failed')
    const latest = failures().at(-1) as LogLine
    longestMs = await nextPassInMs(machine, latest)
    known = failures().length
    t.ok(longestMs <= Math.min(60_000, 1000 * 2 ** (known - 1)), `after failure ${known} at most ${2 ** (known - 1)} s`)
  }
  const passes = failures().length
  t.ok(passes >= 3, 'not before the third can it be that long')
  t.ok(proxy.seen.length - calls <= 2 * passes, 'two attempts a pass, and no pass but the announced')
  const during = proxy.seen.length
  proxy.setFault(undefined)
  const verified = service.next('ecs-agent.verified')
  t.equal(proxy.seen.length, during, 'it waits')
  machine.signal(service)
  t.match(await verified, { trigger: 'signal' })
  t.equal(machine.file(), machine.fileWith('second-password'))
  await endQuietly(t, service)
})

t.test('a registry that cannot be asked is a warning, and the change goes on', beside(), async (t) => {
  let proxy!: FaultProxy
  const machine = await secretMachine(t, {}, { registry: async (registry) => (proxy = await startFaultProxy(t, registry)).host })
  const service = await machine.settledService()
  const cases: Record<string, { fault?: Fault; says: RegExp; breaks?: () => unknown; mends?: () => unknown }> = {
    'HTTP 500': { fault: answerWith(500, '{}'), says: /500/ },
    'HTTP 429': { fault: answerWith(429, JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'too many requests' }] })), says: /429|too many requests/ },
    'a reset': { fault: reset, says: /ECONNRESET|closed/ },
    nonsense: { fault: babble, says: /HTTP|TLS/ },
    'a refused connection': { breaks: () => proxy.refuse(), mends: () => proxy.listenAgain(), says: /ECONNREFUSED/ },
    silence: { fault: hang, says: /no complete answer within 10 s/ },
  }
  for (const [name, { fault, says, breaks, mends }] of Object.entries(cases)) {
    const password = `${CANARY}-${name.replaceAll(' ', '-')}`
    await breaks?.()
    proxy.setFault(fault)
    machine.rotate(password)
    const mark = service.lines.length
    const verified = service.next('ecs-agent.verified')
    const warned = service.next('pass.warning')
    machine.signal(service)
    await verified
    await warned
    t.match(linesSince(service, mark, 'registry.probed'), [{ level: 'warn', registry: proxy.host, verdict: 'unknown', reason: says }], name)
    t.match(service.lines.slice(mark).filter(({ code }) => code !== undefined), [{ level: 'warn', event: 'pass.warning', code: 'W_NOT_PROBED', msg: /which is applied all the same/ }], `${name}: a warning and no error`)
    t.equal(machine.file(), machine.fileWith(password))
    await mends?.()
    proxy.setFault(undefined)
  }
  const refused = service.next('credentials.refused')
  machine.putText(machine.documentOf(`${CANARY}-wrong`))
  const good = { file: machine.file(), restarts: machine.restarts() }
  machine.signal(service)
  t.match(await refused, { code: 'E_REGISTRY_REFUSED' })
  t.strictSame({ file: machine.file(), restarts: machine.restarts() }, good, 'once it can be asked, its no counts')
  await endQuietly(t, service)
})

t.test('a service that was stopped past its poll looks as soon as it goes on', beside(), async (t) => {
  const machine = await secretMachine(t, { REGCRED_INTERVAL: '2s', REGCRED_LOG_LEVEL: 'debug' })
  const service = await machine.settledService()
  await service.next('credentials.unchanged', ({ trigger }) => trigger === 'poll')
  service.child.kill('SIGSTOP')
  const calls = machine.aws.calls.length
  machine.rotate('second-password')
  await setTimeout(2_500)
  t.ok(machine.aws.calls.length - calls <= 1, 'it stood still')
  const mark = service.lines.length
  const verified = service.next('ecs-agent.verified')
  service.child.kill('SIGCONT')
  t.match(await verified, { trigger: 'poll' })
  t.equal(linesSince(service, mark, 'credentials.read').length, 1)
  t.equal(machine.file(), machine.fileWith('second-password'))
  await endQuietly(t, service)
})

/** How far away the service says its next pass is, after the pass that logged that line. */
async function nextPassInMs(machine: SecretMachine, after: LogLine): Promise<number> {
  const path = join(machine.root, 'var/lib/ecs-regcred/next-pass')
  // The kernel stamps files by its tick, up to 10 ms behind the clock; a pass takes longer.
  while ((statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) + 10 < Date.parse(String(after['time']))) await setTimeout(10)
  for (;;) {
    const at = Date.parse(readFileSync(path, 'utf8').trim())
    if (!Number.isNaN(at)) return at - Date.now()
    await setTimeout(10) // it is being written
  }
}

/** TLS in front of a plain server. @returns its port */
async function terminateTls(t: Test, identity: Identity, url: string): Promise<number> {
  const server = createTlsServer(identity, (client) => {
    const upstream = connect(Number(new URL(url).port), '127.0.0.1')
    upstream.on('error', () => client.destroy())
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
    client.pipe(upstream).pipe(client)
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Instance metadata by IMDSv2, with a role whose credentials last an hour. */
async function instanceMetadata(t: Test): Promise<{ readonly url: string; keyId: string; hasRole: boolean }> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace('/latest/meta-data/', '').replace(/\/$/, '')
    if (request.method === 'PUT') return void response.writeHead(200, { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' }).end('imds-token')
    const page = request.headers['x-aws-ec2-metadata-token'] !== 'imds-token' ? undefined
      : path === 'placement/region' ? 'eu-west-1'
        : !instance.hasRole ? undefined
          : path === 'iam/security-credentials' ? 'ecsInstanceRole'
            : path === 'iam/security-credentials/ecsInstanceRole' ? JSON.stringify({
              Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: instance.keyId, SecretAccessKey: 'canary-imds-key', Token: 'canary-imds-token',
              LastUpdated: new Date().toISOString(), Expiration: new Date(Date.now() + 3_600_000).toISOString(),
            }) : undefined
    response.writeHead(page === undefined ? 404 : 200).end(page)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const instance = { url: `127.0.0.1:${(server.address() as AddressInfo).port}`, keyId: 'ASIAFIRST', hasRole: true }
  return instance
}
