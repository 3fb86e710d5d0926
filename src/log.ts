import pino, { type Logger } from 'pino'
import { plain, type Colour, type Paint } from './terminal.js'

/** The first fence is `Redacted`; this is the second: a field of such a name never reaches a line, whoever put it there. */
const SECRET_FIELDS = ['password', 'auth', 'token', 'content', 'authorization', 'identitytoken', 'secretString', 'secretBinary']

/**
 * The program's one logger, made once in main and passed down. JSON lines for machines; on a terminal, lines for people.
 * @param fd 1 for the service, 2 for commands whose result goes to stdout
 * @param paint of the terminal that it is; undefined: it is none
 */
export function createLogger(level: string, fd: 1 | 2, paint?: Paint): Logger {
  const destination = lossyDestination(fd)
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
    },
    paint ? { write: (line: string) => destination.write(readableLine(line, paint)) } : destination,
  )
}

/** A disk that is full or a terminal that is gone costs the lines of that time, and never a pass in its middle. */
function lossyDestination(fd: 1 | 2): { readonly write: (line: string) => void } {
  // Synchronous: what happened before a kill -9 is in the journal, and a line costs microseconds.
  // A new one after an error: the old one would try its line again before any other, and keep all that come after.
  const open = (): ReturnType<typeof pino.destination> => pino.destination({ fd, sync: true }).on('error', () => { destination = open() })
  let destination = open()
  return { write: (line) => void destination.write(line) }
}

const LEVEL_COLOURS: Readonly<Record<string, Colour>> = { trace: 'dim', debug: 'dim', info: 'green', warn: 'yellow', error: 'red', fatal: 'red' }

/** `{"level":"warn","time":"2026-01-02T03:04:05.678Z","event":"source.failed",…,"msg":"…"}` → `03:04:05 warn  source.failed  …  key=value`. Times are UTC. */
export function readableLine(line: string, paint: Paint = plain): string {
  const { level, time, event, msg, fix, ...fields } = JSON.parse(line) as Record<string, unknown>
  const facts = Object.entries(fields).map(([name, value]) => `${name}=${readableValue(value)}`).join(' ')
  const parts = [
    `${paint('dim', String(time).slice(11, 19))} ${paint(LEVEL_COLOURS[String(level)] ?? 'dim', String(level).padEnd(5))} ${event === undefined ? '' : paint('bold', String(event))}`.trimEnd(),
    ...(msg === undefined ? [] : [String(msg)]),
    ...(facts === '' ? [] : [paint('dim', facts)]),
  ]
  return `${parts.join('  ')}\n${fix === undefined ? '' : `${' '.repeat(15)}${paint('bold', 'fix')}: ${String(fix)}\n`}`
}

/** A list by commas; what has spaces in quotes. */
function readableValue(value: unknown): string {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(',')
  return typeof value === 'string' && /^[^\s"]+$/.test(value) ? value : JSON.stringify(value)
}
