import { stripVTControlCharacters } from 'node:util'
import type { Verdict } from '../registry/finding.js'

const COLOURS: Record<Verdict, string> = { accepted: '\u001b[32m', refused: '\u001b[31m', unknown: '\u001b[33m' }
const RESET = '\u001b[0m'

/** Least room for a column of reasons; where there is less, they stand below their names. */
const MIN_REASON = 40

/**
 * Name, verdict and reason, a line each.
 * @param columns of the terminal, to wrap at; undefined: nothing is wrapped, so that one line stays one answer for grep
 */
export function verdictTable(
  rows: readonly { readonly name: string; readonly verdict: Verdict; readonly reason: string }[],
  { columns, colour }: { readonly columns: number | undefined; readonly colour: boolean },
): string {
  const names = rows.map(({ name }) => stripVTControlCharacters(name).replace(/\p{C}/gu, ''))
  const nameWidth = Math.max(...names.map((name) => name.length))
  const indent = nameWidth + 'accepted'.length + 4
  const below = columns !== undefined && columns - indent < MIN_REASON
  const lines = rows.flatMap(({ verdict, reason }, index) => {
    const shown = colour ? `${COLOURS[verdict]}${verdict}${RESET}${' '.repeat(8 - verdict.length)}` : verdict.padEnd(8)
    if (below) return [`${shown}  ${names[index]}`, ...wrap(reason, columns - 2).map((line) => `  ${line}`)]
    const [first = '', ...rest] = columns === undefined ? [reason] : wrap(reason, columns - indent)
    return [`${(names[index] ?? '').padEnd(nameWidth)}  ${shown}  ${first}`, ...rest.map((line) => `${' '.repeat(indent)}${line}`)]
  })
  return `${lines.join('\n')}\n`
}

/** At spaces; a word that is longer than the width, such as a host, stays whole. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
