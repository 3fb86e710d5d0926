import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { ServiceError } from '../../src/errors.js'
import { parseSecretReference, secretsManagerSource, type SecretsManagerOptions } from '../../src/sources/secrets-manager.js'
import { answer, refusal, secretOf, startSecretsManager } from '../fixtures/secrets-manager/server.js'

// Its bounded waits add up, and the machine may be busy.
t.setTimeout(120_000)

const CANARY = 'canary-9Xw4-password'
const V1 = '3f2a9c01-1111-4111-8111-111111111111'
const V2 = '77b0d4e2-2222-4222-8222-222222222222'
const V3 = '9c9c9c9c-3333-4333-8333-333333333333'
const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/registry-AbCdEf'
const quick = { timeouts: { connectMs: 500, attemptMs: 500, callMs: 1_500 } }
const signal = (): AbortSignal => AbortSignal.timeout(15_000)

async function fixture(t: Test, environment: NodeJS.ProcessEnv = {}) {
  const aws = await startSecretsManager()
  t.teardown(aws.close)
  t.intercept(process, 'env', {
    value: {
      PATH: process.env['PATH'], AWS_ENDPOINT_URL_SECRETS_MANAGER: aws.url, AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'made-up', AWS_REGION: 'eu-west-1',
      AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', ...environment,
    },
  })
  return aws
}

function sourceOf(ids: string[], options: SecretsManagerOptions = quick) {
  return secretsManagerSource(ids.map(parseSecretReference), options)
}

async function failure(t: Test, reading: Promise<unknown>): Promise<ServiceError> {
  const error: unknown = await reading.then((value) => t.fail('it was read', { value }), (failed: unknown) => failed)
  t.type(error, ServiceError)
  t.notMatch(`${inspect(error, { depth: 9, showHidden: true })} ${JSON.stringify(error)} ${String((error as Error).stack)}`, CANARY, 'the error holds nothing of the secret')
  return error as ServiceError
}

t.test('a secret is described, then its current version read by id', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', CANARY, V1))
  const source = sourceOf(['prod/registry'])
  t.equal(source.kind, 'secret')
  t.equal(source.label, 'secret prod/registry')
  const { version, documents } = await source.read(undefined, signal())
  t.equal(version, V1)
  t.equal(documents?.length, 1)
  t.equal(documents?.[0]?.source, 'secret prod/registry (version 3f2a9c01)')
  t.equal(Buffer.from(documents?.[0]?.content.reveal() ?? []).toString(), CANARY)
  t.notMatch(inspect(documents), CANARY)
  t.strictSame(aws.calls.map(({ action, input }) => [action, input]), [
    ['DescribeSecret', { SecretId: 'prod/registry' }],
    ['GetSecretValue', { SecretId: 'prod/registry', VersionId: V1 }],
  ])
})

t.test('a poll of a known version is one DescribeSecret and nothing else', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', CANARY, V1))
  const source = sourceOf(['prod/registry'])
  for (let poll = 0; poll < 5; poll++) t.strictSame(await source.read(V1, signal()), { version: V1, documents: undefined })
  t.strictSame(aws.actions(), Array(5).fill('DescribeSecret'))
  // The server would keep them for a minute: a connection kept for the next poll would time this out.
  await aws.allClosed()
})

t.test('a version that takes over the stage is read, and one that waits in AWSPENDING is not', async (t) => {
  const aws = await fixture(t)
  const secret = secretOf('prod/registry', 'one', V1)
  aws.secrets.push(secret)
  const source = sourceOf(['prod/registry'])
  secret.versions.push({ id: V2, stages: ['AWSPENDING'], text: 'two' })
  t.equal((await source.read(V1, signal())).documents, undefined)
  secret.versions = [{ id: V1, stages: ['AWSPREVIOUS'], text: 'one' }, { id: V2, stages: ['AWSCURRENT', 'AWSPENDING'], text: 'two' }]
  const { version, documents } = await source.read(V1, signal())
  t.equal(version, V2)
  t.equal(Buffer.from(documents?.[0]?.content.reveal() ?? []).toString(), 'two')
})

t.test('a binary secret is its bytes', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push({ ...secretOf('prod/registry', '', V1), versions: [{ id: V1, stages: ['AWSCURRENT'], binary: Uint8Array.of(0xef, 0xbb, 0xbf, 0x7b, 0x7d, 0xff) }] })
  const { documents } = await sourceOf(['prod/registry']).read(undefined, signal())
  t.strictSame([...documents?.[0]?.content.reveal() ?? []], [0xef, 0xbb, 0xbf, 0x7b, 0x7d, 0xff])
})

t.test('several secrets are documents in their order, and their version is all of theirs', async (t) => {
  const aws = await fixture(t)
  const second = secretOf('hub', 'b', V2)
  aws.secrets.push(secretOf('prod/registry', 'a', V1), second)
  const source = sourceOf(['prod/registry', 'hub'])
  t.equal(source.label, 'secrets prod/registry, hub')
  const { version, documents } = await source.read(undefined, signal())
  t.equal(version, `${V1},${V2}`)
  t.strictSame(documents?.map(({ source }) => source), ['secret prod/registry (version 3f2a9c01)', 'secret hub (version 77b0d4e2)'])
  t.equal((await source.read(version, signal())).documents, undefined)
  second.versions = [{ id: V3, stages: ['AWSCURRENT'], text: 'c' }]
  const changed = await source.read(version, signal())
  t.equal(changed.version, `${V1},${V3}`)
  t.strictSame(changed.documents?.map(({ content }) => Buffer.from(content.reveal()).toString()), ['a', 'c'], 'the unmoved one comes with it')
})

t.test('two members of one secret cost one poll and one read', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', '{"a":1,"b":2}', V1))
  const { documents, version } = await sourceOf([`${ARN}:a::`, `${ARN}:b::`]).read(undefined, signal())
  t.strictSame(documents?.map(({ jsonKey }) => jsonKey), ['a', 'b'])
  t.equal(version, `${V1},${V1}`)
  t.strictSame(aws.actions(), ['DescribeSecret', 'GetSecretValue'])
})

t.test("the region of a secret's ARN wins for that secret", async (t) => {
  const aws = await fixture(t, { AWS_REGION: 'us-east-2' })
  aws.secrets.push(secretOf('prod/registry', 'a', V1), secretOf('hub', 'b', V2))
  await sourceOf([ARN, 'hub']).read(undefined, signal())
  t.strictSame(aws.calls.map(({ region, action }) => `${region} ${action}`), [
    'eu-west-1 DescribeSecret', 'us-east-2 DescribeSecret', 'eu-west-1 GetSecretValue', 'us-east-2 GetSecretValue',
  ])
})

t.test('without a region in the environment, the profile says it, else the instance', async (t) => {
  const config = `${t.testdir({ config: '[default]\nregion = ap-south-1\n' })}/config`
  for (const [environment, expected] of [
    [{ AWS_REGION: undefined, AWS_DEFAULT_REGION: 'sa-east-1' }, 'sa-east-1'],
    [{ AWS_REGION: undefined, AWS_CONFIG_FILE: config }, 'ap-south-1'],
    [{ AWS_REGION: undefined }, 'eu-north-1'],
  ] as const) {
    await t.test(expected, async (t) => {
      const metadata = await instanceMetadata(t, { '/latest/meta-data/placement/region': 'eu-north-1' })
      const aws = await fixture(t, { ...environment, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url })
      aws.secrets.push(secretOf('prod/registry', 'a', V1))
      const source = sourceOf(['prod/registry'])
      await source.read(undefined, signal())
      await source.read(V1, signal())
      t.strictSame(aws.calls.map(({ region }) => region), [expected, expected, expected])
      t.strictSame(metadata.requests, expected === 'eu-north-1' ? ['PUT /latest/api/token', 'GET /latest/meta-data/placement/region'] : [], 'asked once')
    })
  }
})

t.test('no region anywhere is said with what to set', async (t) => {
  await fixture(t, { AWS_REGION: undefined, AWS_EC2_METADATA_DISABLED: 'true' })
  const error = await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
  t.equal(error.code, 'E_IMDS')
  t.match(error.message, /no region is set/)
  t.match(error.details.fix, /set AWS_REGION or use the secret's ARN/)
})

t.test('credentials come from the instance role, and their lack is explained', async (t) => {
  const role = '/latest/meta-data/iam/security-credentials/'
  const noKeys = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined }
  const issued = { Code: 'Success', AccessKeyId: 'ASIAEXAMPLE', SecretAccessKey: CANARY, Token: 'token', Expiration: new Date(Date.now() + 3_600_000).toISOString() }
  await t.test('a role', async (t) => {
    const metadata = await instanceMetadata(t, { [role]: 'ecsInstanceRole', [`${role}ecsInstanceRole`]: JSON.stringify(issued) })
    const aws = await fixture(t, { ...noKeys, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url })
    aws.secrets.push(secretOf('prod/registry', 'a', V1))
    const source = sourceOf(['prod/registry'])
    t.equal((await source.read(undefined, signal())).version, V1)
    const asked = metadata.requests.length
    await source.read(V1, signal())
    t.equal(metadata.requests.length, asked, 'the credentials are kept until they expire')
  })
  await t.test('no role', async (t) => {
    const metadata = await instanceMetadata(t, {})
    await fixture(t, { ...noKeys, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url })
    const error = await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
    t.equal(error.code, 'E_IMDS')
    t.match(error.message, /this instance has no role/)
    t.match(error.details.fix, /instance profile/)
  })
  await t.test('a role whose credentials are garbage', async (t) => {
    const metadata = await instanceMetadata(t, { [role]: 'ecsInstanceRole', [`${role}ecsInstanceRole`]: `<${CANARY}` })
    await fixture(t, { ...noKeys, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url })
    await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
  })
  await t.test('metadata that hangs', async (t) => {
    const metadata = await instanceMetadata(t, undefined)
    await fixture(t, { ...noKeys, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url })
    const error = await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
    t.match(error.code, /E_IMDS|E_NET/)
  })
  await t.test('metadata switched off', async (t) => {
    await fixture(t, { ...noKeys, AWS_EC2_METADATA_DISABLED: 'true' })
    t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_IMDS', message: /AWS_EC2_METADATA_DISABLED/ })
  })
})

t.test('where DescribeSecret is denied, GetSecretValue alone serves, and Describe is asked again later', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', 'a', V1))
  aws.scripts.set('DescribeSecret', refusal('AccessDeniedException', 'User: arn:aws:sts::123456789012:assumed-role/ecs/i-0abc is not authorized to perform: secretsmanager:DescribeSecret'))
  const source = sourceOf(['prod/registry'])
  t.equal((await source.read(undefined, signal())).version, V1)
  t.strictSame(aws.actions(), ['DescribeSecret', 'GetSecretValue'])
  t.strictSame(aws.calls.at(-1)?.input, { SecretId: 'prod/registry', VersionStage: 'AWSCURRENT' })
  t.strictSame(await source.read(V1, signal()), { version: V1, documents: undefined }, 'the same version is not news')
  t.strictSame(aws.actions(), ['GetSecretValue'])

  const impatient = sourceOf(['prod/registry'], { ...quick, describeRetryMs: 0 })
  await impatient.read(undefined, signal())
  aws.scripts.clear()
  aws.actions()
  await impatient.read(V1, signal())
  t.strictSame(aws.actions(), ['DescribeSecret'], 'back to the cheap poll')
})

t.test('where both are denied, the error is that of the value, and Describe is asked again at once', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', 'a', V1))
  for (const action of ['DescribeSecret', 'GetSecretValue']) {
    aws.scripts.set(action, refusal('AccessDeniedException', `User: arn:aws:sts::123456789012:assumed-role/ecs/i-0abc is not authorized to perform: secretsmanager:${action} on resource: prod/registry because no identity-based policy allows the secretsmanager:${action} action`))
  }
  const source = sourceOf(['prod/registry'])
  const error = await failure(t, source.read(undefined, signal()))
  t.equal(error.code, 'E_IAM')
  t.match(error.message, /secretsmanager:GetSecretValue/)
  aws.scripts.clear()
  aws.actions()
  await source.read(V1, signal())
  t.strictSame(aws.actions(), ['DescribeSecret'])
})

t.test('a stage that moves between the two calls gives the new version, never the old one as current', async (t) => {
  const aws = await fixture(t)
  const secret = secretOf('prod/registry', 'old', V1)
  aws.secrets.push(secret)
  let reads = 0
  aws.scripts.set('GetSecretValue', () => {
    if (reads++ === 0) secret.versions = [{ id: V1, stages: ['AWSPREVIOUS'], text: 'old' }, { id: V2, stages: ['AWSCURRENT'], text: 'new' }]
    return undefined
  })
  const { version, documents } = await sourceOf(['prod/registry']).read(undefined, signal())
  t.equal(version, V2)
  t.equal(Buffer.from(documents?.[0]?.content.reveal() ?? []).toString(), 'new')
  t.strictSame(aws.actions(), ['DescribeSecret', 'GetSecretValue', 'DescribeSecret', 'GetSecretValue'])
})

t.test('a stage that keeps moving is an error, not a loop', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', CANARY, V1))
  aws.scripts.set('GetSecretValue', (_call, response) => answer(response, 200, { Name: 'prod/registry', VersionId: V1, VersionStages: ['AWSPREVIOUS'], SecretString: CANARY }))
  t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_NO_CURRENT', message: /moved while it was being read/ })
  t.equal(aws.calls.length, 4)
})

// Regression: an emulator that answers with the value alone was taken for a stage that moves without end.
t.test('an answer that tells neither stage nor version is that of the version asked for', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push(secretOf('prod/registry', 'unused', V1))
  aws.scripts.set('GetSecretValue', ({ input }, response) => answer(response, 200, { Name: 'prod/registry', SecretString: `of ${input['VersionId']}` }))
  const { version, documents } = await sourceOf(['prod/registry']).read(undefined, signal())
  t.equal(version, V1)
  t.equal(Buffer.from(documents?.[0]?.content.reveal() ?? []).toString(), `of ${V1}`)
})

t.test('a version named by its id costs no call once it is known', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push({ ...secretOf('prod/registry', 'a', V1), versions: [{ id: V1, stages: [], text: 'a' }] })
  const source = sourceOf([`${ARN}:::${V1}`])
  t.equal((await source.read(undefined, signal())).version, V1)
  t.strictSame(aws.actions(), ['GetSecretValue'], 'it has no stage, so DescribeSecret would not list it')
  t.equal((await source.read(V1, signal())).documents, undefined)
  t.strictSame(aws.actions(), [])
})

t.test('a stage and an id together must be the same version, as for GetSecretValue', async (t) => {
  const aws = await fixture(t)
  const secret = secretOf('prod/registry', 'a', V1)
  aws.secrets.push(secret)
  const source = sourceOf([`${ARN}::AWSCURRENT:${V1}`])
  t.equal((await source.read(undefined, signal())).version, V1)
  secret.versions = [{ id: V2, stages: ['AWSCURRENT'], text: 'b' }]
  t.match(await failure(t, source.read(V1, signal())), { code: 'E_NO_CURRENT', message: /AWSCURRENT is on version 77b0d4e2/ })
})

t.test('another stage than AWSCURRENT is followed', async (t) => {
  const aws = await fixture(t)
  aws.secrets.push({ ...secretOf('prod/registry', 'a', V1), versions: [{ id: V1, stages: ['AWSCURRENT'], text: 'a' }, { id: V2, stages: ['canary'], text: 'b' }] })
  t.equal((await sourceOf([`${ARN}::canary:`]).read(undefined, signal())).version, V2)
})

t.test('a secret that is missing, deleted or empty is told apart', async (t) => {
  const aws = await fixture(t)
  const missing = await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
  t.equal(missing.code, 'E_SECRET_NOT_FOUND')
  t.match(missing.message, /no secret prod\/registry in eu-west-1/)
  t.match(missing.details.fix, /another region/)

  const deleted = { ...secretOf('prod/registry', 'a', V1), deletedAt: 1_790_000_000 }
  aws.secrets.push(deleted)
  const gone = await failure(t, sourceOf(['prod/registry']).read(V1, signal()))
  t.equal(gone.code, 'E_SECRET_DELETED', 'though its version is the known one')
  t.match(gone.details.fix, 'aws secretsmanager restore-secret --region eu-west-1 --secret-id prod/registry')
  aws.scripts.set('DescribeSecret', refusal('AccessDeniedException', 'denied'))
  t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_SECRET_DELETED' })
  aws.scripts.clear()

  aws.secrets.splice(0, 1, { ...secretOf('prod/registry', '', V1), versions: [] })
  t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_NO_CURRENT' })
  aws.scripts.set('DescribeSecret', refusal('AccessDeniedException', 'denied'))
  t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_NO_CURRENT' })
})

t.test('a server that fails, hangs, drips, cuts or babbles ends in a clear error, in bounded time, and is no longer in the way once it is well', async (t) => {
  const cases: Record<string, { script: Parameters<Awaited<ReturnType<typeof startSecretsManager>>['scripts']['set']>[1]; code: RegExp; message: RegExp }> = {
    'a 500': { script: refusal('InternalServiceError', CANARY, 500), code: /E_AWS/, message: /HTTP 500/ },
    'a 503 of a proxy': { script: (_call, response) => { response.writeHead(503); response.end(`<html>${CANARY}`); return true }, code: /E_AWS/, message: /HTTP 503/ },
    throttling: { script: refusal('ThrottlingException', 'Rate exceeded'), code: /E_THROTTLED/, message: /throttles/ },
    'no answer': { script: () => true, code: /E_NET/, message: /127\.0\.0\.1:\d+: no answer in time/ },
    'a slow drip': {
      script: (_call, response) => {
        response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' })
        response.write(`{"SecretString":"${CANARY}`)
        const drip = setInterval(() => response.write(' '), 50)
        response.on('close', () => clearInterval(drip))
        return true
      },
      code: /E_NET/, message: /no answer in time/,
    },
    'a cut body': {
      script: (_call, response) => {
        response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1', 'content-length': '500' })
        response.write(`{"SecretString":"${CANARY}`, () => response.destroy())
        return true
      },
      code: /E_NET/, message: /cut/,
    },
    'a reset': { script: (_call, response) => { response.socket?.resetAndDestroy(); return true }, code: /E_NET/, message: /cut/ },
    garbage: { script: (_call, response) => { response.writeHead(200); response.end(`{"SecretString": "${CANARY}" "`); return true }, code: /E_AWS/, message: /could not be understood/ },
    'a page of HTML': { script: (_call, response) => { response.writeHead(200); response.end(`<html>${CANARY}</html>`); return true }, code: /E_AWS/, message: /could not be understood/ },
  }
  for (const [name, { script, code, message }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const aws = await fixture(t)
      aws.secrets.push(secretOf('prod/registry', CANARY, V1))
      const source = sourceOf(['prod/registry'])
      for (const action of ['DescribeSecret', 'GetSecretValue']) {
        aws.scripts.set(action, script)
        const begun = performance.now()
        const error = await failure(t, source.read(undefined, signal()))
        t.ok(performance.now() - begun < 6_000)
        t.match(error.code, code)
        t.match(error.message, message)
        t.equal(error.retryable, true)
        aws.scripts.clear()
        t.equal((await source.read(undefined, signal())).version, V1, 'well again')
      }
    })
  }
})

t.test('an endpoint that refuses or does not exist is named, with what to look at', async (t) => {
  await fixture(t, { AWS_ENDPOINT_URL_SECRETS_MANAGER: 'http://127.0.0.1:9' })
  const refused = await failure(t, sourceOf(['prod/registry']).read(undefined, signal()))
  t.equal(refused.code, 'E_NET')
  t.match(refused.message, /127\.0\.0\.1:9: connection refused/)
  t.match(refused.details.fix, /com\.amazonaws\.eu-west-1\.secretsmanager/)
  process.env['AWS_ENDPOINT_URL_SECRETS_MANAGER'] = 'https://no-such-host.invalid'
  t.match(await failure(t, sourceOf(['prod/registry']).read(undefined, signal())), { code: 'E_NET', message: /no-such-host\.invalid: the name does not resolve/ })
})

t.test('a read ends with its signal, whatever it waits for', async (t) => {
  const aws = await fixture(t)
  aws.scripts.set('DescribeSecret', () => true)
  const stop = new AbortController()
  const reading = sourceOf(['prod/registry'], {}).read(undefined, stop.signal)
  const reason = new Error('shutting down')
  const called = setInterval(() => { if (aws.calls.length > 0) stop.abort(reason) }, 5)
  await t.rejects(reading, reason)
  clearInterval(called)
  await t.rejects(sourceOf(['prod/registry']).read(undefined, AbortSignal.abort(reason)), reason)
})

t.test('watching resolves at once: nobody calls', async (t) => {
  await sourceOf(['prod/registry']).watch(() => t.fail('woken'), signal())
})

/** Instance metadata on loopback, by IMDSv2 only; without pages it takes requests and never answers. */
async function instanceMetadata(t: Test, pages: Record<string, string> | undefined) {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    if (pages === undefined) return
    if (request.method === 'PUT') return void response.end('imds-token')
    const page = request.headers['x-aws-ec2-metadata-token'] === 'imds-token' ? pages[request.url ?? ''] : undefined
    response.writeHead(page === undefined ? 404 : 200).end(page)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}
