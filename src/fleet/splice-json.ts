import type { JsonNode } from '../core/json.js'

/*
 * Edits to a JSON text in place: what is not edited stays byte for byte, number spellings, order and white space included. The nodes come from parseJson
 * of the very text, so it is known to be valid.
 */

/** The text with the value at `node` replaced. */
export function replaceValue(text: string, node: JsonNode, value: unknown): string {
  return text.slice(0, node.at) + JSON.stringify(value) + text.slice(endOfValue(text, node.at))
}

/** The text with a member (or, without a name, an item) added at the end of the object or array at `node`, spaced like the one before it. */
export function addMember(text: string, node: JsonNode, name: string | undefined, value: unknown): string {
  const children = node.type === 'object' ? [...node.members.values()] : node.type === 'array' ? node.items : []
  const last = children.at(-1)
  const prefix = name === undefined ? '' : `${JSON.stringify(name)}:`
  if (last === undefined) return `${text.slice(0, node.at + 1)}${prefix}${JSON.stringify(value)}${text.slice(endOfValue(text, node.at) - 1)}`
  const end = endOfValue(text, last.at)
  const before = children.at(-2)
  const gap = /^[\s,]*/.exec(text.slice(before === undefined ? node.at + 1 : endOfValue(text, before.at)))?.[0].replace(',', '') ?? ''
  const colon = name === undefined ? '' : /:\s*$/.exec(text.slice(0, last.at))?.[0] ?? ':'
  return `${text.slice(0, end)},${gap}${name === undefined ? '' : JSON.stringify(name) + colon}${JSON.stringify(value)}${text.slice(end)}`
}

/** The value at `node` as JSON.parse gives it. */
export function readValue(text: string, node: JsonNode): unknown {
  return JSON.parse(text.slice(node.at, endOfValue(text, node.at)))
}

/** Offset behind the value that begins at `at`. */
function endOfValue(text: string, at: number): number {
  const token = /"(?:[^"\\]|\\.)*"|[[\]{}]|[^\s,:[\]{}"]+/gy
  const skip = /[\s,:]*/y
  let depth = 0
  for (let next = at; ;) {
    token.lastIndex = next
    const found = token.exec(text)?.[0] ?? ''
    next += found.length
    if (found === '{' || found === '[') depth += 1
    if (found === '}' || found === ']') depth -= 1
    if (depth === 0 || found === '') return next
    skip.lastIndex = next
    next += skip.exec(text)?.[0].length ?? 0
  }
}
