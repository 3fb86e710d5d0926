import { ServiceError } from '../errors.js'
import type { ErrorCode } from '../errors.js'
import { keyPath, shownName } from './key-name.js'
import type { PathPart } from './key-name.js'

/*
 * JSON of our own (RFC 8259), for two reasons: JSON.parse quotes its input in its messages (`"hunter2" is not valid JSON`), and it takes the last of
 * two equal members without a word. Every value knows where it stands, so that whoever finds fault with it can say so.
 */

/** A text and the words for where it came from. */
export type DocumentText = {
  /** Names the origin in messages. */
  readonly source: string
  readonly text: string
  /** The value of another document that holds this one as text (`.dockerconfigjson`). */
  readonly within?: JsonNode | undefined
}

type Place = {
  /** Offset of the value in its document. */
  readonly at: number
  readonly parent: JsonNode | undefined
  /** The member's name or the index by which the parent holds it. */
  readonly name: PathPart | undefined
}
export type JsonString = Place & { readonly type: 'string'; readonly value: string }
export type JsonObject = Place & { readonly type: 'object'; readonly members: ReadonlyMap<string, JsonNode> }
export type JsonArray = Place & { readonly type: 'array'; readonly items: readonly JsonNode[] }
export type JsonOther = Place & { readonly type: 'number' | 'boolean' | 'null' }
export type JsonNode = JsonString | JsonObject | JsonArray | JsonOther

/**
 * The document's value, in the order written.
 * @throws {ServiceError} E_JSON, E_JSON_TRUNCATED or E_DUP_KEY with line, column and key path, and never a piece of the text
 */
export function parseJson(document: DocumentText): JsonNode {
  return new Parser(document).parse()
}

/** Key path of a value, through the documents that hold its own as text. */
export function pathOf(node: JsonNode | undefined): string {
  const parts: PathPart[] = []
  for (let current = node; current; current = current.parent) {
    if (current.name !== undefined) parts.unshift(current.name)
  }
  return keyPath(parts)
}

/** 1-based line, and column in characters. */
export function lineAndColumn(text: string, at: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, at).split('\n')
  return { line: before.length, column: [...(before.at(-1) ?? '')].length + 1 }
}

/** Deeper than any credential document, shallower than the stack. */
const MAX_DEPTH = 64

const ESCAPES: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

class Parser {
  readonly #document: DocumentText
  readonly #text: string
  #at = 0
  #open: ('{' | '[')[] = []

  constructor(document: DocumentText) {
    this.#document = document
    this.#text = document.text
  }

  parse(): JsonNode {
    this.#skipSpace()
    const root = this.#value(this.#document.within, undefined)
    this.#skipSpace()
    const next = this.#text[this.#at]
    if (next === undefined) return root
    if ('{["'.includes(next)) this.#fail('a second JSON document begins here; keep one', root, { code: 'E_JSON_TRUNCATED' })
    if ('}]'.includes(next)) this.#fail(`one "${next}" too many`, root)
    return this.#fail(this.#hint() ?? 'expected nothing more after the end of the document', root)
  }

  #value(parent: JsonNode | undefined, name: PathPart | undefined): JsonNode {
    const place = { at: this.#at, parent, name }
    switch (this.#text[this.#at]) {
      case '{': return this.#object(place)
      case '[': return this.#array(place)
      case '"': return { ...place, type: 'string', value: this.#string(place) }
      case 't': return this.#literal(place, 'true', 'boolean')
      case 'f': return this.#literal(place, 'false', 'boolean')
      case 'n': return this.#literal(place, 'null', 'null')
      default: return this.#number(place)
    }
  }

  #object(place: Place): JsonObject {
    const members = new Map<string, JsonNode>()
    const object: JsonObject = { ...place, type: 'object', members }
    this.#enter('{', object)
    while (!this.#closes('}')) {
      const at = this.#at
      if (this.#text[at] !== '"') this.#fail(this.#hint() ?? (members.size > 0 ? 'expected a property name in double quotes' : 'expected a property name in double quotes or "}"'), object)
      const name = this.#string(object)
      if (members.has(name)) {
        const first = lineAndColumn(this.#text, members.get(name)?.at ?? 0)
        this.#fail(`${shownName(name)} stands twice in one object, first at ${first.line}:${first.column}; keep one`, object, { code: 'E_DUP_KEY', at })
      }
      this.#skipSpace()
      if (this.#text[this.#at] !== ':') this.#fail(this.#hint() ?? `expected ":" after a property name${this.#articleNote(name)}`, object, {
        name,
        fix: name === 'auth' ? 'write {"auth": "<base64 of user:password>"}' : 'write a colon between the name and its value: {"name": "value"}',
      })
      this.#at += 1
      this.#skipSpace()
      members.set(name, this.#value(object, name))
      this.#separator('}', object)
    }
    this.#open.pop()
    return object
  }

  #array(place: Place): JsonArray {
    const items: JsonNode[] = []
    const array: JsonArray = { ...place, type: 'array', items }
    this.#enter('[', array)
    while (!this.#closes(']')) {
      items.push(this.#value(array, items.length))
      this.#separator(']', array)
    }
    this.#open.pop()
    return array
  }

  #enter(bracket: '{' | '[', node: JsonNode): void {
    if (this.#open.length >= MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH} levels`, node.parent)
    this.#open.push(bracket)
    this.#at += 1
    this.#skipSpace()
  }

  #closes(bracket: '}' | ']'): boolean {
    if (this.#text[this.#at] !== bracket) return false
    this.#at += 1
    return true
  }

  /** The comma between two members, or nothing before the closing bracket. */
  #separator(closing: '}' | ']', node: JsonNode): void {
    this.#skipSpace()
    if (this.#text[this.#at] === closing) return
    if (this.#text[this.#at] !== ',') this.#fail(this.#hint() ?? `expected "," or "${closing}"`, node)
    const comma = this.#at
    this.#at += 1
    this.#skipSpace()
    if (this.#text[this.#at] === closing) this.#fail(`a trailing comma before "${closing}"; remove it`, node, { code: 'E_JSON_TRUNCATED', at: comma })
  }

  /** The string that begins here. `owner` says where, should it be faulty. */
  #string(owner: Place): string {
    let value = ''
    let from = this.#at + 1
    for (let at = from; ; at += 1) {
      const char = this.#text.charCodeAt(at)
      if (char === 0x22) {
        this.#at = at + 1
        return value + this.#text.slice(from, at)
      }
      if (!(char >= 0x20)) {
        this.#at = at // NaN: the end of the text
        this.#fail(char === 0x0a || char === 0x0d ? 'a line break inside a string, or its closing quote is missing' : 'a control character inside a string', owner, { inString: true })
      }
      if (char === 0x5c) {
        value += this.#text.slice(from, at) + this.#escape(at, owner)
        at = this.#at - 1
        from = this.#at
      }
    }
  }

  /** The character of the escape at `at`; leaves the position behind it. */
  #escape(at: number, owner: Place): string {
    const letter = this.#text[at + 1]
    const hex = letter === 'u' ? this.#text.slice(at + 2, at + 6) : ''
    this.#at = at + 2 + hex.length
    if (letter === 'u' && /^[0-9a-fA-F]{4}$/.test(hex)) return String.fromCharCode(Number.parseInt(hex, 16))
    if (letter !== undefined && letter !== 'u' && Object.hasOwn(ESCAPES, letter)) return ESCAPES[letter] ?? ''
    if (this.#at < this.#text.length) this.#at = at
    return this.#fail('an escape that JSON does not know; a backslash is written \\\\', owner, { inString: true })
  }

  #literal(place: Place, word: string, type: JsonOther['type']): JsonOther {
    const found = /^[a-z]*/i.exec(this.#text.slice(this.#at, this.#at + 8))?.[0] ?? ''
    if (found !== word) {
      if (word.startsWith(found) && this.#at + found.length === this.#text.length) this.#at = this.#text.length
      this.#fail(this.#hint() ?? 'expected a value', place)
    }
    this.#at += word.length
    return { ...place, type }
  }

  #number(place: Place): JsonOther {
    const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
    number.lastIndex = this.#at
    const found = number.exec(this.#text)?.[0]
    if (found === undefined) this.#fail(this.#hint() ?? 'expected a value', place)
    this.#at += found.length
    return { ...place, type: 'number' }
  }

  #skipSpace(): void {
    for (; ; this.#at += 1) {
      const char = this.#text.charCodeAt(this.#at)
      if (char !== 0x20 && char !== 0x0a && char !== 0x0d && char !== 0x09) return
    }
  }

  /** What people write where JSON wants something else. */
  #hint(): string | undefined {
    const char = this.#text[this.#at] ?? ' '
    if (char === "'") return 'a single quote; JSON wants double quotes'
    if ('“”„‟«»‘’'.includes(char)) return 'a typographic quote; JSON wants the plain double quote'
    if (char === '\\') return 'a backslash before a quote; store the document itself, not a quoted copy of it'
    if (char !== ' ' && /[\p{Z}\u200b-\u200d\u2060\ufeff]/u.test(char)) return 'a no-break space or another blank that JSON does not know; write plain spaces'
    if (char === '#' || char === '/') return 'a comment; JSON has none'
    return undefined
  }

  // "Private registry authentication for container instances using AWS Secrets Manager" (AWS blog) has this slip in its sample, and people copy it.
  #articleNote(name: string): string {
    return name === 'auth' && this.#text[this.#at] === ',' ? '. Note: the AWS article\'s sample {"auth", "..."} has a typo; write {"auth": "..."}' : ''
  }

  #fail(what: string, place: Place | undefined, options?: { code?: ErrorCode; at?: number; name?: string; inString?: boolean; fix?: string }): never {
    const { source, within } = this.#document
    const at = options?.at ?? this.#at
    const { line, column } = lineAndColumn(this.#text, at)
    const path = keyPath([...partsOf(place), ...(options?.name === undefined ? [] : [options.name])])
    const details = { source, line, column, path: path === '' ? undefined : path }
    const where = within ? `${source}: in the text of ${pathOf(within) || 'the quoted document'}: ` : `${source}: `
    if (at >= this.#text.length) {
      throw new ServiceError('E_JSON_TRUNCATED', `${where}JSON ends early${options?.inString ? ' inside a string' : ''}${this.#unclosed()}`, {
        ...details, fix: 'store the whole document; part of it was lost on the way',
      })
    }
    const code = options?.code ?? 'E_JSON'
    const text = code === 'E_DUP_KEY' ? `${where}at ${line}:${column}, ${what}` : `${where}not valid JSON at ${line}:${column}, ${what}`
    throw new ServiceError(code, text, { ...details, fix: options?.fix ?? 'correct it there; `jq . FILE` shows whether it is JSON' })
  }

  #unclosed(): string {
    const counts = (['{', '['] as const).map((bracket) => ({ bracket, count: this.#open.filter((open) => open === bracket).length }))
    const told = counts.filter(({ count }) => count > 0).map(({ bracket, count }) => `${count} unclosed "${bracket}"`)
    return told.length > 0 ? `: ${told.join(' and ')}` : ''
  }
}

function partsOf(place: Place | undefined): PathPart[] {
  const parts: PathPart[] = []
  for (let current = place; current; current = current.parent) {
    if (current.name !== undefined) parts.unshift(current.name)
  }
  return parts
}
