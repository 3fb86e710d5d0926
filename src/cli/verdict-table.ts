import { stripVTControlCharacters } from 'node:util'
import type { Verdict } from '../registry/finding.js'
import { wrap, type Colour, type Paint } from '../terminal.js'

export const VERDICT_COLOURS: Readonly<Record<Verdict, Colour>> = { accepted: 'green', refused: 'red', unknown: 'yellow' }

/** Least room for a column of reasons; where there is less, they stand below their names. */
const MIN_REASON = 40

/**
 * Name, verdict and reason, a line each.
 * @param columns of the terminal, to wrap at; undefined: nothing is wrapped, so that one line stays one answer for grep
 */
export function verdictTable(
  rows: readonly { readonly name: string; readonly verdict: Verdict; readonly reason: string }[],
  { columns, paint }: { readonly columns: number | undefined; readonly paint: Paint },
): string {
  const names = rows.map(({ name }) => stripVTControlCharacters(name).replace(/\p{C}/gu, ''))
  const nameWidth = Math.max(...names.map((name) => name.length))
  const indent = nameWidth + 'accepted'.length + 4
  const below = columns !== undefined && columns - indent < MIN_REASON
  const lines = rows.flatMap(({ verdict, reason }, index) => {
    const shown = `${paint(VERDICT_COLOURS[verdict], verdict)}${' '.repeat(8 - verdict.length)}`
    if (below) return [`${shown}  ${names[index]}`, ...wrap(reason, columns, 2).map((line, at) => (at === 0 ? `  ${line}` : line))]
    const [first = '', ...rest] = wrap(reason, columns, indent)
    return [`${(names[index] ?? '').padEnd(nameWidth)}  ${shown}  ${first}`, ...rest]
  })
  return `${lines.join('\n')}\n`
}
