/** What `rollout` shows: a region of the terminal drawn over and over while it goes on, plain lines where there is no terminal, a table at the end. */
import type { Writable } from 'node:stream'
import { ADVICE, type ReasonClass } from '../fleet/classify-reason.js'
import type { TaskReport, Verdict } from '../fleet/judge-deployment.js'
import type { ServiceOutcome, ServiceProgress } from '../fleet/roll-out.js'
import { clip, columnsOf, painter, wrap, type Colour, type Paint } from '../terminal.js'

export type Display = {
  readonly update: (progress: ServiceProgress) => void
  /** Leaves the terminal as it was found. */
  readonly close: () => void
}

/** Redraws in place on a terminal, at most ten lines a second less; prints a line per change elsewhere. */
export function rolloutDisplay(stderr: Writable & { readonly isTTY?: boolean }, services: readonly string[], cluster: string, environment: NodeJS.ProcessEnv): Display {
  const started = performance.now()
  const elapsed = (): string => duration(performance.now() - started)
  const rows = new Map<string, ServiceProgress>()
  if (stderr.isTTY !== true || environment['TERM'] === 'dumb') {
    const printed = new Map<string, string>()
    return {
      update: (progress) => {
        const line = `${progress.service.padEnd(width(services))}  ${phaseOf(progress)}  ${countsOf(progress)}${progress.reason === '' ? '' : `  ${progress.reason}`}`
        if (printed.get(progress.service) === line) return
        printed.set(progress.service, line)
        stderr.write(`${elapsed().padStart(7)}  ${line}\n`)
      },
      close: () => {},
    }
  }
  const terminal = stderr as Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number }
  const paint = painter(stderr, environment)
  let drawn = 0
  const draw = (): void => {
    const lines = renderScreen(services, rows, {
      columns: columnsOf(terminal) ?? 80, rows: terminal.rows || 24, paint, title: `rollout in ${cluster}  ${elapsed()}  Ctrl-C leaves the deployments going`,
    })
    stderr.write(`${drawn > 0 ? `\u001b[${drawn}A` : ''}\r\u001b[J${lines.map((line) => `${line}\n`).join('')}`)
    drawn = lines.length
  }
  draw()
  return {
    update: (progress) => {
      rows.set(progress.service, progress)
      draw()
    },
    close: () => {
      if (drawn > 0) stderr.write(`\u001b[${drawn}A\r\u001b[J`)
      drawn = 0
    },
  }
}

/** One line a service, none longer than the terminal (a wrapped line would break the redraw), and no more lines than it has. */
export function renderScreen(
  services: readonly string[], rows: ReadonlyMap<string, ServiceProgress>,
  { columns, rows: height, paint, title }: { readonly columns: number; readonly rows: number; readonly paint: Paint; readonly title: string },
): string[] {
  const nameWidth = Math.min(width(services), Math.max(8, Math.floor(columns / 3)))
  // What goes on stands first where there is no room for all.
  const ordered = services.toSorted((a, b) => ORDER[rows.get(a)?.phase ?? 'waiting'] - ORDER[rows.get(b)?.phase ?? 'waiting'])
  const room = Math.max(1, height - 3)
  const shown = ordered.length <= room ? services : ordered.slice(0, room - 1)
  const lines = shown.map((service) => {
    const progress = rows.get(service)
    const phase = progress === undefined ? 'waiting' : phaseOf(progress)
    const state = progress === undefined ? '' : `  ${countsOf(progress)}${progress.reason === '' ? '' : `  ${progress.reason}`}`
    const plain = clip(`  ${clip(service, nameWidth).padEnd(nameWidth)}  ${phase.padEnd(11)}${state}`, columns - 1)
    // Painted last: escapes have no width, and a clipped one would colour the rest of the terminal.
    if (progress === undefined) return paint('dim', plain)
    const [lead, rest] = [plain.slice(0, nameWidth + 4), plain.slice(nameWidth + 4)]
    return lead + rest.replace(phase, () => paint(colourOf(progress.verdict), phase))
  })
  if (shown.length < services.length) lines.push(clip(`  … and ${services.length - shown.length} more`, columns - 1))
  return [clip(title, columns - 1), ...lines]
}

/**
 * The verdicts, with every task that did not do well, why, and what to do.
 * @param columns of the terminal; undefined elsewhere
 */
export function renderOutcomes(outcomes: readonly ServiceOutcome[], paint: Paint, columns: number | undefined): string {
  const nameWidth = width(outcomes.map(({ service }) => service))
  const lines: string[] = []
  const below = (text: string): void => { lines.push(...wrap(`  ${text}`, columns, 0, 4)) }
  for (const { service, verdict, reason, tasks, restore, failure } of outcomes) {
    lines.push(...wrap(`${service.padEnd(nameWidth)}  ${paint(colourOf(verdict), verdict)}${' '.repeat(Math.max(0, 13 - verdict.length))}  ${reason}`, columns, 0, 4))
    const troubled = tasks.filter(({ class: of }) => !['fresh', 'starting', 'scheduler'].includes(of))
    for (const task of troubled.slice(0, MOST_TASKS)) below(describeTask(task))
    if (troubled.length > MOST_TASKS) below(`… and ${troubled.length - MOST_TASKS} more tasks (--json has all)`)
    for (const of of new Set(troubled.map((task) => task.class))) below(`${of}: ${adviceOf(of)}`)
    if (failure !== undefined && restore !== undefined) below(`${paint('red', 'its own deployment percentages could not be put back')}: ${failure.message}`)
    // Whole, for copying: the terminal may break them where it ends.
    if (failure?.details.fix !== undefined) lines.push(`  fix: ${failure.details.fix}`)
    if (restore !== undefined) lines.push(`  to put its own percentages back: ${restore}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** Enough to see a pattern. */
const MOST_TASKS = 5

const ORDER = { rolling: 0, waiting: 1, ended: 2 } as const

function describeTask({ task, status, reason, containerInstance }: TaskReport): string {
  return `task ${task.slice(0, 12)} ${status}${containerInstance === null ? '' : ` on ${containerInstance.slice(0, 12)}`}: ${reason ?? 'nothing was pulled for it'}`
}

function adviceOf(of: TaskReport['class']): string {
  return of === 'no-pull' ? 'the host used an image it had: ECS_IMAGE_PULL_BEHAVIOR=always or default makes it pull' : ADVICE[of as ReasonClass]
}

function phaseOf({ phase, verdict }: ServiceProgress): string {
  return verdict ?? phase
}

function countsOf({ counts: { desired, running, pending, old, failed } }: ServiceProgress): string {
  return [`${running}/${desired} running`, pending > 0 && `${pending} starting`, old > 0 && `${old} old`, failed > 0 && `${failed} failed`].filter(Boolean).join(', ')
}

function colourOf(verdict: Verdict | undefined): Colour {
  if (verdict === undefined) return 'yellow'
  if (verdict === 'fresh' || verdict === 'nothing-to-do') return 'green'
  return verdict === 'timed-out' || verdict === 'interrupted' || verdict === 'not-started' ? 'yellow' : 'red'
}

function width(names: readonly string[]): number {
  return Math.max(0, ...names.map((name) => name.length))
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, '0')} s`
}
