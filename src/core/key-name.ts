/*
 * Which names of a document may be shown. A member's name is no secret by rights, but people paste tokens into the wrong box of a console
 * (`{"ghp_…":""}`) or write `{"user:password": …}`. So a name is shown only when it reads as a word or as a registry; any other by its length.
 */

/** One step of a key path: a member's name or an index of a list. */
export type PathPart = string | number

/** A name for a message: in double quotes, or told by its length where it could be a credential. */
export function shownName(name: string): string {
  return isTame(name) ? `"${name}"` : `(a name of ${name.length} characters)`
}

/** A registry's canonical name for a message about what is wrong with it. */
export function shownRegistry(registry: string): string {
  return isTame(registry) ? registry : shownName(registry)
}

/** A key of an ecs.config, as it stands or not at all; `:` or `@` at its end is how a path key is given its boundary. */
export function shownKey(key: string): string {
  return isTame(key.replace(/[:@]$/, '')) ? key : '[redacted]'
}

/** Names for a message, few enough to read. */
export function shownNames(names: readonly string[]): string {
  const rest = names.length - MAX_NAMES
  return names.slice(0, MAX_NAMES).map(shownName).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}

/** `auths["registry.example.com"].auth`, `[0].username`: where in a document, without the names that could be a credential. */
export function keyPath(parts: readonly PathPart[]): string {
  return parts.map((part) => {
    if (typeof part === 'number') return `[${part}]`
    if (!isTame(part)) return `[${part.length} characters]`
    return /^\w+$/.test(part) ? `.${part}` : `["${part}"]`
  }).join('').replace(/^\./, '')
}

/** Whether a name reads as a word or as a registry, and not as something that logs in. */
export function isTame(name: string): boolean {
  return name.length <= MAX_LENGTH && (isWordy(name) || isRegistryLike(name))
}

const MAX_NAMES = 12
const MAX_LENGTH = 100

const VOCABULARY = new Set((
  'access account accessor address admin api app arn artifactory auth auths aws azure basic bearer ci client cluster config cred credential credentials creds data database db '
  + 'default description dev docker dockercfg dockerconfigjson ecr ecs email engine expires expiry gcp ghcr git github gitlab harbor headers helpers host hostname http '
  + 'hub id identifier identity image instance jfrog json key kind label login master metadata name namespace nexus note org pass passwd password pat port private prod '
  + 'production project public pull push pwd quay refresh region registries registry repo repository robot role secret serveraddress server service stage staging store '
  + 'string team test token type uri url user username value version dbname accesstoken apikey identitytoken registrytoken credsstore '
  + 'credhelpers httpheaders'
).split(' '))

/**
 * Lower-case words (`user_name`), with capitals and digits only such as the trade has (`dbInstanceIdentifier`, `token2`): a piece of base64 without digits
 * looks much like camel case.
 */
function isWordy(name: string): boolean {
  if (!/^\.?[A-Za-z][A-Za-z0-9]*([ ._-][A-Za-z][A-Za-z0-9]*)*$/.test(name)) return false
  const words = name.replace(/([a-z])([A-Z])/g, '$1 $2').split(/[ ._-]+/).filter((word) => word !== '')
  const isCamel = /[a-z][A-Z]/.test(name)
  return words.length <= 6 && words.every((word) => {
    const bare = word.replace(/\d{1,2}$/, '').toLowerCase()
    return VOCABULARY.has(bare) || (!isCamel && /^[a-z]{1,12}$/.test(word))
  })
}

function isRegistryLike(name: string): boolean {
  if (/^\[[0-9a-fA-F:]{2,39}\](:\d{1,5})?$/.test(name)) return true // IPv6
  const [, host, port, path = ''] = /^(?:https?:\/\/)?([A-Za-z0-9.-]+)(:\d{1,5})?(\/[^\s]*)?$/.exec(name) ?? []
  if (host === undefined || !path.split('/').every(isRepositoryLike)) return false
  const labels = host.split('.')
  if (!labels.every((label) => /^([a-z0-9-]+|[A-Z][a-z0-9-]*|[A-Z0-9-]+)$/.test(label) && isRepositoryLike(label.toLowerCase()))) return false
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(host) || host === 'localhost') return true
  return labels.length > 1 ? /^([A-Z]?[a-z]{1,23}|[A-Z]{2,24})$/.test(labels.at(-1) ?? '') : port !== undefined && /^[a-z]/.test(host)
}

/** One component of a repository's path, in which images are in lower case. A token that slipped in behind a slash is longer or has more digits. */
function isRepositoryLike(part: string): boolean {
  return /^[a-z0-9._-]{0,40}$/.test(part) && part.replace(/\D/g, '').length <= 12 && !/([a-z]+\d+){3}/.test(part)
}
