import { AUTH_TYPE, isAuthLine, parseLines, readEngineAuth } from './ecs-config-lines.js'
import type { EcsConfigLine } from './ecs-config-lines.js'
import { sameLogin } from './ecs-matching.js'
import { isGoField, readGoJson } from './go-json.js'
import { shownKey } from './key-name.js'

/**
 * What changes between two states of ecs.config, for a terminal or a log: registry names and the shape of the entries, no value of any credential and none of
 * anybody else's settings. Lines that stay are not shown. Empty where nothing changes.
 */
export function redactedDiff(before: Uint8Array | undefined, after: Uint8Array): string {
  const [old, now] = [parseLines(before), parseLines(after)]
  const [removed, added] = [without(old, now), without(now, old)]
  const isChanged = changedKeys(before, after)
  const shown = [
    ...removed.map((line) => `-${shownLine(line, () => false)}`),
    ...added.map((line) => `+${shownLine(line, isChanged)}`),
  ]
  if (shown.length === 0) return ''
  const place = 1 + old.findIndex((line, index) => line.raw !== now[index]?.raw)
  return `--- ecs.config\n+++ ecs.config\n@@ line ${place || old.length + 1} @@\n${shown.join('\n')}\n`
}

/** Lines of `some` that `others` has not, each as often as it is missing; line ends do not count. */
function without(some: readonly EcsConfigLine[], others: readonly EcsConfigLine[]): readonly EcsConfigLine[] {
  const left = new Map<string, number>()
  const text = ({ raw }: EcsConfigLine) => raw.replace(/\n$/, '')
  for (const line of others) left.set(text(line), (left.get(text(line)) ?? 0) + 1)
  return some.filter((line) => {
    const count = left.get(text(line)) ?? 0
    left.set(text(line), count - 1)
    return count <= 0
  })
}

/** Whether a key, as written in `after`, has another login than it had. */
function changedKeys(before: Uint8Array | undefined, after: Uint8Array): (key: string) => boolean {
  const [old, now] = [readEngineAuth(before), readEngineAuth(after)]
  const changed = [...now.entries].filter(([stripped, entry]) => {
    const was = old.entries.get(stripped)
    return was !== undefined && !sameLogin(was, entry)
  })
  const keys = new Set(changed.map(([, { key }]) => key))
  return (key) => keys.has(key)
}

function shownLine(line: EcsConfigLine, isChanged: (key: string) => boolean): string {
  if (!isAuthLine(line)) return shownForeignLine(line)
  if (line.name === AUTH_TYPE) return `${AUTH_TYPE}=${/^(docker|dockercfg|)$/.test(line.value) ? line.value : '[redacted]'}`
  return `${line.name}=${shownData(line.value, isChanged)}`
}

/** Names that the ECS agent's documentation knows are no secrets; the rest of such a line, and any other line, may be. */
function shownForeignLine({ name }: EcsConfigLine): string {
  const known = name !== undefined && /^(?:(?:ECS|AWS|DOCKER)_[A-Z0-9_]{1,60}|(?:HTTPS?|NO)_PROXY)$/.test(name)
  return known ? `${name}=[not shown]` : '[a line that is not shown]'
}

const FIELDS = ['auth', 'username', 'password', 'email', 'serveraddress', 'identitytoken', 'registrytoken']

function shownData(data: string, isChanged: (key: string) => boolean): string {
  if (data === '') return ''
  const document = readGoJson(data)
  if (!Array.isArray(document)) return '[redacted]'
  const entries = document.map(([key, value]) => {
    if (!Array.isArray(value)) return `${JSON.stringify(shownKey(key))}:"[redacted]"`
    const fields = FIELDS.filter((field) => value.some(([name]) => isGoField(name, field)))
    const mark = isChanged(key) ? '[redacted, changed]' : '[redacted]'
    return `${JSON.stringify(shownKey(key))}:{${fields.map((field) => `"${field}":"${mark}"`).join(',')}}`
  })
  return `{${entries.join(',')}}`
}
