/** The results for a person, on one screen: one line for what is well, the whole story for what is not, and each fix whole in one line, for copying. */
import { clip, wrap, type Colour, type Paint } from '../terminal.js'
import type { CheckResult, Verdict } from './check.js'

const COLOURS: Readonly<Record<Verdict, Colour>> = { ok: 'green', warning: 'yellow', broken: 'red', skipped: 'dim' }
const WORD_WIDTH = 'warning'.length

/** The worst stands last, next to the summary and the prompt. */
const ORDER: readonly Verdict[] = ['ok', 'skipped', 'warning', 'broken']

/** @param columns of the terminal; undefined elsewhere: then nothing is wrapped or cut, so that every result and every fix is one line to grep */
export function screen(results: readonly CheckResult[], { columns, paint }: { readonly columns: number | undefined; readonly paint: Paint }): string {
  const width = columns === undefined ? undefined : Math.max(20, columns)
  // On a narrow terminal a hanging indent would leave no room for the text.
  const isNarrow = width !== undefined && width < 50
  const indent = isNarrow ? 2 : WORD_WIDTH + 2
  const lines = ORDER.flatMap((verdict) => results.filter((result) => result.verdict === verdict)).flatMap(({ id, verdict, message, fix }) => {
    const lead = verdict.padEnd(WORD_WIDTH)
    const told = `${id}: ${message.replaceAll(/\s*\n\s*/g, '; ')}`
    const [first = '', ...more] = verdict === 'ok' ? [width === undefined ? told : clip(told, width - WORD_WIDTH - 2)] : wrap(told, width, WORD_WIDTH + 2, indent)
    return [`${paint(COLOURS[verdict], lead)}  ${first}`, ...more, ...(fix === undefined ? [] : [`${' '.repeat(indent)}fix: ${fix}`])]
  })
  return `${[...lines, '', ...wrap(summary(results), width, 0, 0)].join('\n')}\n`
}

function summary(results: readonly CheckResult[]): string {
  const count = (verdict: Verdict): number => results.filter((result) => result.verdict === verdict).length
  const counts = `${count('broken')} broken, ${count('warning')} warning${count('warning') === 1 ? '' : 's'}, ${count('ok')} ok, ${count('skipped')} skipped`
  return count('broken') > 0 ? counts : `nothing is broken (${counts})`
}
