import type { Credential } from './credential.js'
import { decodeBase64 } from './base64.js'
import { refusal, warn } from './document-context.js'
import type { DocumentContext } from './document-context.js'
import type { JsonNode } from './json.js'
import { Redacted } from './redacted.js'

/** A user and a password as a document has them, not yet judged. */
export type Login = { readonly username: string; readonly password: string }

/** What a login belongs to, for messages. */
export type Owner = {
  /** `registry.example.com`, or `the text`. */
  readonly name: string
  readonly node?: JsonNode | undefined
  /** Where the username stands apart from the password. */
  readonly userNode?: JsonNode | undefined
}

/**
 * The login that `auth` is the base64 of.
 * @throws {ServiceError} E_PLACEHOLDER, E_B64, E_NO_COLON, E_ENCODING
 */
export function decodeAuth(context: DocumentContext, auth: string, owner: Owner): Login {
  refusePlaceholder(context, auth, '"auth"', owner)
  const decoded = decodeBase64(auth)
  if (!decoded.ok) {
    throw refusal(context, 'E_B64', `${owner.name}: "auth" is not base64 (position ${decoded.position})`, AUTH_FIX, owner.node)
  }
  const bytes = Buffer.from(decoded.bytes)
  if (!bytes.includes(0x3a)) {
    throw refusal(context, 'E_NO_COLON', `${owner.name}: decoded "auth" has no ":"; it must be base64 of user:password. Raw token pasted?`, AUTH_FIX, owner.node)
  }
  const text = bytes.toString('utf8')
  if (!bytes.equals(Buffer.from(text))) {
    throw refusal(context, 'E_ENCODING', `${owner.name}: decoded "auth" is not UTF-8 text`, AUTH_FIX, owner.node)
  }
  if (decoded.normalised) {
    warn(context, 'W_BASE64_NORMALISED', `${owner.name}: "auth" is not plain padded base64 on one line; written so for the ECS agent`)
  }
  return splitLogin(text)
}

/** At the first colon: a password may have more of them, a user none. */
export function splitLogin(text: string): Login {
  const colon = text.indexOf(':')
  return { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** The login without the final newline that `echo` leaves behind. */
export function withoutNewline(context: DocumentContext, login: Login): Login {
  if (context.keepNewline) return login
  return { username: login.username.replace(/\r?\n$/, ''), password: login.password.replace(/\r?\n$/, '') }
}

/**
 * The login as a credential that means the same to whoever reads it.
 * @throws {ServiceError} E_EMPTY_USER, E_EMPTY_PASSWORD, E_USER_COLON, E_CONTROL_CHAR, E_ENCODING, E_PLACEHOLDER
 */
export function checkLogin(context: DocumentContext, raw: Login, owner: Owner): Credential {
  const login = withoutNewline(context, raw)
  if (login.username !== raw.username || login.password !== raw.password) {
    warn(context, 'W_TRAILING_NEWLINE', `${owner.name}: the value ends in a newline (echo without -n?); left away`)
  }
  const { username, password } = login
  const { name, node, userNode = node } = owner
  if (username === '') throw refusal(context, 'E_EMPTY_USER', `${name}: the username is empty`, 'write the username; for a token, the name that the registry wants with it', userNode)
  if (password === '') throw refusal(context, 'E_EMPTY_PASSWORD', `${name}: the password is empty`, 'write the password or the access token', node)
  if (username.includes(':')) {
    throw refusal(context, 'E_USER_COLON', `${name}: the username has a ":" in it, which base64 of user:password cannot carry`, 'use a user without a colon', userNode)
  }
  for (const [part, value, at] of [['username', username, userNode], ['password', password, node]] as const) {
    if (/\p{Surrogate}/u.test(value)) throw refusal(context, 'E_ENCODING', `${name}: the ${part} has half of a character in it (a lone surrogate)`, 'write it again', at)
    if (hasControl(context, login, value)) {
      throw refusal(context, 'E_CONTROL_CHAR', `${name}: the ${part} has a line break, a NUL or another control character in it`, 'write it again without; it was wrapped or came from a binary', at)
    }
    refusePlaceholder(context, value, `the ${part}`, { name, node: at })
  }
  if (username === 'oauth2accesstoken') {
    warn(context, 'W_SHORT_LIVED', `${name}: the token of oauth2accesstoken lives about an hour; use a service account key with the user _json_key`)
  }
  return { username, password: new Redacted(password) }
}

/** @throws {ServiceError} E_PLACEHOLDER where the value is what a template or a manual has in the place of one */
export function refusePlaceholder(context: DocumentContext, value: string, what: string, owner: Owner): void {
  if (!PLACEHOLDERS.some((placeholder) => placeholder.test(value.trim()))) return
  throw refusal(context, 'E_PLACEHOLDER', `${owner.name}: ${what} is a placeholder, not a credential`, 'put the real value in its place', owner.node)
}

// Whole values only, but for a template's own braces: a real password may well contain "changeme".
const PLACEHOLDERS = [
  /^change[-_ ]?me!?$/i,
  /^(null|undefined|None)$/, // what `jq -r` and template languages print for a value that is not there
  /^\$\{[A-Za-z_][^{}]*\}$/,
  /^<[A-Za-z][A-Za-z0-9 _.-]*>$/,
  /\{\{[-~]?\s*[.$A-Za-z_][\w\s.:/|$"'()-]*\}\}/,
  /^zq212MzEXAMPLE7o6T25Dk0i$/, // the sample of AWS's manual, private-auth-container-instances
]

const AUTH_FIX = 'write base64 of user:password (printf %s user:password | base64 -w0), or "username" and "password" instead of "auth"'

/** A service account's key file is JSON of many lines and is a password all the same (Google's `_json_key`). */
function hasControl(context: DocumentContext, { username, password }: Login, value: string): boolean {
  const kept = context.keepNewline && value === password ? value.replace(/\r?\n$/, '') : value
  if (username === '_json_key' && value === password && isJsonObject(password)) return false
  return /\p{Cc}/u.test(kept)
}

function isJsonObject(text: string): boolean {
  try {
    return text.trimStart().startsWith('{') && typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}
