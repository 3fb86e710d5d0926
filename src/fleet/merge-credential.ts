/** One registry's new login in a secret's document, in the document's own shape; everything else of it stays as it was. */
import { decodeBase64, encodeBase64 } from '../core/base64.js'
import { parseJson, type JsonNode, type JsonObject } from '../core/json.js'
import type { Credential, Registries } from '../core/credential.js'
import { membersNamed, PASSWORD_NAMES, REGISTRY_NAMES, USERNAME_NAMES } from '../core/registry-entry.js'
import { canonicalRegistry } from '../core/registry-name.js'
import { ServiceError } from '../errors.js'
import { addMember, readValue, replaceValue } from './splice-json.js'

/** `registries`: `{"HOST":{"username","password"}}`. `docker`: `{"auths":{"HOST":{"auth"}}}`. `plain`: `{"username","password"}`, as repositoryCredentials reads it. */
export type Shape = 'registries' | 'docker' | 'plain'

export type Merged = {
  readonly text: string
  /** What the document is, for a person: `a docker config.json`. */
  readonly shape: string
  readonly change: 'created' | 'replaced' | 'added' | 'converted'
  /** The document itself does not say which registry it is for. */
  readonly namesNoRegistry: boolean
}

/** A document as it stands. `registries` understands it, and throws what is wrong with it: only a change of shape needs that. */
export type CurrentDocument = { readonly text: string; readonly source: string; readonly registries: () => Registries }

/**
 * @param current undefined for a secret without a value
 * @param registry canonical name
 * @param shape the shape that the document is to have; its own where undefined
 * @throws {ServiceError} what is wrong with the document; E_CONFLICT where it has no place for this registry
 */
export function mergeCredential(current: CurrentDocument | undefined, registry: string, credential: Credential, shape: Shape | undefined): Merged {
  if (current === undefined || isBlank(current.text)) {
    return { ...render(new Map([[registry, credential]]), shape ?? 'registries', ''), change: 'created' }
  }
  const found = recognise(current)
  if (shape !== undefined && found.kind !== shape) {
    return { ...render(new Map([...current.registries(), [registry, credential]]), shape, current.source), change: 'converted' }
  }
  switch (found.kind) {
    case 'docker': return mergeMap(current, found.map, registry, credential, 'auth', 'a docker config.json')
    case 'registries': return mergeMap(current, found.map, registry, credential, 'pair', 'a map of registries')
    case 'list': return mergeList(current, found.list, registry, credential)
    case 'plain': return mergePlain(current, found.object, registry, credential)
    case 'text': return mergeText(current, credential)
    case 'wrapped': return mergeWrapped(current, found.wrapping, registry, credential)
  }
}

function isBlank(text: string): boolean {
  return /^\s*(\{\s*\})?\s*$/.test(text)
}

type Recognised =
  | { readonly kind: 'docker' | 'registries'; readonly map: JsonObject }
  | { readonly kind: 'list'; readonly list: JsonNode & { readonly type: 'array' } }
  | { readonly kind: 'plain'; readonly object: JsonObject }
  | { readonly kind: 'text' }
  | { readonly kind: 'wrapped'; readonly wrapping: Wrapping | undefined }

/** A document that stands inside of another as text, and the way back. Undefined where there is none that can be told. */
type Wrapping = { readonly what: string; readonly inner: string; readonly wrap: (inner: string) => string }

function recognise({ text, source }: CurrentDocument): Recognised {
  if (!/^\s*[[{"]/.test(text)) return isWrapped(text) ? { kind: 'wrapped', wrapping: unwrapText(text) } : { kind: 'text' }
  return recogniseNode(text, parseJson({ source, text }))
}

function recogniseNode(text: string, root: JsonNode): Recognised {
  if (root.type === 'array') return { kind: 'list', list: root }
  if (root.type === 'string') return { kind: 'wrapped', wrapping: { what: 'a JSON string', inner: root.value, wrap: (inner) => replaceValue(text, root, inner) } }
  if (root.type !== 'object') return { kind: 'wrapped', wrapping: undefined }
  const held = kubernetesDocument(root)
  if (held?.type === 'object') return recogniseNode(text, held)
  if (held?.type === 'string') return { kind: 'wrapped', wrapping: { what: 'a Kubernetes secret', inner: held.value, wrap: (inner) => replaceValue(text, held, inner) } }
  const [auths] = membersNamed(root, ['auths'])
  if (auths?.type === 'object') return { kind: 'docker', map: auths }
  const credentials = root.members.get('credentials')
  if (credentials?.type === 'array') return { kind: 'list', list: credentials }
  if (held !== undefined || root.members.has('kind')) return { kind: 'wrapped', wrapping: undefined }
  if (membersNamed(root, LOGIN_NAMES).some(({ type }) => type === 'string')) return { kind: 'plain', object: root }
  return { kind: 'registries', map: root }
}

/** Where a Kubernetes secret, or a bare copy of its data, holds the document: the place that credential-document reads. */
function kubernetesDocument(root: JsonObject): JsonNode | undefined {
  const holders = [root.members.get('stringData'), root.members.get('data'), root].filter((holder) => holder?.type === 'object')
  return holders.map(({ members }) => members.get('.dockerconfigjson') ?? members.get('.dockercfg')).find((node) => node !== undefined)
}

function unwrapText(text: string): Wrapping | undefined {
  // Of a repeated name the last line counts.
  const line = [...text.matchAll(/^[ \t]*ECS_ENGINE_AUTH_DATA=([^\r\n]*)/gm)].at(-1)
  if (line !== undefined) {
    const [whole, inner = ''] = line
    const end = line.index + whole.length
    return { what: 'an ecs.config', inner, wrap: (value) => text.slice(0, end - inner.length) + value + text.slice(end) }
  }
  const decoded = decodeBase64(text.trim())
  return decoded.ok ? { what: 'base64', inner: Buffer.from(decoded.bytes).toString().replace(/^\uFEFF/, ''), wrap: (inner) => encodeBase64(inner) + (/\s*$/.exec(text)?.[0] ?? '') } : undefined
}

function mergeWrapped(current: CurrentDocument, wrapping: Wrapping | undefined, registry: string, credential: Credential): Merged {
  // Plain text in there may be of many registries all the same: an ecs.config with quotes round its value.
  if (wrapping === undefined || (!isBlank(wrapping.inner) && recognise({ ...current, text: wrapping.inner }).kind === 'text')) throw wrappedError(current.source)
  const { what, inner, wrap } = wrapping
  const merged = mergeCredential({ ...current, text: inner }, registry, credential, isBlank(inner) ? 'docker' : undefined)
  return { ...merged, text: wrap(merged.text), shape: `${merged.shape} in ${what}` }
}

/** Text that is no JSON, and yet a document of many registries: an ecs.config, or the base64 of JSON. A login put in its place would take theirs away. */
export function isWrapped(text: string): boolean {
  if (/^[ \t]*(export +)?ECS_ENGINE_AUTH_(TYPE|DATA)[ \t]*=/m.test(text)) return true
  const decoded = decodeBase64(text.trim())
  return decoded.ok && /^\uFEFF?\s*[{["]/.test(Buffer.from(decoded.bytes).toString())
}

function mergeMap(current: CurrentDocument, map: JsonObject, registry: string, credential: Credential, fallback: Style, shape: string): Merged {
  const entries = [...map.members].filter((entry): entry is [string, JsonObject] => entry[1].type === 'object')
  // Two names of one registry (docker.io and index.docker.io) hold one login, or the document is in conflict with itself.
  const own = entries.filter(([key]) => isNameOf(key, registry))
  const model = entries.find(([, entry]) => loginNames(entry).length > 0)?.[1]
  let { text } = current
  // From the end, so that the offsets before stay right.
  for (const [, entry] of own.toReversed()) text = replaceValue(text, entry, entryLike(current.text, entry, model, credential, fallback))
  if (own.length === 0) text = addMember(text, map, registry, entryLike(current.text, undefined, model, credential, fallback))
  return { text, shape, change: own.length > 0 ? 'replaced' : 'added', namesNoRegistry: false }
}

function mergeList(current: CurrentDocument, list: JsonNode & { readonly type: 'array' }, registry: string, credential: Credential): Merged {
  const items = list.items.filter((item) => item.type === 'object')
  const registryOf = (item: JsonObject | undefined): JsonNode | undefined => (item && membersNamed(item, REGISTRY_NAMES)[0])
  const own = items.filter((item) => {
    const name = registryOf(item)
    return name?.type === 'string' && isNameOf(name.value, registry)
  })
  let { text } = current
  for (const item of own.toReversed()) text = replaceValue(text, item, entryLike(current.text, item, items[0], credential, 'pair'))
  const member = registryOf(items[0])?.name ?? 'registry'
  if (own.length === 0) text = addMember(text, list, undefined, { [member]: registry, ...entryLike(current.text, undefined, items[0], credential, 'pair') })
  return { text, shape: 'a list of registries', change: own.length > 0 ? 'replaced' : 'added', namesNoRegistry: false }
}

function mergePlain(current: CurrentDocument, object: JsonObject, registry: string, credential: Credential): Merged {
  const [named] = membersNamed(object, REGISTRY_NAMES)
  if (named?.type === 'string' && !isNameOf(named.value, registry)) {
    throw new ServiceError('E_CONFLICT', `${current.source}: holds one login, for another registry, and has no place for ${registry}`, {
      source: current.source, fix: 'say --shape registries to make a map of registries of it, or put this one into a secret of its own (REGCRED_SECRET_ID takes several)',
    })
  }
  return {
    text: replaceValue(current.text, object, entryLike(current.text, object, undefined, credential, 'pair')),
    shape: named === undefined ? 'one login that names no registry' : 'one login', change: 'replaced', namesNoRegistry: named === undefined,
  }
}

function mergeText(current: CurrentDocument, credential: Credential): Merged {
  current.registries() // text that is no credential is not ours to replace
  const login = `${credential.username}:${credential.password.reveal()}`
  const text = current.text.includes(':') ? login : Buffer.from(login).toString('base64')
  return { text, shape: 'plain text', change: 'replaced', namesNoRegistry: true }
}

type Style = 'auth' | 'pair'

const LOGIN_NAMES = ['auth', ...USERNAME_NAMES, ...PASSWORD_NAMES]
const TOKEN_NAMES = ['identitytoken', 'registrytoken']

/** The names of its login as the entry spells them: the hosts read them in any case of their letters. */
function loginNames(entry: JsonObject): string[] {
  return [...entry.members.keys()].filter((name) => LOGIN_NAMES.includes(name.toLowerCase()))
}

/** The entry with the new login under the names it has, or those of its neighbour; what is not a login stays. Identity tokens go: they would be the old login. */
function entryLike(text: string, entry: JsonObject | undefined, neighbour: JsonObject | undefined, credential: Credential, fallback: Style): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const [name, node] of entry?.members ?? []) {
    if (![...TOKEN_NAMES, ...LOGIN_NAMES].includes(name.toLowerCase())) kept[name] = readValue(text, node)
  }
  const names = (entry && loginNames(entry).length > 0 ? loginNames(entry) : neighbour && loginNames(neighbour)) ?? []
  const spelt = (wanted: readonly string[]): string | undefined => names.find((name) => wanted.includes(name.toLowerCase()))
  const [auth, user, password] = [spelt(['auth']), spelt(USERNAME_NAMES), spelt(PASSWORD_NAMES)]
  const withAuth = auth !== undefined || (user === undefined && password === undefined && fallback === 'auth')
  if (withAuth) kept[auth ?? 'auth'] = authOf(credential)
  if (!withAuth || user !== undefined || password !== undefined) {
    kept[user ?? 'username'] = credential.username
    kept[password ?? 'password'] = credential.password.reveal()
  }
  return kept
}

function authOf({ username, password }: Credential): string {
  return Buffer.from(`${username}:${password.reveal()}`).toString('base64')
}

function isNameOf(name: string, registry: string): boolean {
  try {
    return canonicalRegistry(name) === registry
  } catch {
    return false
  }
}

function render(registries: Registries, shape: Shape, source: string): Omit<Merged, 'change'> {
  const entries = [...registries]
  const pair = ({ username, password }: Credential): Record<string, string> => ({ username, password: password.reveal() })
  switch (shape) {
    case 'registries':
      return { text: JSON.stringify(Object.fromEntries(entries.map(([name, credential]) => [name, pair(credential)]))), shape: 'a map of registries', namesNoRegistry: false }
    case 'docker':
      return { text: JSON.stringify({ auths: Object.fromEntries(entries.map(([name, credential]) => [name, { auth: authOf(credential) }])) }), shape: 'a docker config.json', namesNoRegistry: false }
    case 'plain': {
      const [first, ...others] = entries
      if (first === undefined || others.length > 0) {
        throw new ServiceError('E_CONFLICT', `${source}: holds ${entries.map(([name]) => name).join(', ')}: the plain shape has room for one login`, { fix: '--shape registries' })
      }
      return { text: JSON.stringify(pair(first[1])), shape: 'one login that names no registry', namesNoRegistry: true }
    }
  }
}

function wrappedError(source: string): ServiceError {
  return new ServiceError('E_UNKNOWN_SHAPE', `${source}: is a document inside of another (a Kubernetes secret, an ecs.config) in a way that cannot be edited in place`, {
    source, fix: 'say --shape docker or --shape registries to write it anew in that shape, with every registry it holds',
  })
}
