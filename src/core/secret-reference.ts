import { ServiceError } from '../errors.js'

/** Which secret, and which of its versions: what `REGCRED_SECRET_ID` says of one secret. */
export type SecretReference = {
  /** Name or ARN, as Secrets Manager takes it: without the suffix. */
  readonly secretId: string
  /** For messages: the name, or what stands for it in the ARN, its six random characters included. */
  readonly name: string
  /** The ARN's region; a name has none. */
  readonly region: string | undefined
  /** Member of the document that holds the credential. */
  readonly jsonKey: string | undefined
  /** AWSCURRENT unless the reference names another stage or nothing but a version id. */
  readonly versionStage: string | undefined
  readonly versionId: string | undefined
}

const ARN = /^arn:aws[a-z0-9-]*:secretsmanager:([a-z0-9-]+):\d{12}:secret:([A-Za-z0-9/_+=.@!-]+)(?::([^:]*):([^:]*):([^:]*))?$/
const NAME = /^[A-Za-z0-9/_+=.@!-]{1,512}$/

/**
 * `prod/registry`, an ARN of any partition, or the form that ECS task definitions use: `ARN:json-key:version-stage:version-id`, each of the
 * three may be empty. A stage and an id together are taken as GetSecretValue takes them: that stage must be on that version.
 * @throws {ServiceError} E_SETTINGS
 */
export function parseSecretReference(text: string): SecretReference {
  const refuse = (why: string, fix?: string): ServiceError => new ServiceError('E_SETTINGS', `secret id ${text}: ${why}`, { fix })
  if (!text.startsWith('arn:')) {
    if (text.includes(':')) throw refuse('a name has no ":"', 'write the whole ARN before :json-key:version-stage:version-id')
    if (!NAME.test(text)) throw refuse('a name is made of letters, digits and /_+=.@-')
    return { secretId: text, name: text, region: undefined, jsonKey: undefined, versionStage: 'AWSCURRENT', versionId: undefined }
  }
  const match = ARN.exec(text)
  if (match === null) {
    const service = text.split(':')[2]
    if (service !== 'secretsmanager') throw refuse(`it is an ARN of "${service ?? ''}", not of secretsmanager`)
    const colons = text.split(':').length - 1
    if (colons > 6 && colons !== 9) throw refuse('after the ARN stand all three of :json-key:version-stage:version-id', 'leave a part empty, keep its colon: ARN:json-key::')
    throw refuse('it is not the ARN of a secret', 'write arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX')
  }
  const [, region = '', name = '', jsonKey, stage, versionId] = match
  if (stage === 'AWSPENDING') {
    throw refuse('AWSPENDING is what a rotation has not tried yet; a registry may not know it', 'leave the version stage empty: it means AWSCURRENT')
  }
  if (versionId && !/^[A-Za-z0-9-]{32,64}$/.test(versionId)) throw refuse('a version id has 32 to 64 letters, digits and "-"')
  return {
    secretId: text.split(':').slice(0, 7).join(':'),
    name,
    region,
    jsonKey: jsonKey || undefined,
    versionStage: stage || (versionId ? undefined : 'AWSCURRENT'),
    versionId: versionId || undefined,
  }
}
