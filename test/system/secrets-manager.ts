/**
 * The source against moto's Secrets Manager: stages, a deleted and a binary secret, as AWS's own client writes them. MOTO_SERVER is the path of
 * moto_server (pip install 'moto[server]').
 */
import { spawn } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { CreateSecretCommand, DeleteSecretCommand, PutSecretValueCommand, RestoreSecretCommand, SecretsManagerClient, UpdateSecretVersionStageCommand } from '@aws-sdk/client-secrets-manager'
import { httpRequest } from '../../src/http-request.js'
import { parseSecretReference, secretsManagerSource } from '../../src/sources/secrets-manager.js'

const MOTO = process.env['MOTO_SERVER']
const signal = (): AbortSignal => AbortSignal.timeout(20_000)

if (MOTO === undefined) {
  t.pass('skipped: MOTO_SERVER names no moto_server')
} else {
  t.setTimeout(120_000)
  const port = await new Promise<number>((found) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => found(port))
    })
  })
  const moto = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  t.teardown(() => moto.kill())
  const url = `http://127.0.0.1:${port}`
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: url, AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example',
    AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  })
  for (const end = performance.now() + 30_000; ; ) {
    if (await httpRequest(`${url}/moto-api/`, { timeoutMs: 2_000 }, signal()).then(({ status }) => status < 500, () => false)) break
    if (performance.now() > end) throw new Error('moto_server does not answer')
    await new Promise((later) => setTimeout(later, 100))
  }
  const aws = new SecretsManagerClient({})
  t.teardown(() => aws.destroy())
  const sourceOf = (...ids: string[]) => secretsManagerSource(ids.map(parseSecretReference))
  const texts = (documents: Awaited<ReturnType<ReturnType<typeof sourceOf>['read']>>['documents']) => documents?.map(({ content }) => Buffer.from(content.reveal()).toString())

  t.test('a secret is followed from version to version, by its current stage only', async (t) => {
    await t.rejects(sourceOf('prod/registry').read(undefined, signal()), { code: 'E_SECRET_NOT_FOUND' })
    const { ARN = '' } = await aws.send(new CreateSecretCommand({ Name: 'prod/registry', SecretString: 'one' }))
    const source = sourceOf('prod/registry')
    const first = await source.read(undefined, signal())
    t.strictSame(texts(first.documents), ['one'])
    t.match(first.documents?.[0]?.source, /^secret prod\/registry \(version [0-9a-f]{8}\)$/)
    t.equal((await source.read(first.version, signal())).documents, undefined)

    const { VersionId: pending = '' } = await aws.send(new PutSecretValueCommand({ SecretId: ARN, SecretString: 'two', VersionStages: ['AWSPENDING'] }))
    t.equal((await source.read(first.version, signal())).documents, undefined, 'AWSPENDING is not looked at')
    await aws.send(new UpdateSecretVersionStageCommand({ SecretId: ARN, VersionStage: 'AWSCURRENT', MoveToVersionId: pending, RemoveFromVersionId: first.version }))
    const second = await source.read(first.version, signal())
    t.equal(second.version, pending)
    t.strictSame(texts(second.documents), ['two'])
    t.strictSame(texts((await sourceOf(`${ARN}::AWSPREVIOUS:`).read(undefined, signal())).documents), ['one'])
    t.strictSame(texts((await sourceOf(`${ARN}:::${first.version}`).read(undefined, signal())).documents), ['one'])

    await aws.send(new DeleteSecretCommand({ SecretId: ARN, RecoveryWindowInDays: 7 }))
    await t.rejects(source.read(pending, signal()), { code: 'E_SECRET_DELETED' })
    await aws.send(new RestoreSecretCommand({ SecretId: ARN }))
    t.equal((await source.read(pending, signal())).documents, undefined)
  })

  t.test('a binary secret, beside another one', async (t) => {
    await aws.send(new CreateSecretCommand({ Name: 'binary', SecretBinary: Buffer.from('{"bytes":"✓"}') }))
    await aws.send(new CreateSecretCommand({ Name: 'text', SecretString: 'text' }))
    t.strictSame(texts((await sourceOf('text', 'binary').read(undefined, signal())).documents), ['text', '{"bytes":"✓"}'])
  })
}
