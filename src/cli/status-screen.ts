/** What `status` shows a person: a row a fact, and colour where something is not as it should be. */
import { wrap, type Colour, type Paint } from '../terminal.js'
import { VERDICT_COLOURS } from './verdict-table.js'

export type StatusDocument = {
  readonly source: { readonly label: string; readonly version: string | null; readonly problem: string | null; readonly fix: string | null }
  readonly file: { readonly path: string; readonly inSync: boolean; readonly version: string | null }
  readonly ecsAgent: { readonly running: boolean; readonly inSync: boolean | null; readonly healthy: boolean; readonly version: string | null; readonly detail: string }
  readonly restartOwed: boolean
  readonly setAside: string | null
  readonly lastSuccess: string | null
  readonly nextPass: string | null
  readonly registries: readonly { readonly registry: string; readonly probe: string; readonly reason: string }[]
}

type Look = { readonly setAsideReason: string | undefined; readonly at: Date; readonly columns: number | undefined; readonly paint: Paint }

const NAME_WIDTH = 14

export function statusScreen(status: StatusDocument, { setAsideReason, at, columns, paint }: Look): string {
  const { source, file, ecsAgent, registries } = status
  const rows: [name: string, text: string][] = [
    ['source', source.problem === null ? `${source.label}, version ${source.version ?? 'unknown'}` : `${paint('red', source.label)}: ${source.problem}`],
    ...(source.fix === null ? [] : [['', `fix: ${source.fix}`] as [string, string]]),
    ['file', `${file.path} ${file.inSync ? 'holds that' : source.problem === null ? paint('yellow', 'does NOT hold that') : writtenFrom(file.version)}`],
    ['ECS agent', [
      ecsAgent.running ? (ecsAgent.healthy ? 'running, healthy' : `running, ${paint('yellow', 'does not answer introspection')}`) : paint('red', 'not running'),
      { true: 'holds what the file holds', false: paint('yellow', 'does NOT hold what the file holds'), null: 'what it holds is not known' }[String(ecsAgent.inSync) as 'true'],
    ].join(', ')],
    ...(ecsAgent.healthy && ecsAgent.inSync === true ? [] : [['', paint('dim', ecsAgent.detail)] as [string, string]]),
    ['restart', status.restartOwed ? `${paint('yellow', 'OWED')}: the service pays it by itself; at once: ecs-regcred sync --force` : 'none owed'],
    ...(status.setAside === null ? [] : [['set aside', `${paint('red', status.setAside)}: ${setAsideReason ?? ''}`] as [string, string]]),
    ['last success', status.lastSuccess === null ? paint('yellow', 'never') : toldTime(status.lastSuccess, at)],
    ['next pass', nextPass(status.nextPass, at, paint)],
    ...(registries.length === 0 ? [['registries', 'none in the file: every pull is anonymous'] as [string, string]] : []),
    ...registries.map(({ registry, probe, reason }, index): [string, string] => {
      const verdict = paint((VERDICT_COLOURS as Readonly<Record<string, Colour>>)[probe] ?? 'yellow', probe)
      return [index === 0 ? 'registries' : '', `${registry}  ${verdict}${probe === 'accepted' ? '' : ` (${reason})`}`]
    }),
  ]
  // On a narrow terminal a long fact stands below its name, so that the names' column does not take its room.
  const isNarrow = columns !== undefined && columns < 60
  return rows.flatMap(([name, text]) => {
    // Whole, for copying: the terminal may break it where it ends.
    if (text.startsWith('fix: ')) return [`${' '.repeat(isNarrow ? 2 : NAME_WIDTH)}${text}`]
    if (isNarrow && (name === '' || wrap(text, columns, NAME_WIDTH).length > 1)) return [...(name === '' ? [] : [paint('bold', name)]), ...wrap(`  ${text}`, columns, 0, 2)]
    const [first = '', ...more] = wrap(text, columns, NAME_WIDTH)
    return [`${name.padEnd(NAME_WIDTH)}${first}`, ...more]
  }).map((line) => `${line}\n`).join('')
}

function writtenFrom(version: string | null): string {
  return version === null ? 'was never written by the service' : `was last written from version ${version}`
}

function nextPass(iso: string | null, at: Date, paint: Paint): string {
  if (iso === null) return paint('yellow', 'none planned: the service does not run here yet (ecs-regcred doctor)')
  // A pass takes its time, and its wait is written only after it.
  const isLate = at.getTime() - new Date(iso).getTime() > LATE_MS
  return isLate ? `${paint('yellow', 'overdue')}: ${toldTime(iso, at)}; does the service run? ecs-regcred doctor` : toldTime(iso, at)
}

const LATE_MS = 5 * 60_000

/** `2026-01-02T03:04:05Z (12 s ago)`. */
function toldTime(iso: string, at: Date): string {
  const seconds = Math.round((at.getTime() - new Date(iso).getTime()) / 1000)
  const size = Math.abs(seconds)
  const span = size < 120 ? `${size} s` : size < 7200 ? `${Math.round(size / 60)} min` : size < 172_800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86_400)} days`
  return `${iso.replace(/\.\d+Z$/, 'Z')} (${seconds >= 0 ? `${span} ago` : `in ${span}`})`
}
