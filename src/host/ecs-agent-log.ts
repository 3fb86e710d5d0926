import { open } from 'node:fs/promises'
import { join } from 'node:path'

/** The end of the log that is looked at: some thousand lines. */
const TAIL_BYTES = 256 * 1024

/** What the ECS agent itself says of credentials that it could not use. It starts and runs all the same, and pulls without them. */
export type AuthWarning = {
  /** Undefined where the line has no time that we can read. */
  readonly atMs: number | undefined
  /** In words of ours: a line of the log may quote what was put into the wrong place. */
  readonly message: string
}

// agent/dockerclient/dockerauth/dockerauth.go, parseAuthData()
const WARNINGS: readonly (readonly [RegExp, string])[] = [
  [/Could not parse 'docker(?:cfg)?' type auth config/, 'it could not parse ECS_ENGINE_AUTH_DATA, and took no credentials from it'],
  [/Unknown auth configuration: /, 'it does not know the ECS_ENGINE_AUTH_TYPE it was given, and took no credentials'],
  [/Malformed auth data for registry .*must contain ':'/, 'the auth of a registry holds no colon between username and password'],
  [/Malformed auth data for registry /, 'the auth of a registry is not base64'],
]

/** The warnings since a point in time (milliseconds since the epoch), oldest first; none where there is no log. */
export async function readAgentLogWarnings(root: string, sinceMs: number): Promise<readonly AuthWarning[]> {
  const text = await readTail(join(root, '/var/log/ecs/ecs-agent.log'))
  return parseAgentLog(text).filter(({ atMs }) => atMs === undefined || atMs >= sinceMs)
}

/** Both forms: `level=warn time=2024-05-01T10:00:00Z msg="…"`, and `2018-05-01T10:00:00Z [WARN] …` of before 2019. */
export function parseAgentLog(text: string): AuthWarning[] {
  const warnings: AuthWarning[] = []
  for (const line of text.split('\n')) {
    const known = WARNINGS.find(([pattern]) => pattern.test(line))
    if (!known) continue
    const atMs = Date.parse(/(?:^|time="?)(\d{4}-\d\d-\d\dT[\d:.]+Z)/.exec(line)?.[1] ?? '')
    warnings.push({ atMs: Number.isNaN(atMs) ? undefined : atMs, message: known[1] })
  }
  return warnings
}

async function readTail(path: string): Promise<string> {
  const handle = await open(path).catch(() => undefined)
  if (!handle) return ''
  try {
    const { size } = await handle.stat()
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8', 0, bytesRead)
  } catch {
    return '' // rotated away, or a directory: the log is a help, not a need
  } finally {
    await handle.close()
  }
}
