import type { Credential } from './credential.js'
import { refusal } from './document-context.js'
import type { DocumentContext } from './document-context.js'
import { pathOf } from './json.js'
import type { JsonNode, JsonObject, JsonString } from './json.js'
import { shownName } from './key-name.js'
import { checkLogin, decodeAuth, withoutNewline } from './login.js'
import type { Login, Owner } from './login.js'

/** The names by which tools call the same thing. Compared without case, as Go reads them. */
export const REGISTRY_NAMES = ['registry', 'server', 'host', 'hostname', 'url', 'serveraddress']
export const USERNAME_NAMES = ['username', 'user', 'login']
export const PASSWORD_NAMES = ['password', 'token', 'accesstoken', 'access_token', 'pat', 'apikey']
const AUTH_NAMES = ['auth']
const TOKEN_NAMES = ['identitytoken', 'registrytoken']

/**
 * The credential that an entry holds, or undefined where it holds none at all (as `docker login` leaves one behind that went to a credential store).
 * @param name the registry, for messages
 * @throws {ServiceError} whatever is wrong with it
 */
export function readEntry(context: DocumentContext, entry: JsonObject, name: string): Credential | undefined {
  const node = (names: readonly string[]) => stringMember(context, entry, names)
  const token = TOKEN_NAMES.map((each) => node([each])).find((each) => each !== undefined && each.value !== '')
  if (token) {
    throw refusal(context, 'E_IDENTITY_TOKEN', `${name}: an identity token cannot be carried by dockercfg; use an access token or a robot account`,
      'create an access token or a robot account and write it as "username" and "password"', token)
  }
  const auth = node(AUTH_NAMES)
  const username = node(USERNAME_NAMES)
  const password = node(PASSWORD_NAMES)
  const encoded = auth && auth.value.trim() !== '' ? auth : undefined
  if (!encoded && !username?.value && !password?.value) return undefined
  if (encoded) {
    const login = decodeAuth(context, encoded.value, { name, node: encoded })
    refuseConflict(context, login, username, password, { name, node: encoded })
    return checkLogin(context, login, { name, node: encoded })
  }
  const user = username?.value ?? context.username
  if (user === undefined) throw noAuth(context, name, entry)
  if (!password) throw noAuth(context, name, entry)
  return checkLogin(context, { username: user, password: password.value }, { name, node: password, userNode: username })
}

/** The error for an entry that holds no credential. */
export function noAuth(context: DocumentContext, name: string, node: JsonNode): Error {
  return refusal(context, 'E_NO_AUTH', `${name}: no "auth" and no "username"/"password"`, 'write {"username": "…", "password": "…"} for it, or take the entry out', node)
}

/**
 * The one member that goes by any of these names; null counts as absent.
 * @throws {ServiceError} E_ALIAS_CONFLICT for two of them, E_TYPE for anything but a string
 */
export function stringMember(context: DocumentContext, object: JsonObject, names: readonly string[]): JsonString | undefined {
  const found = onlyMember(context, object, names)
  if (found && found.type !== 'string') throw wrongType(context, found, 'string')
  return found
}

/** @throws {ServiceError} E_ALIAS_CONFLICT for two members that go by any of these names */
export function onlyMember(context: DocumentContext, object: JsonObject, names: readonly string[]): JsonNode | undefined {
  const [found, second] = membersNamed(object, names)
  if (second) {
    throw refusal(context, 'E_ALIAS_CONFLICT', `${shownName(String(found?.name))} and ${shownName(String(second.name))} mean the same; keep one`, 'keep one of the two', second)
  }
  return found
}

/** Members that go by any of these names and are not null. */
export function membersNamed(object: JsonObject, names: readonly string[]): JsonNode[] {
  return [...object.members].filter(([name, value]) => value.type !== 'null' && names.includes(name.toLowerCase())).map(([, value]) => value)
}

export function wrongType(context: DocumentContext, node: JsonNode, expected: string, fix = `write ${expected === 'string' ? 'a string in double quotes' : `an ${expected}`}`): Error {
  const where = pathOf(node).replace(/\["([^"]*)"\]/g, '.$1').replace(/^\.|^auths\./, '') || 'the document'
  const loss = expected === 'string' ? ' (ECS would then discard ALL registries)' : ''
  return refusal(context, 'E_TYPE', `${where}: expected ${expected}, got ${node.type}${loss}`, fix, node)
}

function refuseConflict(context: DocumentContext, login: Login, username: JsonString | undefined, password: JsonString | undefined, owner: Owner): void {
  const decoded = withoutNewline(context, login)
  const written = withoutNewline(context, { username: username?.value || login.username, password: password?.value || login.password })
  if (decoded.username !== written.username || decoded.password !== written.password) {
    throw refusal(context, 'E_AUTH_CONFLICT', `${owner.name}: "auth" and "username"/"password" differ`, 'keep the one that is right', owner.node)
  }
}
