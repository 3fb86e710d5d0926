/** The way to the secret, step by step, so that the one that is missing is named: region, metadata, role, DescribeSecret, GetSecretValue, KMS. */
import type { DescribeSecretResponse } from '@aws-sdk/client-secrets-manager'
import { awsClientOptions, boundedAwsCall, type AwsTimeouts } from '../aws-client.js'
import { deletedSecretError, describeAwsError, type AwsAttempt } from '../aws-errors.js'
import { parseSecretReference, type SecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import { explainMissingCredentials, readInstanceMetadata } from '../instance-metadata.js'
import { brokenBy, type Check, type CheckResult, ok, skipped } from './check.js'

/** Shorter than the service's own: a person waits. */
const TIMEOUTS: AwsTimeouts = { connectMs: 2_000, attemptMs: 4_000, callMs: 8_000 }

export const aws: Check = {
  id: 'aws',
  run: async ({ settings, settingsError, environment }, signal) => {
    if (settingsError !== undefined) return [skipped('aws', 'the settings do not tell whether the source is a secret')]
    if (settings.source.kind === 'file') return [skipped('aws', 'the source is a file: AWS is not asked')]
    const references = settings.source.secretIds.map(parseSecretReference)
    const [machine, region] = await Promise.all([checkInstance(environment, signal), findRegion(references, environment, signal)])
    if (typeof region !== 'string') return [region, ...machine, skipped('describe-secret', 'without a region there is no Secrets Manager to ask')]
    const secrets = await Promise.all([...new Map(references.map((reference) => [reference.secretId, reference])).values()]
      .map((reference) => checkSecret(reference, reference.region ?? region, signal)))
    const noCredentials = machine.some(({ verdict }) => verdict === 'broken')
    const named = references.every((reference) => reference.region !== undefined)
    return [
      ok('region', named ? `the secrets' ARNs name ${[...new Set(references.map((each) => each.region))].join(', ')}` : `the region is ${region}`),
      ...machine,
      // Told once is enough.
      ...secrets.flat().map((result) => (noCredentials && result.code === 'E_IMDS' ? skipped(result.id, 'there are no credentials to ask with') : result)),
    ]
  },
}

/** As the source finds it: the ARN's, the environment's, the profile's, the instance's own. */
async function findRegion(references: readonly SecretReference[], environment: NodeJS.ProcessEnv, signal: AbortSignal): Promise<string | CheckResult> {
  const named = references.every(({ region }) => region !== undefined) ? references[0]?.region : environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION']
  if (named) return named
  const { SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager')
  const { region: _, ...options } = awsClientOptions('', TIMEOUTS)
  const profile = await new SecretsManagerClient(options).config.region().catch(() => undefined)
  if (profile) return profile
  return readInstanceMetadata('placement/region', signal, environment).catch((error: unknown) => {
    if (signal.aborted) throw error
    return {
      ...brokenBy('region', error),
      message: 'no region is set, and the instance metadata tells none',
      fix: 'set AWS_REGION in /etc/ecs-regcred/ecs-regcred.env, or name the secret by its ARN',
    }
  })
}

/** Where the SDK finds credentials before it asks the instance. */
const OTHER_CREDENTIALS = [
  'AWS_ACCESS_KEY_ID', 'AWS_PROFILE', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI',
]

async function checkInstance(environment: NodeJS.ProcessEnv, signal: AbortSignal): Promise<CheckResult[]> {
  const elsewhere = OTHER_CREDENTIALS.find((name) => environment[name])
  const look = (id: string, path: string, found: (text: string) => string): Promise<CheckResult> => readInstanceMetadata(path, signal, environment).then(
    (text) => ok(id, found(/^[\w.@+=,-]+/.exec(text)?.[0] ?? '')),
    (error: unknown) => {
      if (signal.aborted) throw error
      const result = brokenBy(id, error)
      return elsewhere === undefined ? result : skipped(id, `not needed, since ${elsewhere} is set: ${result.message}`)
    },
  )
  const imds = await look('imds', 'instance-id', (instance) => `the instance metadata answers by IMDSv2 (${instance})`)
  if (elsewhere !== undefined) return [imds, ok('role', `credentials come from the environment (${elsewhere}), not from the instance's role`)]
  if (imds.verdict !== 'ok') return [imds, skipped('role', 'the instance metadata does not answer')]
  return [imds, await look('role', 'iam/security-credentials/', (role) => `the instance has the role ${role}`)]
}

async function checkSecret(reference: SecretReference, region: string, signal: AbortSignal): Promise<CheckResult[]> {
  const { secretId, name } = reference
  const sdk = await import('@aws-sdk/client-secrets-manager')
  const client = new sdk.SecretsManagerClient(awsClientOptions(region, TIMEOUTS))
  const attempt = (action: string): AwsAttempt => ({ action: `secretsmanager:${action}`, resource: secretId, region })
  const stage = reference.versionStage ?? (reference.versionId === undefined ? 'AWSCURRENT' : undefined)
  try {
    const [described, value] = await Promise.all([
      call(attempt('DescribeSecret'), (abortSignal) => client.send(new sdk.DescribeSecretCommand({ SecretId: secretId }), { abortSignal }), signal),
      call(attempt('GetSecretValue'), async (abortSignal) => {
        const input = { SecretId: secretId, VersionStage: stage, VersionId: reference.versionId }
        // The value itself is nobody's business here.
        return { versionId: (await client.send(new sdk.GetSecretValueCommand(input), { abortSignal })).VersionId }
      }, signal),
    ])
    return [judgeDescribe(described, attempt('DescribeSecret'), name), ...judgeValue(value, described, name)]
  } finally {
    client.destroy()
  }
}

async function call<T>(attempt: AwsAttempt, send: (abortSignal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T | ServiceError> {
  try {
    return await boundedAwsCall(send, TIMEOUTS.callMs, signal)
  } catch (error) {
    signal.throwIfAborted()
    if ((error as Error).name === 'CredentialsProviderError') return explainMissingCredentials(signal)
    return describeAwsError(error, attempt)
  }
}

function judgeDescribe(described: DescribeSecretResponse | ServiceError, attempt: AwsAttempt, name: string): CheckResult {
  const id = 'describe-secret'
  if (described instanceof ServiceError) {
    const result = brokenBy(id, described)
    // The service then asks for the value itself at each poll: that works, costs more, and fills CloudTrail.
    return described.code === 'E_IAM' ? { ...result, verdict: 'warning' } : result
  }
  if (described.DeletedDate !== undefined) return brokenBy(id, deletedSecretError(attempt, described.DeletedDate))
  return ok(id, `secret ${name} can be described`)
}

function judgeValue(value: { versionId: string | undefined } | ServiceError, described: DescribeSecretResponse | ServiceError, name: string): CheckResult[] {
  const key = described instanceof ServiceError ? 'its key' : (described.KmsKeyId ?? 'the key aws/secretsmanager')
  if (!(value instanceof ServiceError)) {
    const version = value.versionId?.slice(0, 8) ?? 'unknown'
    return [ok('get-secret-value', `the value of ${name} can be read (version ${version})`), ok('kms', `${name} can be decrypted with ${key}`)]
  }
  if (value.code === 'E_KMS') return [skipped('get-secret-value', `the role may read ${name}, but not decrypt it`), brokenBy('kms', value)]
  return [brokenBy('get-secret-value', value), skipped('kms', `${name} could not be read, so its key was not asked for`)]
}
