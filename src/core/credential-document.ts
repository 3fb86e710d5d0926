import { ServiceError } from '../errors.js'
import { decodeBase64 } from './base64.js'
import type { Credential, Registries, Warning } from './credential.js'
import { refusal } from './document-context.js'
import type { DocumentContext } from './document-context.js'
import { membersSeen, readShape } from './document-shapes.js'
import type { NamedCredential } from './document-shapes.js'
import { decodeDocument } from './document-text.js'
import { parseJson, pathOf } from './json.js'
import type { JsonNode } from './json.js'
import { shownName, shownRegistry } from './key-name.js'
import { checkLogin } from './login.js'
import { ACCEPTED_SHAPES, readPlainCredential, registryOfSetting, registryRequired } from './plain-credential.js'

export type DocumentOptions = {
  /** Names the origin in messages, e.g. `secret prod/registry (version 3f2a9c01)`. */
  readonly source: string
  /** For a document that names no registry. */
  readonly registry?: string | undefined
  /** For a document that is a bare token. */
  readonly username?: string | undefined
  /** Keeps a final newline of a password, which is otherwise taken for `echo`'s. */
  readonly keepNewline?: boolean
  /** The member that holds the document, as ECS users write it behind a secret's ARN. */
  readonly jsonKey?: string | undefined
  /** A document without entries is no error. */
  readonly allowEmpty?: boolean
  /** Largest document taken, in bytes; 65,536 by default, the limit of a secret. */
  readonly maxBytes?: number
}

export type ParsedDocument = { readonly registries: Registries; readonly warnings: readonly Warning[] }

/**
 * The registries and credentials of a document of any accepted shape.
 * @throws {ServiceError} saying where and what to do, and never a piece of the document but names that cannot be credentials
 */
export function parseCredentialDocument(content: Uint8Array, options: DocumentOptions): ParsedDocument {
  const { source } = options
  const maxBytes = options.maxBytes ?? 65_536
  if (content.length > maxBytes) {
    throw new ServiceError('E_TOO_BIG', `${source}: is ${content.length} bytes long, the limit is ${maxBytes}`, { source, fix: 'keep the registries\' entries only' })
  }
  const context: DocumentContext = {
    source,
    text: decodeDocument(content, source),
    registry: options.registry,
    username: options.username,
    keepNewline: options.keepNewline ?? false,
    allowEmpty: options.allowEmpty ?? false,
    boundaryKeys: false,
    warnings: [],
    wraps: 0,
  }
  const entries = options.jsonKey === undefined ? readText(context) : readJsonKey(context, options.jsonKey)
  if (entries.length === 0 && !context.allowEmpty) throw empty(context)
  return { registries: collect(context, entries), warnings: context.warnings }
}

/**
 * Several documents as one.
 * @throws {ServiceError} E_CONFLICT naming both sources where they hold different credentials for one registry
 */
export function mergeRegistries(parts: readonly { readonly source: string; readonly registries: Registries }[]): Registries {
  const merged = new Map<string, Credential>()
  const origin = new Map<string, string>()
  for (const { source, registries } of parts) {
    for (const [registry, credential] of registries) {
      const before = merged.get(registry)
      if (before && !isSame(before, credential)) {
        throw new ServiceError('E_CONFLICT', `${shownRegistry(registry)}: ${origin.get(registry)} and ${source} hold different credentials for it`, {
          source, fix: 'keep it in one of them',
        })
      }
      if (before) continue
      merged.set(registry, credential)
      origin.set(registry, source)
    }
  }
  return merged
}

/** A document as text: JSON by its first character, or else a plain credential. */
function readText(context: DocumentContext): readonly NamedCredential[] {
  const text = context.text.trim()
  if (text === '') return []
  if (/^[ \t]*(export[ \t]+)?ECS_ENGINE_AUTH_(TYPE|DATA)[ \t]*=/m.test(text)) return readEcsConfig(context)
  if (/^[{["]/.test(text) && !text.startsWith('{{')) {
    const root = parseJson(context)
    return isKeyFile(root) ? [readKeyFile(context, root)] : readValue(context, root)
  }
  // As `kubectl get secret -o jsonpath` prints it. With a user given, the text is that user's token, whatever it is the base64 of.
  const inner = context.username === undefined ? unwrap(text) : text
  if (inner !== text) {
    if (context.wraps >= MAX_WRAPS) throw tooManyWraps(context)
    return readText({ ...context, text: inner, wraps: context.wraps + 1 })
  }
  const [registry, credential] = readPlainCredential(context)
  return [{ registry, credential, node: context.within ?? { type: 'null', at: 0, parent: undefined, name: undefined } }]
}

/** A service account's key file, as Google hands it out: JSON, and as a whole the password of the user _json_key. */
function isKeyFile(root: JsonNode): boolean {
  const type = root.type === 'object' ? root.members.get('type') : undefined
  return type?.type === 'string' && type.value === 'service_account'
}

function readKeyFile(context: DocumentContext, root: JsonNode): NamedCredential {
  if (context.username !== '_json_key') {
    throw refusal(context, 'E_UNKNOWN_SHAPE', 'holds a service account\'s key file, which is a password of the user _json_key',
      'say so: --username _json_key --registry europe-docker.pkg.dev (REGCRED_USERNAME, REGCRED_REGISTRY)', root)
  }
  if (context.registry === undefined) throw registryRequired(context, root)
  const registry = registryOfSetting(context, context.registry)
  const credential = checkLogin(context, { username: context.username, password: context.text }, { name: shownRegistry(registry), node: root })
  return { registry, credential, node: root }
}

/** An ecs.config of either type: what its author meant, where the ECS agent itself might take nothing from it. */
function readEcsConfig(context: DocumentContext): readonly NamedCredential[] {
  const values = [...context.text.matchAll(/^[ \t]*(?:export[ \t]+)?ECS_ENGINE_AUTH_DATA[ \t]*=([^\n]*)/gm)]
  const value = values.at(-1)?.[1]?.trim() ?? ''
  const text = value.replace(/^'(.*)'$/s, '$1')
  if (text === '') return []
  const within = { type: 'null', at: 0, parent: undefined, name: 'ECS_ENGINE_AUTH_DATA' } as const
  const data = { ...context, text, within, boundaryKeys: true, wraps: context.wraps + 1 }
  return readValue(data, parseJson(data))
}

function readValue(context: DocumentContext, root: JsonNode): readonly NamedCredential[] {
  const shape = readShape(context, root)
  if ('entries' in shape) return shape.entries
  if (context.wraps >= MAX_WRAPS) throw tooManyWraps(context, root)
  return readText({ ...context, text: unwrap(shape.text), within: shape.within, wraps: context.wraps + 1 })
}

/** As many as a Kubernetes Secret, its base64 and a quoted copy of both need. */
const MAX_WRAPS = 4

function tooManyWraps(context: DocumentContext, node?: JsonNode): Error {
  return refusal(context, 'E_UNKNOWN_SHAPE', 'is a text within a text too many times', ACCEPTED_SHAPES, node)
}

/** A wrapped text, or what it is the base64 of, if that is JSON. */
function unwrap(text: string): string {
  const decoded = decodeBase64(text)
  const inner = decoded.ok ? Buffer.from(decoded.bytes).toString('utf8') : ''
  return /^\uFEFF?\s*[{["]/.test(inner) ? inner.replace(/^\uFEFF/, '') : text
}

function readJsonKey(context: DocumentContext, key: string): readonly NamedCredential[] {
  const fix = 'correct the json-key behind the secret\'s ARN, or leave it out'
  if (!/^\s*\{/.test(context.text)) throw refusal(context, 'E_JSON_KEY', `has no member ${shownName(key)}: it is no JSON object`, fix)
  const root = parseJson(context)
  const value = root.type === 'object' ? root.members.get(key) : undefined
  if (value) return readValue(context, value)
  throw refusal(context, 'E_JSON_KEY', `has no member ${shownName(key)}${membersSeen(root)}`, fix, root)
}

/** By canonical name. One registry may stand under two names (docker.io, index.docker.io) as long as they agree. */
function collect(context: DocumentContext, entries: readonly NamedCredential[]): Registries {
  const registries = new Map<string, Credential>()
  const origin = new Map<string, NamedCredential>()
  for (const entry of entries) {
    const before = origin.get(entry.registry)
    if (before && !isSame(before.credential, entry.credential)) {
      throw refusal(context, 'E_CONFLICT', `${shownRegistry(entry.registry)}: ${pathOf(before.node)} and ${pathOf(entry.node)} of ${context.source} hold different credentials for it`,
        'keep the one that is right', entry.node)
    }
    registries.set(entry.registry, entry.credential)
    origin.set(entry.registry, before ?? entry)
  }
  return registries
}

function isSame(a: Credential, b: Credential): boolean {
  return a.username === b.username && a.password.reveal() === b.password.reveal()
}

function empty(context: DocumentContext): Error {
  return refusal(context, 'E_EMPTY', 'holds no registry at all', 'write at least one; to take all credentials off the machine on purpose: --allow-empty')
}
