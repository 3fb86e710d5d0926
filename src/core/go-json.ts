/**
 * Text and JSON as Go programs read them (ecs-init and the ECS agent are Go). Go's encoding/json differs from JSON.parse where an operator can trip:
 * it sees every occurrence of a repeated name, matches field names without regard to case, and turns what is not UTF-8 into U+FFFD.
 */

/** A JSON value as far as the ECS agent cares: `true` stands for any number, boolean or array, since it only tells "the wrong type" from the others. */
export type GoValue = string | null | true | readonly GoMember[]

/** One member of an object, in the order of the text, repeated names kept. */
export type GoMember = readonly [name: string, value: GoValue]

/** `text` as Go's json.Unmarshal would walk it; undefined where that is a syntax error. */
export function readGoJson(text: string): GoValue | undefined {
  if (!isJson(text)) return undefined
  const open: { members: GoMember[] | undefined; name: string | undefined }[] = []
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === ',' || token === ':') continue
    if (token === '{' || token === '[') {
      open.push({ members: token === '{' ? [] : undefined, name: undefined })
      if (open.length > GO_MAX_DEPTH) return undefined
      continue
    }
    const value = token === '}' || token === ']' ? (open.pop()?.members ?? true) : scalar(token)
    const parent = open.at(-1)
    if (!parent) return value
    if (!parent.members) continue
    if (parent.name === undefined) {
      parent.name = String(value)
    } else {
      parent.members.push([parent.name, value])
      parent.name = undefined
    }
  }
  return undefined
}

/** Tokens of a text that is known to be JSON. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g

/** encoding/json's scanner, maxNestingDepth. */
const GO_MAX_DEPTH = 10000

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false // its message quotes the text, so it goes no further
  }
}

function scalar(token: string): GoValue {
  if (token === 'null') return null
  return token.startsWith('"') ? (JSON.parse(token) as string).replace(/\p{Surrogate}/gu, '\ufffd') : true
}

/** Whether encoding/json stores a member of this name in the field `field` (lower-case ASCII). It folds case, and with it ſ to s and the Kelvin sign to k. */
export function isGoField(name: string, field: string): boolean {
  return name.replace(/ſ/g, 's').toLowerCase() === field
}

/** `bytes` as text, each byte that is not part of valid UTF-8 as one U+FFFD: Go's way. (The web's TextDecoder makes one of a whole broken sequence.) */
export function decodeGoText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return decodeBroken(bytes)
  }
}

function decodeBroken(bytes: Uint8Array): string {
  // latin1 keeps one character per byte, so that a pattern can say what a valid sequence is (RFC 3629, section 4).
  const characters = Buffer.from(bytes).toString('latin1')
  return characters.replace(NOT_ASCII, (sequence) => (sequence.length === 1 ? '\ufffd' : Buffer.from(sequence, 'latin1').toString('utf8')))
}

const NOT_ASCII = new RegExp(
  [
    '[\\xc2-\\xdf][\\x80-\\xbf]',
    '\\xe0[\\xa0-\\xbf][\\x80-\\xbf]',
    '[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}',
    '\\xed[\\x80-\\x9f][\\x80-\\xbf]',
    '\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}',
    '[\\xf1-\\xf3][\\x80-\\xbf]{3}',
    '\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}',
    '[\\x80-\\xff]',
  ].join('|'),
  'g',
)

/** Go's strings.TrimSpace: unlike String.trim it takes U+0085 away and leaves a byte order mark. */
export function goTrimSpace(text: string): string {
  return text.replace(/^[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/, '').replace(TRAILING_SPACE, '')
}

const TRAILING_SPACE = /(?<![\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/
