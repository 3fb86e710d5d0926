/** The results for a person, on one screen: one line for what is well, the whole story for what is not. */
import type { CheckResult, Verdict } from './check.js'

const COLOURS: Record<Verdict, number> = { ok: 32, warning: 33, broken: 31, skipped: 90 }
const WORD_WIDTH = 'warning'.length

/** The worst stands last, next to the summary and the prompt. */
const ORDER: readonly Verdict[] = ['ok', 'skipped', 'warning', 'broken']

/** @param columns of the terminal; undefined elsewhere: then nothing is wrapped or cut, so that every result and every fix is one line to grep */
export function screen(results: readonly CheckResult[], { columns, colour }: { readonly columns: number | undefined; readonly colour: boolean }): string {
  const width = columns === undefined ? Infinity : Math.max(20, columns)
  // On a narrow terminal a hanging indent would leave no room for the text.
  const indent = width < 50 ? 2 : WORD_WIDTH + 2
  const lines = ORDER.flatMap((verdict) => results.filter((result) => result.verdict === verdict)).flatMap(({ id, verdict, message, fix }) => {
    const lead = verdict.padEnd(WORD_WIDTH)
    const told = `${id}: ${message.replaceAll(/\s*\n\s*/g, '; ')}`
    const isFine = verdict === 'ok' || verdict === 'skipped'
    const [first = '', ...more] = isFine ? [cut(told, width - WORD_WIDTH - 2)] : wrap(told, width, WORD_WIDTH + 2, indent)
    const fixed = isFine || fix === undefined ? [] : wrap(`fix: ${fix}`, width, indent, indent + (width < 50 ? 0 : 5))
    const marked = colour ? `\u001b[${COLOURS[verdict]}m${lead}\u001b[0m` : lead
    return [`${marked}  ${first}`, ...more, ...fixed.map((line, index) => (index === 0 ? ' '.repeat(indent) + line : line))]
  })
  return `${[...lines, '', ...wrap(summary(results), width, 0, 0)].join('\n')}\n`
}

function cut(text: string, room: number): string {
  return text.length <= room ? text : `${text.slice(0, room - 1)}…`
}

function summary(results: readonly CheckResult[]): string {
  const count = (verdict: Verdict): number => results.filter((result) => result.verdict === verdict).length
  const counts = `${count('broken')} broken, ${count('warning')} warning${count('warning') === 1 ? '' : 's'}, ${count('ok')} ok, ${count('skipped')} skipped`
  return count('broken') > 0 ? counts : `nothing is broken (${counts})`
}

/** Lines of at most `width` columns, the first one shorter by `firstIndent`, which its caller prints, the rest indented. A word that is longer than a line is cut. */
function wrap(text: string, width: number, firstIndent: number, indent: number): string[] {
  const lines: string[] = []
  let line = ''
  let room = width - firstIndent
  const flush = (): void => {
    lines.push(lines.length === 0 ? line : ' '.repeat(indent) + line)
    line = ''
    room = width - indent
  }
  for (const word of text.split(' ')) {
    let rest = word
    if (line !== '' && line.length + 1 + rest.length > room) flush()
    while (rest.length > room) {
      line = rest.slice(0, room)
      rest = rest.slice(room)
      flush()
    }
    line = line === '' ? rest : `${line} ${rest}`
  }
  if (line !== '' || lines.length === 0) flush()
  return lines
}
