import { parseEngineAuth } from './ecs-matching.js'
import type { EngineAuth } from './ecs-matching.js'
import { decodeGoText, goTrimSpace } from './go-json.js'

/*
 * /etc/ecs/ecs.config: as ecs-init reads it (ecs-init/docker/docker.go, the same since 2015).
 *
 * Two names are ours, and a line is ours if ecs-init sees one of them in it. `#ECS_ENGINE_AUTH_DATA=`, `export ECS_ENGINE_AUTH_DATA=`, a name behind a byte
 * order mark, the later lines of a pretty-printed document: to ecs-init these are other names, so they stay as they are and ecs-config-lint.ts speaks
 * of them. Bytes that are no text stay too: lines are handled as latin1, one character a byte.
 */

export const AUTH_TYPE = 'ECS_ENGINE_AUTH_TYPE'
export const AUTH_DATA = 'ECS_ENGINE_AUTH_DATA'

/** One line of the file, as ecs-init sees it. */
export type EcsConfigLine = {
  /** One character a byte (latin1), with its line feed if it has one. */
  readonly raw: string
  /** Text before the first `=`, outer white space gone; undefined where there is no `=`. */
  readonly name: string | undefined
  /** Text after it: quotes, leading space and comments included. */
  readonly value: string
}

/** The lines in order. Joined, their `raw` is the file. */
export function parseLines(file: Uint8Array | undefined): readonly EcsConfigLine[] {
  return Buffer.from(file ?? []).toString('latin1').split(/(?<=\n)/).filter((raw) => raw !== '').map(parseLine)
}

function parseLine(raw: string): EcsConfigLine {
  const text = goTrimSpace(decodeGoText(Buffer.from(raw, 'latin1')))
  const equals = text.indexOf('=')
  return equals < 0 ? { raw, name: undefined, value: '' } : { raw, name: text.slice(0, equals), value: text.slice(equals + 1) }
}

/** Whether ecs-init reads one of the two names that are ours in this line. */
export function isAuthLine(line: EcsConfigLine): boolean {
  return line.name === AUTH_TYPE || line.name === AUTH_DATA
}

/** The environment that ecs-init gives the ECS agent from this file: no quotes, escapes, comments or `export`; of a repeated name the last line. */
export function readEnvironment(file: Uint8Array): ReadonlyMap<string, string> {
  return new Map(parseLines(file).flatMap(({ name, value }) => (name === undefined ? [] : [[name, value] as const])))
}

/** The file's credentials as the ECS agent takes them, and whether the two names have a value at all. */
export function readEngineAuth(file: Uint8Array | undefined): EngineAuth & { readonly typeSet: boolean; readonly dataSet: boolean } {
  const environment = readEnvironment(file ?? new Uint8Array())
  const [type, data] = [environment.get(AUTH_TYPE), environment.get(AUTH_DATA)]
  return { ...parseEngineAuth(type, data), typeSet: Boolean(type), dataSet: Boolean(data) }
}
