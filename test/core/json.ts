import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { lineAndColumn, parseJson, pathOf } from '../../src/core/json.js'
import type { JsonNode } from '../../src/core/json.js'
import { ServiceError } from '../../src/errors.js'

const parse = (text: string) => parseJson({ source: 'x', text })

t.test('takes what JSON.parse takes, but for repeated members, and means the same', (t) => {
  fc.assert(fc.property(fc.json({ maxDepth: 6 }), (text) => {
    if (!agrees(parse(text), JSON.parse(text) as unknown, text)) throw new Error('differs')
  }), { numRuns: 1000 })
  t.end()
})

t.test('refuses what JSON.parse refuses', (t) => {
  const nearJson = fc.tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.constantFrom('', '{', '}', '[', ']', ',', ':', '"', '\\', '0', '-', '.', 'e', ' ', '\n', '\0', 't', 'u')).map(([text, at, char]) => {
    const index = at % (text.length + 1)
    return text.slice(0, index) + char + text.slice(index + 1)
  })
  fc.assert(fc.property(nearJson, (text) => {
    const [ours, theirs] = [accepts(() => parse(text)), accepts(() => JSON.parse(text))]
    if (ours !== theirs && ours !== 'E_DUP_KEY') throw new Error(`ours: ${ours}`)
  }), { numRuns: 5000 })
  t.end()
})

t.test('numbers and escapes are those of RFC 8259', (t) => {
  for (const text of ['0', '-0', '10.5e-3', '1E+2', '"\\u00e9\\n\\/\\ud83d\\ude00"', ' [ ] ', '{ }', 'true', 'false', 'null']) t.doesNotThrow(() => parse(text), text)
  for (const text of ['01', '+1', '.5', '1.', '1e', 'NaN', 'True', '"\\u00g0"', '"\\x41"', '\u00a01', '[1 2]', '{"a" 1}', '{a:1}', '{"a":1 "b":2}', '[,]', 'nul', 'nulll']) {
    t.throws(() => parse(text), { name: 'ServiceError' }, text)
  }
  t.end()
})

t.test('each value knows its place', (t) => {
  const text = '{"auths":\n  {"r.io": [{"é✓": "x"}]}}'
  const leaf = (((parse(text) as Children).members.get('auths') as Children).members.get('r.io') as unknown as { items: JsonNode[] }).items[0] as Children
  const value = leaf.members.get('é✓') as JsonNode
  t.same(lineAndColumn(text, value.at), { line: 2, column: 20 })
  t.equal(pathOf(value), 'auths["r.io"][0][2 characters]')
  t.end()
})

t.test('columns count characters, not UTF-16 units', (t) => {
  t.throws(() => parse('{"😀😀": x}'), { code: 'E_JSON', details: { line: 1, column: 8 } })
  t.end()
})

t.test('deep nesting and long input end in an error, not in a full stack', (t) => {
  t.throws(() => parse('['.repeat(1_000_000)), { code: 'E_JSON', message: /nested deeper than 64/ })
  t.throws(() => parse('{"a":'.repeat(1_000_000)), { code: 'E_JSON' })
  t.throws(() => parse(`"${'a'.repeat(1_000_000)}`), { code: 'E_JSON_TRUNCATED' })
  t.end()
})

t.test('members of Object\'s prototype are members like any other', (t) => {
  const root = parse('{"__proto__":{"x":1},"constructor":2,"toString":3}') as Children
  t.same([...root.members.keys()], ['__proto__', 'constructor', 'toString'])
  t.equal(({} as Record<string, unknown>)['x'], undefined)
  t.throws(() => parse('{"__proto__":1,"__proto__":2}'), { code: 'E_DUP_KEY' })
  t.throws(() => parse('{"\\u0061":1,"a":2}'), { code: 'E_DUP_KEY' }, 'an escape does not hide a repeated name')
  t.end()
})

t.test('no error has a piece of the input', (t) => {
  const canary = 'K9x!w7Vq#2'
  const text = JSON.stringify({ auths: { 'r.io': { auth: canary, password: canary }, other: [canary, { [canary]: canary }] } })
  for (let at = 0; at < text.length; at += 1) {
    for (const damaged of [text.slice(0, at), `${text.slice(0, at)}'${text.slice(at)}`, `${text.slice(0, at)}"${text.slice(at)}`, text.slice(0, at) + text.slice(at + 1)]) {
      try {
        parse(damaged)
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error
        if (/K9x!|9x!w|x!w7|!w7V|w7Vq|7Vq#|Vq#2/.test(inspect(error) + JSON.stringify(error))) t.fail(`at ${at}`)
      }
    }
  }
  t.end()
})

type Children = { readonly members: ReadonlyMap<string, JsonNode> }

function accepts(run: () => unknown): true | string {
  try {
    run()
    return true
  } catch (error) {
    return error instanceof ServiceError ? (error.code === 'E_DUP_KEY' ? 'E_DUP_KEY' : 'refused') : error instanceof SyntaxError ? 'refused' : String(error)
  }
}

function agrees(node: JsonNode, value: unknown, text: string): boolean {
  if (node.type === 'string') return node.value === value && text[node.at] === '"'
  if (node.type === 'array') return Array.isArray(value) && node.items.length === value.length && node.items.every((item, index) => agrees(item, value[index], text))
  if (node.type !== 'object') return (value === null ? 'null' : typeof value) === node.type
  const entries = Object.entries(value as object)
  return entries.length === node.members.size && entries.every(([name, member]) => agrees(node.members.get(name) as JsonNode, member, text))
}
