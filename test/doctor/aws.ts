import t, { type Test } from 'tap'
import { CANARY, healthyMachine } from '../fixtures/doctor-machine.js'
import { serve } from '../fixtures/registry/server.js'
import { refusal, type Script, secretOf, startSecretsManager } from '../fixtures/secrets-manager/server.js'

const ROLE = 'arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0123'
const AWS = ['region', 'imds', 'role', 'describe-secret', 'get-secret-value', 'kms', 'source', 'aws']

/** An instance with a role and a secret; the SDK finds its way by the environment. */
async function instance(t: Test, options: { readonly scripts?: Record<string, Script>; readonly metadata?: Record<string, string>; readonly tokenStatus?: number; readonly environment?: NodeJS.ProcessEnv; readonly secretId?: string } = {}) {
  const machine = await healthyMachine(t)
  const manager = await startSecretsManager()
  t.teardown(manager.close)
  manager.secrets.push(secretOf('prod/registry', JSON.stringify({ [machine.registry.host]: { username: 'ci', password: CANARY } }), '3f2a9c01-0000-4000-8000-000000000000'))
  for (const [action, script] of Object.entries(options.scripts ?? {})) manager.scripts.set(action, script)
  const metadata: Record<string, string> = options.metadata ?? {
    'instance-id': 'i-0123456789abcdef0',
    'placement/region': 'eu-west-1',
    'iam/security-credentials/': 'ecsInstanceRole',
    'iam/security-credentials/ecsInstanceRole': JSON.stringify({ Code: 'Success', AccessKeyId: 'AKIDEXAMPLE', SecretAccessKey: 'example', Token: 'example', Expiration: '2099-01-01T00:00:00Z' }),
  }
  const imds = await serve(t, ({ method, path }) => {
    if (method === 'PUT') return { status: options.tokenStatus ?? 200, body: 'token' }
    const body = metadata[path.replace('/latest/meta-data/', '')]
    return body === undefined ? { status: 404 } : { status: 200, body }
  })
  machine.environment = {
    REGCRED_DOCKER_CONFIG: undefined, REGCRED_SECRET_ID: options.secretId ?? 'prod/registry', AWS_ENDPOINT_URL_SECRETS_MANAGER: manager.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
    AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', ...options.environment,
  }
  const all = await machine.examine()
  t.notMatch(JSON.stringify(all), CANARY)
  const results = all.filter(({ id }) => AWS.includes(id))
  return { results, by: (id: string) => results.find((result) => result.id === id), verdicts: Object.fromEntries(results.map(({ id, verdict }) => [id, verdict])), manager }
}

const HEALTHY = { region: 'ok', imds: 'ok', role: 'ok', 'describe-secret': 'ok', 'get-secret-value': 'ok', kms: 'ok', source: 'ok' }

t.test('every step to the secret is well', async (t) => {
  const { verdicts, by } = await instance(t)
  t.strictSame(verdicts, HEALTHY)
  t.match(by('region')?.message, /eu-west-1/)
  t.match(by('role')?.message, /ecsInstanceRole/)
  t.match(by('get-secret-value')?.message, /version 3f2a9c01/)
})

t.test('DescribeSecret denied is a warning with the statement, since the value still tells the version', async (t) => {
  const { verdicts, by } = await instance(t, { scripts: { DescribeSecret: refusal('AccessDeniedException', `User: ${ROLE} is not authorized to perform: secretsmanager:DescribeSecret on resource: prod/registry because no identity-based policy allows the secretsmanager:DescribeSecret action`) } })
  t.strictSame(verdicts, { ...HEALTHY, 'describe-secret': 'warning' })
  t.match(by('describe-secret')?.fix, /"Effect":"Allow".*secretsmanager:DescribeSecret/)
})

t.test('GetSecretValue denied: the statement to add, and KMS is not guessed at', async (t) => {
  const { verdicts, by } = await instance(t, { scripts: { GetSecretValue: refusal('AccessDeniedException', `User: ${ROLE} is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/registry because no identity-based policy allows the secretsmanager:GetSecretValue action`) } })
  t.strictSame(verdicts, { ...HEALTHY, 'get-secret-value': 'broken', kms: 'skipped', source: 'broken' })
  t.match(by('get-secret-value'), { code: 'E_IAM', message: /ecsInstanceRole/, fix: /add to the policies of role ecsInstanceRole: .*"secretsmanager:GetSecretValue"/ })
})

t.test('KMS denied is told apart from the secret', async (t) => {
  const { verdicts, by } = await instance(t, { scripts: { GetSecretValue: refusal('AccessDeniedException', 'Access to KMS is not allowed') } })
  t.strictSame(verdicts, { ...HEALTHY, 'get-secret-value': 'skipped', kms: 'broken', source: 'broken' })
  t.match(by('kms'), { code: 'E_KMS', fix: /kms:Decrypt/ })
})

t.test('an instance without a role: told once, and what needs it is skipped', async (t) => {
  const { verdicts, by } = await instance(t, { metadata: { 'instance-id': 'i-0123', 'placement/region': 'eu-west-1' } })
  t.strictSame(verdicts, { ...HEALTHY, role: 'broken', 'describe-secret': 'skipped', 'get-secret-value': 'skipped', kms: 'skipped', source: 'broken' })
  t.match(by('role')?.fix, /associate-iam-instance-profile/)
})

t.test('IMDSv2 refused: how to turn it on', async (t) => {
  const { verdicts, by } = await instance(t, { tokenStatus: 403, environment: { AWS_REGION: 'eu-west-1' } })
  t.match(verdicts, { region: 'ok', imds: 'broken', role: 'skipped' })
  t.match(by('imds')?.fix, /modify-instance-metadata-options --http-endpoint enabled/)
})

t.test('no region anywhere', async (t) => {
  const { verdicts, by } = await instance(t, { metadata: { 'instance-id': 'i-0123' } })
  t.match(verdicts, { region: 'broken', 'describe-secret': 'skipped' })
  t.match(by('region')?.fix, /AWS_REGION/)
})

t.test("credentials of the environment need no metadata, and the ARN's region is the secret's", async (t) => {
  const { verdicts, by, manager } = await instance(t, {
    tokenStatus: 404, secretId: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/other-AbCdEf',
    environment: { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example' },
  })
  t.match(verdicts, { region: 'ok', imds: 'skipped', role: 'ok', 'describe-secret': 'broken', 'get-secret-value': 'broken' })
  t.match(by('describe-secret'), { code: 'E_SECRET_NOT_FOUND' })
  t.match(by('region')?.message, /eu-central-1/)
  t.strictSame([...new Set(manager.calls.filter(({ action }) => action.endsWith('Secret') || action.endsWith('Value')).map(({ region }) => region))], ['eu-central-1'])
})

t.test('a secret that waits to be deleted', async (t) => {
  const { by } = await instance(t, { scripts: { DescribeSecret: (_call, response) => { response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end('{"Name":"prod/registry","DeletedDate":1700000000}'); return true } } })
  t.match(by('describe-secret'), { verdict: 'broken', code: 'E_SECRET_DELETED', fix: /restore-secret/ })
})
