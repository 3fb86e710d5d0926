import { scryptSync } from 'node:crypto'
import type { GetSecretValueCommandOutput } from '@aws-sdk/client-secrets-manager'
import type { Credential, Warning } from '../core/credential.js'
import { parseCredentialDocument } from '../core/credential-document.js'
import { renderAuthData, toDockercfg } from '../core/dockercfg.js'
import { decodeDocument } from '../core/document-text.js'
import { Redacted } from '../core/redacted.js'
import { parseSecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import { isWrapped, mergeCredential, type CurrentDocument, type Merged, type Shape } from './merge-credential.js'
import { secretsCalls } from './secrets-calls.js'

/** What the secret is to hold, checked as the hosts will read it; nothing is put yet. */
export type SecretPlan = {
  /** Name or ARN. */
  readonly secretId: string
  readonly exists: boolean
  /** The version that this was made from; undefined for a secret without a value. */
  readonly basedOn: string | undefined
  readonly current: Redacted<string>
  readonly content: Redacted<string>
  readonly binary: boolean
  /** `none`: the secret holds exactly this login already. */
  readonly change: Merged['change'] | 'none'
  readonly shape: string
  readonly namesNoRegistry: boolean
  /** Canonical names of everything the document now holds. */
  readonly registries: readonly string[]
  readonly warnings: readonly Warning[]
}

export type SecretStore = {
  readonly plan: (wanted: WantedLogin, signal: AbortSignal) => Promise<SecretPlan>
  /** @throws {ServiceError} E_LOCKED where somebody else has put a version since the plan */
  readonly put: (plan: SecretPlan, signal: AbortSignal) => Promise<{ readonly versionId: string; readonly warnings: readonly Warning[] }>
}

export type WantedLogin = { readonly registry: string; readonly credential: Credential; readonly shape: Shape | undefined }

/** Secrets Manager refuses more (65,536 bytes of UTF-8). */
const MAX_BYTES = 65_536

/**
 * One secret, to be written by an operator.
 * @throws {ServiceError} E_SETTINGS where the reference names a part of a secret, or there is no region
 */
export async function secretStore(reference: string): Promise<SecretStore> {
  const parsed = parseSecretReference(reference)
  const { secretId, name, jsonKey, versionStage, versionId } = parsed
  if (jsonKey !== undefined || versionId !== undefined || versionStage !== 'AWSCURRENT') {
    throw new ServiceError('E_SETTINGS', `secret id ${reference}: names one part or version, and a whole secret is written here`, { fix: `--secret-id ${secretId}` })
  }
  const calls = await secretsCalls(parsed)
  const getIfThere = async (stage: string, signal: AbortSignal): Promise<GetSecretValueCommandOutput | 'no value' | 'no secret'> => {
    try {
      return await calls.get(stage, signal)
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'E_NO_CURRENT') return 'no value'
      // An ARN is given by AWS: one that is not there is a mistake, and nothing that could be created.
      if (error instanceof ServiceError && error.code === 'E_SECRET_NOT_FOUND' && !secretId.startsWith('arn:')) return 'no secret'
      throw error
    }
  }

  return {
    plan: async (wanted, signal) => {
      const answer = await getIfThere('AWSCURRENT', signal)
      if (typeof answer === 'string') return planFrom(secretId, name, undefined, answer === 'no value', wanted)
      return planFrom(secretId, name, answer, true, wanted)
    },

    put: async (plan, signal) => {
      const now = await getIfThere('AWSCURRENT', signal)
      const version = typeof now === 'string' ? undefined : now.VersionId
      if (version !== plan.basedOn || (now !== 'no secret') !== plan.exists) {
        throw new ServiceError('E_LOCKED', `secret ${name}: somebody else put version ${version ?? 'none'} meanwhile (this was made from ${plan.basedOn ?? 'no version'}); nothing was put`, {
          fix: 'run the command again: it starts from what the secret holds now',
        })
      }
      const content = plan.content.reveal()
      const value = plan.binary ? { SecretBinary: Buffer.from(content) } : { SecretString: content }
      if (!plan.exists) {
        const { VersionId } = await calls.create(value)
        return { versionId: VersionId ?? 'unknown', warnings: [] }
      }
      let put = await calls.put(value, requestToken(plan))
      // The same step was taken before and its version moved away from AWSCURRENT since (by hand): Secrets Manager answers with the old version and
      // changes nothing. A token of its own makes a new one.
      if (put.VersionStages !== undefined && !put.VersionStages.includes('AWSCURRENT')) put = await calls.put(value, undefined)
      return { versionId: put.VersionId ?? 'unknown', warnings: await overwritten(plan, () => getIfThere('AWSPREVIOUS', signal)) }
    },
  }
}

function planFrom(secretId: string, name: string, answer: GetSecretValueCommandOutput | undefined, exists: boolean, { registry, credential, shape }: WantedLogin): SecretPlan {
  const basedOn = answer?.VersionId
  const source = `secret ${name}${basedOn === undefined ? '' : ` (version ${basedOn.slice(0, 8)})`}`
  const binary = answer?.SecretBinary !== undefined
  const text = answer === undefined ? '' : answer.SecretString?.replace(/^\uFEFF/, '') ?? decodeDocument(answer.SecretBinary ?? new Uint8Array(), source)
  // With a user, base64 is that user's token and is not looked into.
  const parse = (content: string, of: string) => parseCredentialDocument(Buffer.from(content), { source: of, registry, username: isWrapped(content) ? undefined : credential.username })
  const document: CurrentDocument | undefined = answer === undefined ? undefined : { text, source, registries: () => parse(text, source).registries }
  const merged = mergeCredential(document, registry, credential, shape)
  const isPut = merged.change === 'replaced' && holds(registriesOrNone(document), registry, credential)

  const content = isPut ? text : merged.text
  const { registries, warnings } = parse(content, `secret ${name} as it would be put`)
  // Not a matter of taste: the hosts read the document by this very function.
  if (!holds(registries, registry, credential)) {
    throw new ServiceError('E_UNKNOWN_SHAPE', `secret ${name}: after the change the hosts would not read this login for ${registry} from it; nothing was put`, {
      source, fix: '--shape registries writes the document anew as a map of registries',
    })
  }
  // What a host would leave out, and what it could not render at all, is told here and not in its log.
  const rendered = toDockercfg(registries)
  renderAuthData(rendered.dockercfg)
  if (Buffer.byteLength(content) > MAX_BYTES) {
    throw new ServiceError('E_TOO_BIG', `secret ${name}: the document would have ${Buffer.byteLength(content)} bytes, and Secrets Manager takes ${MAX_BYTES}`, {
      source, fix: 'put some registries into a secret of their own (REGCRED_SECRET_ID takes several)',
    })
  }
  return {
    secretId, exists, basedOn, binary,
    warnings: [...warnings, ...rendered.warnings],
    current: new Redacted(text),
    content: new Redacted(content),
    change: isPut ? 'none' : merged.change,
    shape: merged.shape,
    namesNoRegistry: merged.namesNoRegistry,
    registries: [...registries.keys()],
  }
}

/** A document with a fault in it (a placeholder, most often) can still be mended. */
function registriesOrNone(document: CurrentDocument | undefined): ReadonlyMap<string, Credential> {
  try {
    return document?.registries() ?? new Map()
  } catch {
    return new Map()
  }
}

function holds(registries: ReadonlyMap<string, Credential>, registry: string, { username, password }: Credential): boolean {
  const held = registries.get(registry)
  return held?.username === username && held.password.reveal() === password.reveal()
}

/**
 * The same for the same step from the same version, so that a repeat of a command whose answer was lost makes no second version. It becomes the public
 * version id, and stands in CloudTrail: a plain digest would let anybody try out passwords on it. So the document before is its salt, which
 * nobody knows who does not know a credential already, and scrypt makes each try cost a tenth of a second.
 */
function requestToken({ current, content, basedOn, secretId }: SecretPlan): string | undefined {
  if (current.reveal() === '') return undefined
  return scryptSync(`${secretId}\n${basedOn ?? ''}\n${content.reveal()}`, current.reveal(), 32, { N: 2 ** 15, maxmem: 2 ** 26 }).toString('hex')
}

/** Secrets Manager has no compare-and-set: whoever put a version in the last instant is found as AWSPREVIOUS. */
async function overwritten(plan: SecretPlan, previous: () => Promise<GetSecretValueCommandOutput | string>): Promise<Warning[]> {
  if (plan.basedOn === undefined) return []
  try {
    const answer = await previous()
    if (typeof answer === 'string' || answer.VersionId === plan.basedOn) return []
    return [{ code: 'W_OVERWRITTEN', message: `somebody else put version ${answer.VersionId ?? 'unknown'} in the same instant, and this one took its place: compare them (the other is AWSPREVIOUS)` }]
  } catch {
    return [] // the version is put; whether there was another can be seen in the console too
  }
}
