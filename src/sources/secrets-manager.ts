/**
 * Secrets in AWS Secrets Manager. A poll is one DescribeSecret: it tells which version holds the stage, is in no bill worth naming beside the
 * value's reads in CloudTrail, and leaves the value where it is. GetSecretValue follows only where that version is not the known one.
 */
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { AWS_TIMEOUTS, awsClientOptions, boundedAwsCall, type AwsTimeouts } from '../aws-client.js'
import { deletedSecretError, describeAwsError, type AwsAttempt } from '../aws-errors.js'
import { Redacted } from '../core/redacted.js'
import type { SecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import { explainMissingCredentials, readInstanceMetadata } from '../instance-metadata.js'
import type { CredentialSource, SourceDocument, SourceReading } from './source.js'

export { parseSecretReference, type SecretReference } from '../core/secret-reference.js'

export type SecretsManagerOptions = {
  readonly timeouts?: AwsTimeouts
  /** How long a denied DescribeSecret is believed before it is asked again. */
  readonly describeRetryMs?: number
}

/** What a read takes from one secret. */
type SecretValue = { readonly name: string; readonly versionId: string; readonly content: Redacted<Uint8Array> }

/** One or many secrets, in the order of `references`; whoever reads them merges them. */
export function secretsManagerSource(references: readonly SecretReference[], options: SecretsManagerOptions = {}): CredentialSource {
  const { timeouts = AWS_TIMEOUTS, describeRetryMs = 3_600_000 } = options
  const clients = new Map<string, SecretsManagerClient>()
  const describeDeniedAt = new Map<string, number>()
  let ownRegion: string | undefined

  async function regionOf(reference: SecretReference, signal: AbortSignal): Promise<string> {
    return reference.region ?? (ownRegion ??= await readOwnRegion(signal))
  }

  /** One call, bounded, with its error translated. */
  async function call<T>(attempt: AwsAttempt, send: (client: SecretsManagerClient, abortSignal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager')
    const client = clients.get(attempt.region) ?? new SecretsManagerClient(awsClientOptions(attempt.region, timeouts))
    clients.set(attempt.region, client)
    try {
      return await boundedAwsCall((abortSignal) => send(client, abortSignal), timeouts.callMs, signal)
    } catch (error) {
      signal.throwIfAborted()
      // A client may hang on to a wait for credentials that never ends; a new one starts afresh.
      clients.delete(attempt.region)
      client.destroy()
      if ((error as Error).name === 'CredentialsProviderError') throw await explainMissingCredentials(signal)
      throw describeAwsError(error, attempt)
    }
  }

  /** The id of the version that the reference means now; undefined where DescribeSecret is denied and only the value itself tells. */
  async function findVersion(reference: SecretReference, signal: AbortSignal): Promise<string | undefined> {
    const { secretId, versionStage, versionId } = reference
    // A version never changes, so one named by nothing but its id need not be asked for.
    if (versionStage === undefined) return versionId
    const deniedAt = describeDeniedAt.get(secretId)
    if (deniedAt !== undefined && performance.now() - deniedAt < describeRetryMs) return undefined
    const attempt: AwsAttempt = { action: 'secretsmanager:DescribeSecret', resource: secretId, region: await regionOf(reference, signal) }
    const { DescribeSecretCommand } = await import('@aws-sdk/client-secrets-manager')
    try {
      const secret = await call(attempt, (client, abortSignal) => client.send(new DescribeSecretCommand({ SecretId: secretId }), { abortSignal }), signal)
      describeDeniedAt.delete(secretId)
      if (secret.DeletedDate !== undefined) throw deletedSecretError(attempt, secret.DeletedDate)
      const staged = Object.entries(secret.VersionIdsToStages ?? {}).find(([, stages]) => stages.includes(versionStage))?.[0]
      if (staged === undefined) throw noVersionError(reference, `no version has the stage ${versionStage}`)
      if (versionId !== undefined && staged !== versionId) throw noVersionError(reference, `${versionStage} is on version ${staged}, not on ${versionId}`)
      return staged
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'E_IAM') throw error
      describeDeniedAt.set(secretId, performance.now())
      return undefined
    }
  }

  async function readValue(reference: SecretReference, found: string | undefined, signal: AbortSignal): Promise<SecretValue> {
    const { secretId, versionStage, versionId } = reference
    const attempt: AwsAttempt = { action: 'secretsmanager:GetSecretValue', resource: secretId, region: await regionOf(reference, signal) }
    const { GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager')
    for (let wanted = found, again = false; ; wanted = await findVersion(reference, signal), again = true) {
      const input = wanted === undefined
        ? { SecretId: secretId, VersionStage: versionStage, ...(versionId === undefined ? {} : { VersionId: versionId }) }
        : { SecretId: secretId, VersionId: wanted }
      const answer = await call(attempt, (client, abortSignal) => client.send(new GetSecretValueCommand(input), { abortSignal }), signal).catch((error) => {
        // Both denied: nothing is known of DescribeSecret alone, so that a mended role or key is back to the cheap poll at once.
        describeDeniedAt.delete(secretId)
        throw error
      })
      // The stage may have moved on since DescribeSecret: an older version must not come back as if it were the current one.
      if (versionStage !== undefined && !answer.VersionStages?.includes(versionStage)) {
        if (!again) continue
        // One that tells no stages at all (an emulator) has been asked twice which version it is.
        if (answer.VersionStages !== undefined) throw noVersionError(reference, `${versionStage} moved while it was being read`)
      }
      const bytes = answer.SecretBinary ?? (answer.SecretString === undefined ? undefined : Buffer.from(answer.SecretString))
      const id = answer.VersionId ?? wanted
      if (bytes === undefined || id === undefined) throw noVersionError(reference, 'the version holds no value')
      return { name: answer.Name ?? reference.name, versionId: id, content: new Redacted(bytes) }
    }
  }

  return {
    kind: 'secret',
    label: `${references.length === 1 ? 'secret' : 'secrets'} ${references.map(({ name }) => name).join(', ')}`,

    async read(known, signal): Promise<SourceReading> {
      const findOnce = oncePer((reference) => findVersion(reference, signal))
      const found: (string | undefined)[] = []
      for (const [index, reference] of references.entries()) found.push(await findOnce(reference, index))
      if (found.every((id) => id !== undefined) && found.join() === known) return { version: known, documents: undefined }

      const readOnce = oncePer((reference, index) => readValue(reference, found[index], signal))
      const versions: string[] = []
      const documents: SourceDocument[] = []
      for (const [index, reference] of references.entries()) {
        const { name, versionId, content } = await readOnce(reference, index)
        versions.push(versionId)
        documents.push({ source: `secret ${name} (version ${versionId.slice(0, 8)})`, content, jsonKey: reference.jsonKey })
      }
      const version = versions.join()
      return version === known ? { version, documents: undefined } : { version, documents }
    },

    async watch() {
      // Secrets Manager calls nobody: the service's poll and SIGHUP are the wake-ups.
    },
  }
}

/** AWS_REGION, AWS_DEFAULT_REGION (the SDK for JavaScript ignores that one), the profile's, the instance's own. */
async function readOwnRegion(signal: AbortSignal): Promise<string> {
  const named = process.env['AWS_REGION'] || process.env['AWS_DEFAULT_REGION']
  if (named) return named
  const { SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager')
  const { region: _, ...options } = awsClientOptions('')
  const profile = await new SecretsManagerClient(options).config.region().catch(() => undefined)
  if (profile) return profile
  try {
    return await readInstanceMetadata('placement/region', signal)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    throw new ServiceError('E_IMDS', `no region is set, and ${error.message}`, { fix: `set AWS_REGION or use the secret's ARN; else ${error.details.fix ?? ''}` })
  }
}

function noVersionError({ secretId, name }: SecretReference, why: string): ServiceError {
  return new ServiceError('E_NO_CURRENT', `secret ${name}: ${why}`, {
    fix: `see its versions: aws secretsmanager list-secret-version-ids --secret-id ${secretId}; put a value: ecs-regcred secret put`,
  })
}

/** `work`, done once for each secret and version: two members of one secret (`ARN:a::`, `ARN:b::`) are one read. */
function oncePer<R>(work: (reference: SecretReference, index: number) => Promise<R>): (reference: SecretReference, index: number) => Promise<R> {
  const results = new Map<string, Promise<R>>()
  return (reference, index) => {
    const { secretId, versionStage, versionId } = reference
    const key = [secretId, versionStage, versionId].join(' ')
    const result = results.get(key) ?? work(reference, index)
    results.set(key, result)
    return result
  }
}
