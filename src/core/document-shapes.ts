import type { ServiceError } from '../errors.js'
import type { Credential } from './credential.js'
import { refusal, warn } from './document-context.js'
import type { DocumentContext } from './document-context.js'
import type { JsonArray, JsonNode, JsonObject } from './json.js'
import { isTame, shownName, shownNames, shownRegistry } from './key-name.js'
import { ACCEPTED_SHAPES, registryOfSetting, registryRequired } from './plain-credential.js'
import { membersNamed, noAuth, onlyMember, PASSWORD_NAMES, readEntry, REGISTRY_NAMES, stringMember, USERNAME_NAMES, wrongType } from './registry-entry.js'
import { canonicalRegistry, leftOut } from './registry-name.js'

/** A registry as a document names it, with what it holds. */
export type NamedCredential = { readonly registry: string; readonly credential: Credential; readonly node: JsonNode }

/** What a JSON value turned out to be: entries, or a text that is a document of its own. */
export type Shape = { readonly entries: readonly NamedCredential[] } | { readonly text: string; readonly within: JsonNode }

/**
 * Which of the accepted shapes a value has, and the entries in it.
 * @throws {ServiceError} E_UNKNOWN_SHAPE for none of them; whatever is wrong with an entry
 */
export function readShape(context: DocumentContext, root: JsonNode): Shape {
  if (root.type === 'string') return { text: root.value, within: root }
  if (root.type === 'array') return { entries: readList(context, root) }
  if (root.type !== 'object') throw unknownShape(context, root)
  const wrapped = kubernetesDocument(context, root)
  if (wrapped?.type === 'string') return { text: wrapped.value, within: wrapped }
  if (wrapped) return readShape(context, wrapped)
  const auths = onlyMember(context, root, ['auths']) // in any case of its letters: docker is Go
  if (auths) return { entries: readConfig(context, root, auths) }
  const list = root.members.get('credentials')
  if (list?.type === 'array') return { entries: readList(context, list) }
  if (isFlat(root)) return { entries: [readFlat(context, root)] }
  return { entries: readBareMap(context, root) }
}

// What people store instead, and how to get what is meant.
const ONE_SECRET = 'store one Secret alone: kubectl get secret NAME -o json'
const UNQUOTED = 'it holds JSON as text: write the object itself, without the quotes round it and the backslashes in it'

const KUBERNETES_NAMES = ['.dockerconfigjson', '.dockercfg']

/** The document inside a Kubernetes Secret's `data` or `stringData`, or inside a bare copy of those. */
function kubernetesDocument(context: DocumentContext, root: JsonObject): JsonNode | undefined {
  const holders = [root.members.get('stringData'), root.members.get('data'), root]
  for (const holder of holders) {
    if (holder?.type !== 'object') continue
    const [found, second] = KUBERNETES_NAMES.flatMap((name) => holder.members.get(name) ?? [])
    if (second) throw refusal(context, 'E_ALIAS_CONFLICT', '".dockerconfigjson" and ".dockercfg" are both there; keep one', 'keep one of the two', second)
    if (found && found.type !== 'string' && found.type !== 'object') throw wrongType(context, found, 'string')
    if (found) return found
  }
  return undefined
}

/** docker's config.json: `auths`, beside much that is nothing to us. */
function readConfig(context: DocumentContext, root: JsonObject, auths: JsonNode): NamedCredential[] {
  if (auths.type !== 'object') throw wrongType(context, auths, 'object', auths.type === 'string' && /^\s*\{/.test(auths.value) ? UNQUOTED : undefined)
  for (const name of ['auths', 'HttpHeaders', 'credHelpers', 'credsStore']) {
    const wrapped = auths.members.get(name)
    if (!wrapped) continue
    throw refusal(context, 'E_WRAPPED', `"${name}" stands inside "auths"; a whole config.json was wrapped in another "auths"`, 'take the outer {"auths": …} away', wrapped)
  }
  return readMap(context, auths, credentialStores(context, root))
}

/** What a docker config.json may hold beside `auths` (docker/cli cli/config/configfile/file.go). */
const DOCKER_CONFIG_NAMES = new Set([
  'auths', 'httpheaders', 'psformat', 'imagesformat', 'networksformat', 'pluginsformat', 'volumesformat', 'statsformat', 'detachkeys', 'credsstore', 'credhelpers',
  'serviceinspectformat', 'servicesformat', 'tasksformat', 'secretformat', 'configformat', 'nodesformat', 'prunefilters', 'proxies', 'currentcontext', 'clipluginsextradirs',
  'plugins', 'aliases', 'features', 'experimental', 'stackorchestrator', 'kubernetes',
])

/** A map of registries without the `auths` round it: `.dockercfg`, and what people write by hand. */
function readBareMap(context: DocumentContext, root: JsonObject): NamedCredential[] {
  const stores = credentialStores(context, root)
  const registries = new Map([...root.members].filter(([name]) => !DOCKER_CONFIG_NAMES.has(name.toLowerCase())))
  if (registries.size === 0) return readMap(context, { ...root, members: registries }, stores)
  // A map of entries, though under names that are no registries, is more likely some other document than a mistyped registry.
  const looksRight = [...registries].some(([name, value]) => (value.type === 'object' || value.type === 'null') && isTame(name) && /[.:]|^localhost/.test(name))
    || [...registries].every(([name, value]) => value.type === 'object' && !isTame(name) && holdsLogin(value))
  if (!looksRight) throw unknownShape(context, root)
  return readMap(context, { ...root, members: registries }, stores)
}

function holdsLogin(value: JsonNode): boolean {
  return value.type === 'object' && membersNamed(value, [...USERNAME_NAMES, ...PASSWORD_NAMES, 'auth']).length > 0
}

/** Which credential store a registry's login went to, as far as the document says. */
type Stores = { readonly store: string | undefined; readonly helpers: ReadonlyMap<string, string> }

function credentialStores(context: DocumentContext, root: JsonObject): Stores {
  const store = stringMember(context, root, ['credsstore'])?.value
  const helpers = onlyMember(context, root, ['credhelpers'])
  if (helpers && helpers.type !== 'object') throw wrongType(context, helpers, 'object')
  const named = [...(helpers?.members ?? [])].flatMap(([name, value]): [string, string][] => (value.type === 'string' ? [[name, value.value]] : []))
  return { store: store === '' ? undefined : store, helpers: new Map(named) }
}

/** Registries by name. One that is in a credential store is left out with a warning where others are usable, and refused where none is. */
function readMap(context: DocumentContext, map: JsonObject, stores: Stores): NamedCredential[] {
  const entries: NamedCredential[] = []
  const stored: { registry: string; helper: string; node: JsonNode }[] = []
  for (const [name, value] of map.members) {
    const registry = registryName(context, name, value)
    if (value.type !== 'object' && value.type !== 'null') throw wrongType(context, value, 'object')
    const credential = value.type === 'object' ? readEntry(context, value, shownRegistry(registry)) : undefined
    const helper = stores.helpers.get(name) ?? stores.store
    if (credential) entries.push({ registry, credential, node: value })
    else if (helper !== undefined) stored.push({ registry: shownRegistry(registry), helper, node: value })
    else throw noAuth(context, shownRegistry(registry), value)
  }
  for (const [name, helper] of stores.helpers) {
    if (!map.members.has(name) && !leftOut(nameOrElse(name))) stored.push({ registry: nameOrElse(name), helper, node: map })
  }
  const [first] = stored
  if (entries.length === 0 && (first || stores.store !== undefined)) throw inStore(context, stored, stores.store ?? '', first?.node ?? map)
  for (const { registry, helper } of stored) {
    warn(context, 'W_CREDS_STORE', `${registry} holds no credential: it is in the ${shownName(helper)} credential store; left out`)
  }
  if (stores.store !== undefined && stored.length === 0) {
    warn(context, 'W_CREDS_STORE', `a credential store (${shownName(stores.store)}) is named beside the credentials; the document's own are used`)
  }
  for (const { registry } of entries.filter(({ node }) => stores.helpers.has(String(node.name)))) {
    warn(context, 'W_CREDS_STORE', `${shownRegistry(registry)}: a credential helper is named for it; the document's own credential is used`)
  }
  return entries
}

function nameOrElse(name: string): string {
  try {
    return shownRegistry(canonicalRegistry(name))
  } catch {
    return shownName(name)
  }
}

function registryName(context: DocumentContext, name: string, node: JsonNode): string {
  try {
    return canonicalRegistry(context.boundaryKeys ? name.replace(/(\/.*)[:@]$/s, '$1') : name, { source: context.source })
  } catch (error) {
    const { message, code, details } = error as ServiceError
    throw refusal(context, code, message.slice(context.source.length + 2), details.fix ?? '', node)
  }
}

function inStore(context: DocumentContext, stored: readonly { registry: string; helper: string }[], store: string, node: JsonNode): Error {
  const [first] = stored
  const others = stored.slice(1, 6).map(({ registry, helper }) => `${registry} (in ${shownName(helper)})`).join(', ')
  const what = first
    ? `config.json names ${first.registry} but holds no credential: it is in the ${credentialStore(first.helper)}`
    : `config.json holds no credential: they are in the ${credentialStore(store)}`
  const more = stored.length > 6 ? ` and ${stored.length - 6} more` : ''
  return refusal(context, 'E_CREDS_STORE', what + (others === '' ? '' : `; likewise: ${others}${more}`),
    `Put it in Secrets Manager, or run on Linux: DOCKER_CONFIG=$(mktemp -d) docker login ${first?.registry ?? 'registry.example.com'}`, node)
}

/** The helpers of docker-credential-helpers, by the system whose store they open. */
const STORE_SYSTEMS: Readonly<Record<string, string>> = { desktop: 'Docker Desktop/macOS', osxkeychain: 'Docker Desktop/macOS', wincred: 'Windows' }

function credentialStore(helper: string): string {
  const system = STORE_SYSTEMS[helper.replace(/\.exe$/, '')]
  return `${shownName(helper)} credential store${system === undefined ? '' : ` (${system})`}`
}

/** A list of entries that name their registries themselves. */
function readList(context: DocumentContext, list: JsonArray): NamedCredential[] {
  return list.items.map((item) => {
    if (item.type !== 'object') throw wrongType(context, item, 'object')
    return readFlat(context, item)
  })
}

/** A database's secret has a host, a username and a password as well, and is no registry's. */
const DATABASE_NAMES = ['engine', 'dbname', 'dbinstanceidentifier', 'dbclusteridentifier', 'masterarn', 'port']

/** One entry by itself: `{"username", "password"}`, with its registry or without. */
function isFlat(root: JsonObject): boolean {
  const has = (names: readonly string[]) => membersNamed(root, names).some(({ type }) => type !== 'object')
  if (has(DATABASE_NAMES)) return false
  const known = [...REGISTRY_NAMES, ...USERNAME_NAMES, ...PASSWORD_NAMES, 'auth', 'identitytoken', 'registrytoken', 'email']
  const whole = has(['auth']) || (has(USERNAME_NAMES) && has(PASSWORD_NAMES))
  const partly = has([...USERNAME_NAMES, ...PASSWORD_NAMES]) || (has(REGISTRY_NAMES) && has(['identitytoken', 'registrytoken']))
  return whole || (partly && [...root.members.keys()].every((name) => known.includes(name.toLowerCase())))
}

function readFlat(context: DocumentContext, object: JsonObject): NamedCredential {
  const named = stringMember(context, object, REGISTRY_NAMES)
  const registry = named !== undefined ? registryName(context, named.value, named) : context.registry !== undefined ? registryOfSetting(context, context.registry) : undefined
  if (registry === undefined) {
    if (!holdsLogin(object)) throw noAuth(context, 'an entry', object)
    throw registryRequired(context, object)
  }
  const credential = readEntry(context, object, shownRegistry(registry))
  if (!credential) throw noAuth(context, shownRegistry(registry), object)
  return { registry, credential, node: object }
}

function unknownShape(context: DocumentContext, root: JsonNode): Error {
  const what = root.type === 'object' ? 'an object of no shape that is known' : `a ${root.type}`
  const isList = root.type === 'object' && root.members.get('items')?.type === 'array'
  return refusal(context, 'E_UNKNOWN_SHAPE', `holds no credential document but ${isList ? 'a list of Kubernetes objects' : what}${membersSeen(root)}`,
    isList ? ONE_SECRET : ACCEPTED_SHAPES, root)
}

/** `; it has "user", "docker"`: the names of an object's members, for a message. */
export function membersSeen(root: JsonNode): string {
  const names = root.type === 'object' ? [...root.members] : []
  // `{"TOKEN": ""}`: a credential pasted into the box for the name.
  const shown = names.filter(([, value]) => value.type !== 'null' && !(value.type === 'string' && value.value.trim() === '')).map(([name]) => name)
  const hidden = names.length - shown.length
  return shown.length > 0 ? `; it has ${shownNames(shown)}` : hidden > 0 ? '; its members have names without values' : ''
}
