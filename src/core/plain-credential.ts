import { ServiceError } from '../errors.js'
import type { Credential } from './credential.js'
import { decodeBase64 } from './base64.js'
import { refusal } from './document-context.js'
import type { DocumentContext } from './document-context.js'
import { shownRegistry } from './key-name.js'
import { checkLogin, refusePlaceholder, splitLogin } from './login.js'
import type { Login } from './login.js'
import { canonicalRegistry } from './registry-name.js'

/**
 * A document that is no JSON: `user:password`, base64 of it, or a bare token where the user is known.
 * @throws {ServiceError} E_UNKNOWN_SHAPE for the text of another format, E_REGISTRY_REQUIRED, E_NO_COLON and what is wrong with the login
 */
export function readPlainCredential(context: DocumentContext): readonly [registry: string, credential: Credential] {
  const owner = { name: 'the text' }
  refusePlaceholder(context, context.text, 'it', owner)
  refuseOtherFormats(context)
  const other = context.username === undefined ? lookalike(context.text) : undefined
  if (context.registry === undefined) throw registryRequired(context, context.within, other)
  const registry = registryOfSetting(context, context.registry)
  return [registry, checkLogin(context, readLogin(context), { name: shownRegistry(registry) })]
}

/** Which registry a document is for that names none. What is wrong with the name is not the document's fault. */
export function registryOfSetting({ source }: DocumentContext, name: string): string {
  try {
    return canonicalRegistry(name)
  } catch (error) {
    const { code, message, details: { fix } } = error as ServiceError
    throw new ServiceError(code, `${source}: REGCRED_REGISTRY (--registry): ${message}`, { source, fix })
  }
}

/** The error for a credential that says nowhere which registry it is for. */
export function registryRequired(context: DocumentContext, node = context.within, other?: Lookalike): Error {
  return refusal(
    context, 'E_REGISTRY_REQUIRED', `names no registry for its credential${other === undefined ? '' : `; it looks like ${other.kind}`}`,
    other?.fix ?? 'say which: --registry registry.example.com (REGCRED_REGISTRY), or put "registry" beside "username" and "password"', node,
  )
}

function readLogin(context: DocumentContext): Login {
  const { text, username } = context
  // With a user given, a colon elsewhere than behind that very user belongs to the token.
  if (text.includes(':') && (username === undefined || text.startsWith(`${username}:`))) return splitLogin(text)
  const decoded = decodeLogin(text)
  if (decoded && (username === undefined || decoded.username === username)) return decoded
  if (username !== undefined) return { username, password: text }
  const other = lookalike(text)
  throw refusal(context, 'E_NO_COLON', `the text has no ":"; it must be user:password or base64 of it. ${other === undefined ? 'Raw token pasted?' : `It looks like ${other.kind}`}`,
    other?.fix ?? 'write user:password, or say whose token it is: --username ci')
}

type Lookalike = { readonly kind: string; readonly fix: string }

/** What else a text without a colon may be, which only looks like a bare token. */
function lookalike(text: string): Lookalike | undefined {
  if (/^H4sI/.test(text.trim())) return { kind: 'base64 of gzip data', fix: 'store the document itself, not compressed: base64 -d | gunzip' }
  if (/^\s*(export[ \t]+)?[A-Za-z_]\w*=/.test(text) && /\n[ \t]*(export[ \t]+)?[A-Za-z_]\w*=/.test(text)) {
    return { kind: 'lines of NAME=value', fix: 'write {"registry": "…", "username": "…", "password": "…"}' }
  }
  const decoded = decodeBase64(text)
  const inner = decoded.ok ? decodeBase64(Buffer.from(decoded.bytes).toString('latin1')) : decoded
  if (inner.ok && /^\s*[{[]/.test(Buffer.from(inner.bytes).toString())) {
    return { kind: 'base64 of base64', fix: 'encode it once; in a Kubernetes manifest "stringData" takes the document as it is' }
  }
  return undefined
}

/** Text can be base64 by chance: a token is taken for it only if it decodes to something that was typed. */
function decodeLogin(text: string): Login | undefined {
  const decoded = decodeBase64(text)
  if (!decoded.ok) return undefined
  const bytes = Buffer.from(decoded.bytes)
  const plain = bytes.toString('utf8')
  const isTyped = /^[^:\p{Cc}]+:[^\p{Cc}]+\r?\n?$/u.test(plain) || plain.startsWith('_json_key:{') // a key file has many lines
  if (!bytes.equals(Buffer.from(plain)) || !isTyped) return undefined
  return splitLogin(plain)
}

/** Text of another kind that happens to have a colon in it must not become a credential. */
function refuseOtherFormats(context: DocumentContext): void {
  const { text } = context
  const [user = ''] = text.split(':', 1)
  const kind = /^kind:[ \t]+["']?Secret\b/m.test(text) ? 'a Kubernetes Secret in YAML' : /^\s*(apiVersion|kind|auths|data|stringData|username|user|password|token|registry):\s+\S/m.test(text) ? 'YAML'
    : /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? 'a URL'
      : /^\s*['"`]/.test(text) ? 'quoted text'
        : /^\s*<[!?a-z]/i.test(text) ? 'HTML or XML'
          : text.includes(':') && /[\s{}[\]"'`=]/.test(user) ? 'text that is neither JSON nor user:password'
            : undefined
  if (kind) throw refusal(context, 'E_UNKNOWN_SHAPE', `holds ${kind}, not a credential document`, kind.startsWith('a Kubernetes') ? 'store it as JSON: kubectl get secret NAME -o json' : ACCEPTED_SHAPES)
}

/** For the errors that turn a shape away. */
export const ACCEPTED_SHAPES = 'accepted: a docker config.json ({"auths":{"HOST":{"auth":"…"}}}), {"HOST":{"username":"…","password":"…"}}, '
  + '{"registry":"HOST","username":"…","password":"…"}, a list of these, {".dockerconfigjson":"…"}, or user:password with --registry HOST'
