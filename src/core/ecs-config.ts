import { ServiceError } from '../errors.js'
import { AUTH_DATA, AUTH_TYPE, isAuthLine, parseLines } from './ecs-config-lines.js'
import type { EcsConfigLine } from './ecs-config-lines.js'
import { goTrimSpace } from './go-json.js'

export { AUTH_DATA, AUTH_TYPE, readEngineAuth, readEnvironment } from './ecs-config-lines.js'
export { redactedDiff } from './ecs-config-diff.js'

/**
 * `current` with these credentials, and every line that is not ours as it was, but for a line feed at the end of the file where it lacked one. The two
 * lines go where the first of their kind stood, else to the end.
 * @param authData the compact JSON of type dockercfg
 * @throws {ServiceError} E_ECS_CONFIG where removing an old line would take something else with it
 */
export function renderEcsConfig(current: Uint8Array | undefined, authData: string): Uint8Array {
  if (/[\0\r\n]/.test(authData) || goTrimSpace(authData) !== authData) throw new ServiceError('E_BUG', `the rendered ${AUTH_DATA} is not one trimmed line`)
  return replaceLines(current, Buffer.from(`${AUTH_TYPE}=dockercfg\n${AUTH_DATA}=${authData}\n`).toString('latin1'))
}

/**
 * `current` with its credential lines replaced by those of `from`, as they stand there: the way back, which keeps what others changed in `current` since.
 * Without any in `from` they are removed.
 * @throws {ServiceError} E_ECS_CONFIG as `renderEcsConfig`
 */
export function replaceAuthLines(current: Uint8Array | undefined, from: Uint8Array | undefined): Uint8Array {
  return replaceLines(current, ended(parseLines(from).filter(isAuthLine).map(({ raw }) => raw).join('')))
}

function replaceLines(current: Uint8Array | undefined, authLines: string): Uint8Array {
  const lines = parseLines(current)
  refuseBareReturns(lines)
  const found = lines.findIndex(isAuthLine)
  const place = found < 0 ? lines.length : found
  const foreign = (part: readonly EcsConfigLine[]) => part.filter((line) => !isAuthLine(line)).map(({ raw }) => raw).join('')
  // `echo ECS_CLUSTER=… >>ecs.config` of the install scripts would glue itself to a last line without its end, and so would ours.
  return Buffer.from(ended(ended(foreign(lines.slice(0, place))) + authLines + foreign(lines.slice(place))), 'latin1')
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

/** A lone CR ends a line for systemd and for the person who wrote it, not for ecs-init: what stands behind it would go unnoticed with our line. */
function refuseBareReturns(lines: readonly EcsConfigLine[]): void {
  const index = lines.findIndex((line) => isAuthLine(line) && line.value.includes('\r'))
  if (index < 0) return
  throw new ServiceError('E_ECS_CONFIG', `could not edit ecs.config: its line ${index + 1} holds ${lines[index]?.name} and, after a bare carriage return, more text, which would be lost`, {
    line: index + 1,
    fix: 'end each line of ecs.config with a line feed; settings that the ECS agent has not seen so far, ECS_CLUSTER among them, then take effect',
  })
}
