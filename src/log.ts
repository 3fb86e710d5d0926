import pino, { type Logger } from 'pino'

/** The first fence is `Redacted`; this is the second: a field of such a name never reaches a line, whoever put it there. */
const SECRET_FIELDS = ['password', 'auth', 'token', 'content', 'authorization', 'identitytoken', 'secretString', 'secretBinary']

/**
 * The program's one logger, made once in main and passed down. JSON lines for machines; on a terminal, lines for people.
 * @param fd 1 for the service, 2 for commands whose result goes to stdout
 */
export function createLogger(level: string, fd: 1 | 2, isTerminal: boolean): Logger {
  // Synchronous: what happened before a kill -9 is in the journal, and a line costs microseconds.
  const destination = pino.destination({ fd, sync: true })
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
    },
    isTerminal ? { write: (line: string) => void destination.write(readableLine(line)) } : destination,
  )
}

/** `{"level":"warn","time":"2026-01-02T03:04:05.678Z","event":"source.failed",…,"msg":"…"}` → `03:04:05 warn  source.failed  … key=value`. */
export function readableLine(line: string): string {
  const { level, time, event, msg, fix, ...fields } = JSON.parse(line) as Record<string, unknown>
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const head = [String(time).slice(11, 19), String(level).padEnd(5), event, msg].filter((part) => part !== undefined).join('  ')
  return `${head}${shown.length > 0 ? `  (${shown.join(' ')})` : ''}\n${fix === undefined ? '' : `          fix: ${String(fix)}\n`}`
}
