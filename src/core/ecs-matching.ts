import { decodeGoText, goTrimSpace, isGoField, readGoJson } from './go-json.js'
import type { GoMember, GoValue } from './go-json.js'
import { Redacted } from './redacted.js'
import { shownKey } from './key-name.js'

/*
 * Which credential the ECS agent uses for an image: a port of its agent/dockerclient/dockerauth/dockerauth.go (unchanged since 2018), its quirks
 * included, held against what 1.105.1 did (test/core/fixtures). Where that code ranges over a Go map the order is random, so this gives every outcome.
 */

/** What the ECS agent sends to Docker for one registry key. */
export type AgentEntry = {
  /** As written in the document, scheme included. */
  readonly key: string
  readonly username: string
  readonly password: Redacted<string>
  /** Tokens and server address: only the `docker` type carries them; empty otherwise. */
  readonly identityToken: Redacted<string>
  readonly registryToken: Redacted<string>
  readonly serverAddress: string
  /** A `docker` type entry has `auth`, which the ECS agent forwards and dockerd does not look at. */
  readonly authIgnored: boolean
  /** Nothing in it that dockerd would log in with: the pull is anonymous. */
  readonly anonymous: boolean
}

/** ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA as the ECS agent understands them. */
export type EngineAuth = {
  /** Trimmed; empty where unset. */
  readonly type: string
  /** By key without its scheme. Of keys that are equal then, the one written first; `collisions` has them all. */
  readonly entries: ReadonlyMap<string, AgentEntry>
  /** Keys that are equal without their scheme: which one wins is random at each start of the ECS agent. */
  readonly collisions: ReadonlyMap<string, readonly AgentEntry[]>
  /** In the words of the ECS agent's log. They name registries, never values. */
  readonly warnings: readonly string[]
  /** There is a document and the ECS agent takes nothing from it: every pull is anonymous. */
  readonly dropped: boolean
}

/** What the ECS agent would use for an image. */
export type Choice = {
  /** As written. Undefined: no entry, the pull is anonymous. Where the choice is random, one of `possible`. */
  readonly key: string | undefined
  readonly entry: AgentEntry | undefined
  /** Whether every possible outcome logs in the same way. */
  readonly deterministic: boolean
  /** Every key, as written, that the ECS agent may pick, sorted. */
  readonly possible: readonly string[]
  /** Why, as a clause for an operator. */
  readonly reason: string
}

/** The key of Docker Hub, without its scheme: the only one that the ECS agent looks up for a Hub image. */
export const hubKey = 'index.docker.io/v1/'

const HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

/** The two values as the ECS agent's configuration and dockerauth read them. Never throws: the ECS agent does not stop at bad credentials either. */
export function parseEngineAuth(type: string | undefined, data: string | undefined): EngineAuth {
  const trimmed = goTrimSpace(type ?? '')
  const document = readDocument(trimmed, data ?? '')
  const entries = new Map<string, AgentEntry>()
  const contenders = new Map<string, AgentEntry[]>()
  for (const entry of document.entries) {
    const stripped = stripScheme(entry.key)
    if (!entries.has(stripped)) entries.set(stripped, entry)
    contenders.set(stripped, [...(contenders.get(stripped) ?? []), entry])
  }
  const collisions = new Map([...contenders].filter(([, all]) => all.length > 1))
  return { type: trimmed, entries, collisions, warnings: document.warnings, dropped: document.dropped }
}

/** Which entry the ECS agent uses for `image`, written as in a task definition: `nginx`, `r.tld:5000/team/app:1`, `r.tld/app@sha256:…`. */
export function chooseEntry(auth: EngineAuth, image: string): Choice {
  const registry = imageRegistry(image)
  const { keys, reason } = registry === undefined ? chooseHubKey(auth) : chooseKeys([...auth.entries.keys()], registry, image)
  const outcomes = keys.flatMap((key) => auth.collisions.get(key) ?? auth.entries.get(key) ?? [])
    .sort((a, b) => (a.key < b.key ? -1 : 1))
  const [entry] = outcomes
  const collided = keys.length === 1 && outcomes.length > 1
  return {
    key: entry?.key,
    entry,
    deterministic: outcomes.every((other) => entry !== undefined && sameLogin(entry, other)),
    possible: outcomes.map(({ key }) => key),
    reason: collided ? 'random: these keys are equal without their scheme, and which one wins changes with each start of the ECS agent' : reason,
  }
}

/** The registry of an image as the ECS agent splits it, or undefined for Docker Hub. */
export function imageRegistry(image: string): string | undefined {
  const colon = image.lastIndexOf(':')
  const repository = colon >= 0 && !image.includes('/', colon) ? image.slice(0, colon) : image
  const slash = repository.indexOf('/')
  if (slash < 0) return undefined
  const first = repository.slice(0, slash)
  return (/[.:]/.test(first) || first === 'localhost') && !HUB_HOSTS.has(first) ? first : undefined
}

/** Whether the ECS agent would log in the same way for every image, on every start. Random winners make it false. */
export function sameMeaning(a: EngineAuth, b: EngineAuth): boolean {
  if (a.dropped !== b.dropped || a.collisions.size > 0 || b.collisions.size > 0 || a.entries.size !== b.entries.size) return false
  return [...a.entries].every(([key, entry]) => {
    const other = b.entries.get(key)
    return other !== undefined && sameLogin(entry, other)
  })
}

type Keys = { readonly keys: readonly string[]; readonly reason: string }

function chooseHubKey(auth: EngineAuth): Keys {
  if (auth.entries.has(hubKey)) return { keys: [hubKey], reason: `an image of Docker Hub: the ECS agent looks up https://${hubKey} only` }
  return { keys: [], reason: `an image of Docker Hub, and there is no key https://${hubKey}, the only one that the ECS agent looks up for it` }
}

/**
 * The host's own key is the start. Without it, whichever key of the host comes first is taken, even one for another path (Go's map order: random at
 * each call). Then any key that is longer and begins the image's text takes over, path boundary or not.
 */
function chooseKeys(all: readonly string[], registry: string, image: string): Keys {
  const ofHost = all.filter((key) => key.split('/', 1)[0] === registry)
  const prefixes = ofHost.filter((key) => image.startsWith(key)).sort((a, b) => b.length - a.length)
  const longest = prefixes[0]
  if (ofHost.includes(registry)) {
    const key = longest ?? registry
    return { keys: [key], reason: key === registry ? 'the key of the image\'s registry' : 'the longest key that the image begins with' }
  }
  if (ofHost.length === 0) return { keys: [], reason: `no key for the registry ${registry}: the pull is anonymous` }
  const keys = ofHost.filter((key) => longest === undefined || key === longest || byteLength(key) >= byteLength(longest))
  if (keys.length > 1) {
    return { keys, reason: `random at each pull: ${registry} has path keys but no key of its own, and then the ECS agent may start from any of them` }
  }
  if (longest === undefined) return { keys, reason: `the only key of ${registry}: the ECS agent takes it whatever its path` }
  return { keys, reason: 'the longest key that the image begins with' }
}

function byteLength(text: string): number {
  return Buffer.byteLength(text) // Go's len() counts bytes
}

type Document = { readonly entries: readonly AgentEntry[]; readonly warnings: readonly string[]; readonly dropped: boolean }

function readDocument(type: string, data: string): Document {
  if (type === '') return { entries: [], warnings: [], dropped: goTrimSpace(data) !== '' }
  if (type !== 'docker' && type !== 'dockercfg') return { entries: [], warnings: [`Unknown auth configuration: ${shownType(type)}`], dropped: true }
  const members = registryMembers(readGoJson(data), type === 'docker' ? DOCKER_FIELDS : ['auth'])
  if (!members) return { entries: [], warnings: [`Could not parse '${type}' type auth config`], dropped: true }
  const warnings: string[] = []
  const entries: AgentEntry[] = []
  for (const [key, fields] of members) {
    const entry = type === 'docker' ? dockerEntry(key, fields) : dockercfgEntry(key, fields.get('auth') ?? '')
    if (typeof entry === 'string') warnings.push(entry)
    else entries.push(entry)
  }
  return { entries, warnings, dropped: false }
}

/** The ECS agent prints the whole type. Somebody may have pasted the data there, so this prints only what can be a mistyped name. */
function shownType(type: string): string {
  return /^["']?[a-z]{1,12}["']?$/i.test(type) ? type : '[redacted]'
}

const DOCKER_FIELDS = ['username', 'password', 'auth', 'email', 'serveraddress', 'identitytoken', 'registrytoken']

type Fields = ReadonlyMap<string, string>

/** Each registry's string fields; undefined where json.Unmarshal would fail: one field of the wrong type anywhere loses the whole map. */
function registryMembers(document: GoValue | undefined, names: readonly string[]): ReadonlyMap<string, Fields> | undefined {
  if (document === null) return new Map()
  if (!Array.isArray(document)) return undefined
  const registries = new Map<string, Fields>()
  for (const [key, value] of document as readonly GoMember[]) {
    const fields = stringFields(value, names)
    if (!fields) return undefined
    registries.set(key, fields) // of a repeated key the last entry, and nothing of the ones before
  }
  return registries
}

function stringFields(value: GoValue, names: readonly string[]): Fields | undefined {
  const fields = new Map<string, string>()
  if (value === null) return fields
  if (!Array.isArray(value)) return undefined
  for (const [name, content] of value as readonly GoMember[]) {
    const field = names.find((known) => isGoField(name, known))
    if (field === undefined || content === null) continue // null leaves what a repeated field had before
    if (typeof content !== 'string') return undefined
    fields.set(field, content)
  }
  return fields
}

function dockerEntry(key: string, fields: Fields): AgentEntry {
  const [username, password, identityToken, registryToken] =
    ['username', 'password', 'identitytoken', 'registrytoken'].map((name) => fields.get(name) ?? '') as [string, string, string, string]
  return {
    key,
    username,
    password: new Redacted(password),
    identityToken: new Redacted(identityToken),
    registryToken: new Redacted(registryToken),
    serverAddress: fields.get('serveraddress') ?? '',
    authIgnored: (fields.get('auth') ?? '') !== '',
    anonymous: username + password + identityToken + registryToken === '',
  }
}

/** The entry, or the ECS agent's warning. */
function dockercfgEntry(key: string, auth: string): AgentEntry | string {
  const bytes = decodeGoBase64(auth)
  if (!bytes) return `Malformed auth data for registry ${shownKey(key)}`
  const text = decodeGoText(bytes)
  const colon = text.indexOf(':')
  if (colon < 0) return `Malformed auth data for registry ${shownKey(key)}; must contain ':'`
  return dockerEntry(key, new Map([['username', text.slice(0, colon)], ['password', text.slice(colon + 1)]]))
}

/** Go's base64.StdEncoding: padding wanted, line ends skipped, unused trailing bits tolerated; undefined where it fails. */
function decodeGoBase64(text: string): Uint8Array | undefined {
  const compact = text.replace(/[\r\n]/g, '')
  return compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact) ? Buffer.from(compact, 'base64') : undefined
}

function stripScheme(key: string): string {
  return key.replace(/^https?:\/\//, '')
}

/** Whether dockerd gets the same from both. The server address is left out: dockerd takes the registry from the image. */
export function sameLogin(a: AgentEntry, b: AgentEntry): boolean {
  return a.username === b.username
    && a.password.reveal() === b.password.reveal()
    && a.identityToken.reveal() === b.identityToken.reveal()
    && a.registryToken.reveal() === b.registryToken.reveal()
}
