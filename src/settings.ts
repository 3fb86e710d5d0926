/**
 * Settings: defaults, then the env file, then the environment, then options; later wins. One table names each once, and the options, the env
 * file, `--help` and the README follow it. Every problem is reported at once: an unattended machine gives one chance to read the log.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse as parseEnvFile } from 'dotenv'
import { nearest } from './core/nearest.js'
import { parseSecretReference } from './core/secret-reference.js'
import { ServiceError } from './errors.js'

type Parser<T> = (text: string) => T

/** `5m`, `60s`, `1500ms`, `2h`, `1d`, or `0`: milliseconds. */
export const durationMs: Parser<number> = (text) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$|^0$/.exec(text.trim())
  const ms = match && Math.round(Number(match[1] ?? 0) * { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[(match[2] ?? 'ms') as 'ms'])
  // setTimeout's own limit: a longer one would fire at once.
  if (ms === null || ms > 2 ** 31 - 1) throw new Error('write a duration such as 30s, 5m or 1h (at most 24d)')
  return ms
}

const text: Parser<string> = (value) => value
const list: Parser<readonly string[]> = (value) => value.split(',').map((item) => item.trim()).filter((item) => item !== '')
const positiveDurationMs: Parser<number> = (value) => {
  const ms = durationMs(value)
  // Less than this is a loop without pause.
  if (ms < 100) throw new Error('it must be at least 100ms')
  return ms
}
/** A pass may wait this long twice, before and after going back, and the unit's watchdog has to see its end. */
const verifyTimeoutMs: Parser<number> = (value) => {
  const ms = positiveDurationMs(value)
  if (ms > 600_000) throw new Error('it must be at most 10m')
  return ms
}
const absolutePath: Parser<string> = (value) => {
  if (!value.startsWith('/')) throw new Error('write an absolute path')
  return value
}
const httpUrl: Parser<string> = (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url?.protocol !== 'http:' || url.username !== '') throw new Error('write an http:// address')
  return value.replace(/\/+$/, '')
}
const serviceName: Parser<string> = (value) => {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.@-]*$/.test(value)) throw new Error('write the name of a unit or job, such as ecs')
  return value.replace(/\.service$/, '')
}
const oneOf = <const T extends string>(...words: T[]): Parser<T> => (value) => {
  const word = words.find((candidate) => candidate === value)
  if (word === undefined) throw new Error(`write ${words.join(' or ')}`)
  return word
}

/** Adding a setting? Also the README's table (the test compares them). */
export const SETTINGS = {
  REGCRED_SECRET_ID: { parse: list, help: 'secret name or ARN, several separated by commas; ARN:json-key:version-stage:version-id works' },
  REGCRED_DOCKER_CONFIG: { parse: text, help: 'path of a docker config.json; with no source set, $DOCKER_CONFIG/config.json or ~/.docker/config.json' },
  REGCRED_REGISTRY: { parse: text, help: 'registry for documents that name none' },
  REGCRED_USERNAME: { parse: text, help: 'username for documents that are a bare token' },
  REGCRED_KEEP_NEWLINE: { parse: oneOf('on', 'off'), default: 'off', help: 'on: a newline at the end of a decoded password is part of it' },
  REGCRED_ROOT: { parse: absolutePath, default: '/', help: "put before every path of the machine: a test's or an image build's tree" },
  REGCRED_ECS_CONFIG: { parse: absolutePath, default: '/etc/ecs/ecs.config', help: 'the file that the ECS agent reads' },
  REGCRED_STATE_DIR: { parse: absolutePath, default: '/var/lib/ecs-regcred', help: 'state.json and the last good copy' },
  REGCRED_INTERVAL: { parse: positiveDurationMs, default: '5m', help: 'poll of the secret and safety-net look at a file; jittered' },
  REGCRED_SPLAY: { parse: durationMs, help: "a host's own fixed place in this window before a restart; 60s for a secret, 0s for a file" },
  REGCRED_MIN_RESTART_GAP: { parse: durationMs, default: '60s', help: 'restarts closer than that wait; nothing is dropped' },
  REGCRED_INIT: { parse: oneOf('auto', 'systemd', 'upstart'), default: 'auto', help: 'auto, systemd or upstart' },
  REGCRED_ECS_SERVICE: { parse: serviceName, default: 'ecs', help: 'unit or job name of the ECS agent' },
  REGCRED_INTROSPECTION_URL: { parse: httpUrl, default: 'http://127.0.0.1:51678', help: "the ECS agent's introspection" },
  REGCRED_DOCKER_SOCKET: { parse: absolutePath, default: '/var/run/docker.sock', help: 'to see what the running ECS agent holds' },
  REGCRED_VERIFY_TIMEOUT: { parse: verifyTimeoutMs, default: '120s', help: 'deadline for the ECS agent after a restart' },
  REGCRED_PROBE: { parse: oneOf('on', 'off'), default: 'on', help: 'on: log in to each changed registry before its credential is applied' },
  REGCRED_PROBE_CA_FILE: { parse: absolutePath, help: 'PEM file of a private CA, beside the public ones' },
  REGCRED_PROBE_INSECURE: { parse: list, default: '', help: 'plain-http registries, comma-separated hosts (loopback always may)' },
  REGCRED_TAKEOVER: { parse: oneOf('refuse', 'replace'), default: 'refuse', help: 'replace: drop registries of ecs.config that the source lacks' },
  REGCRED_METRICS_FILE: { parse: absolutePath, help: 'Prometheus text file, written by rename after each pass' },
  REGCRED_PUBLISH_VERSION: { parse: oneOf('on', 'off'), default: 'off', help: "on: the version is put into the container instance's attributes, for `fleet`" },
  REGCRED_LOG_LEVEL: { parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'), default: 'info', help: 'least level logged' },
} as const satisfies Record<string, { parse: Parser<unknown>; default?: string; help: string }>

export type SettingName = keyof typeof SETTINGS

/** `REGCRED_SECRET_ID` → `secret-id`. */
export function optionName(name: SettingName): string {
  return name.slice('REGCRED_'.length).toLowerCase().replaceAll('_', '-')
}

export type Settings = {
  readonly source: { readonly kind: 'secret'; readonly secretIds: readonly string[] } | { readonly kind: 'file'; readonly path: string }
  readonly registry: string | undefined
  readonly username: string | undefined
  readonly keepNewline: boolean
  readonly root: string
  readonly ecsConfigPath: string
  readonly stateDir: string
  readonly intervalMs: number
  readonly splayMs: number
  readonly minRestartGapMs: number
  readonly init: 'auto' | 'systemd' | 'upstart'
  readonly ecsService: string
  readonly introspectionUrl: string
  readonly dockerSocket: string
  readonly verifyTimeoutMs: number
  readonly probe: boolean
  readonly probeCaFile: string | undefined
  readonly probeInsecure: readonly string[]
  readonly takeover: 'refuse' | 'replace'
  readonly metricsFile: string | undefined
  readonly publishVersion: boolean
  readonly logLevel: string
  /** What the env file holds for the AWS SDK: `AWS_…`, proxies. Meant for the environment, where that does not say otherwise. */
  readonly sdkEnvironment: Readonly<Record<string, string>>
}

/**
 * @param options what the command line said, by setting name
 * @throws {ServiceError} E_SETTINGS with every problem, one a line
 */
export function readSettings(environment: NodeJS.ProcessEnv, options: Partial<Record<SettingName, string>>, envFile?: string): Settings {
  const problems: string[] = []
  // The env file is a path of the machine as well, so the root has to be known before it is read.
  const rootText = options.REGCRED_ROOT ?? environment['REGCRED_ROOT'] ?? '/'
  const fromFile = readEnvFile(envFile, rootText, problems)
  const strings: Record<string, string | undefined> = {}
  // Started as `node dist/main.js`, Node has read our --env-file as its own, and what stands in it came with the environment as well (main.ts).
  const ownEnvironment = Object.fromEntries(Object.entries(environment).filter(([name, text]) => envFile === undefined || text !== fromFile[name]))
  const layers: (readonly [string, Partial<Record<string, string>>])[] = [['env file', fromFile], ['environment', ownEnvironment], ['options', options]]
  for (const [where, values] of layers) {
    // A source named later replaces one of the other kind named earlier: `sync --docker-config X` beside an env file with a secret.
    if (values['REGCRED_SECRET_ID'] && values['REGCRED_DOCKER_CONFIG']) {
      problems.push(`REGCRED_SECRET_ID and REGCRED_DOCKER_CONFIG are both set (${where}): there is one source, so remove one of them`)
    }
    if (values['REGCRED_SECRET_ID']) delete strings['REGCRED_DOCKER_CONFIG']
    if (values['REGCRED_DOCKER_CONFIG']) delete strings['REGCRED_SECRET_ID']
    for (const [name, value] of Object.entries(values)) {
      if (!name.startsWith('REGCRED_')) continue
      if (name in SETTINGS) strings[name] = value || undefined
      else problems.push(`${name} (${where}) is not a setting${nearest(name, Object.keys(SETTINGS))}`)
    }
  }

  function value<N extends SettingName>(name: N): ReturnType<(typeof SETTINGS)[N]['parse']> | undefined {
    const row: { parse: Parser<unknown>; default?: string } = SETTINGS[name]
    // `NAME=` in an env file means "not set": an empty secret id or path is never meant.
    const raw = strings[name]?.trim() || row.default
    if (raw === undefined) return undefined
    try {
      return row.parse(raw) as ReturnType<(typeof SETTINGS)[N]['parse']>
    } catch (error) {
      problems.push(`${name}=${raw}: ${(error as Error).message}`)
      return undefined
    }
  }

  const secretIds = value('REGCRED_SECRET_ID')
  const dockerConfig = value('REGCRED_DOCKER_CONFIG')
  if (secretIds?.length === 0) problems.push('REGCRED_SECRET_ID holds no name')
  for (const id of secretIds ?? []) {
    try {
      parseSecretReference(id)
    } catch (error) {
      const { message, details: { fix } } = error as ServiceError
      problems.push(fix === undefined ? message : `${message}; ${fix}`)
    }
  }
  const root = value('REGCRED_ROOT') ?? '/'
  const dockerDirectory = environment['DOCKER_CONFIG'] || fromFile['DOCKER_CONFIG'] || join(environment['HOME'] || homedir(), '.docker')
  const settings: Settings = {
    source: secretIds !== undefined
      ? { kind: 'secret', secretIds }
      : { kind: 'file', path: dockerConfig ?? join(dockerDirectory, 'config.json') },
    registry: value('REGCRED_REGISTRY'),
    username: value('REGCRED_USERNAME'),
    keepNewline: value('REGCRED_KEEP_NEWLINE') === 'on',
    root,
    ecsConfigPath: underRoot(root, value('REGCRED_ECS_CONFIG') ?? ''),
    stateDir: underRoot(root, value('REGCRED_STATE_DIR') ?? ''),
    intervalMs: value('REGCRED_INTERVAL') ?? 0,
    splayMs: value('REGCRED_SPLAY') ?? (secretIds === undefined ? 0 : 60_000),
    minRestartGapMs: value('REGCRED_MIN_RESTART_GAP') ?? 0,
    init: value('REGCRED_INIT') ?? 'auto',
    ecsService: value('REGCRED_ECS_SERVICE') ?? '',
    introspectionUrl: value('REGCRED_INTROSPECTION_URL') ?? '',
    dockerSocket: underRoot(root, value('REGCRED_DOCKER_SOCKET') ?? ''),
    verifyTimeoutMs: value('REGCRED_VERIFY_TIMEOUT') ?? 0,
    probe: value('REGCRED_PROBE') !== 'off',
    probeCaFile: optionallyUnderRoot(root, value('REGCRED_PROBE_CA_FILE')),
    probeInsecure: value('REGCRED_PROBE_INSECURE') ?? [],
    takeover: value('REGCRED_TAKEOVER') ?? 'refuse',
    metricsFile: optionallyUnderRoot(root, value('REGCRED_METRICS_FILE')),
    publishVersion: value('REGCRED_PUBLISH_VERSION') === 'on',
    logLevel: value('REGCRED_LOG_LEVEL') ?? 'info',
    sdkEnvironment: Object.fromEntries(Object.entries(fromFile).filter(([name]) => /^(AWS_\w+|(https?|no)_proxy)$/i.test(name))),
  }
  if (problems.length > 0) throw new ServiceError('E_SETTINGS', problems.join('\n'))
  return settings
}

/** `path` in the tree at `root`. A path that already lies in that tree is taken as it is, so both ways of writing it work. */
export function underRoot(root: string, path: string): string {
  const tree = join(root, '/')
  return path.startsWith(tree) ? path : join(root, path)
}

function optionallyUnderRoot(root: string, path: string | undefined): string | undefined {
  return path === undefined ? undefined : underRoot(root, path)
}

function readEnvFile(path: string | undefined, root: string, problems: string[]): Record<string, string> {
  const file = path ?? join(root, '/etc/ecs-regcred/ecs-regcred.env')
  try {
    return parseEnvFile(readFileSync(file))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Only the default file may be missing: one named by hand and not there is a typo.
    if (path !== undefined || code !== 'ENOENT') problems.push(`${file}: cannot be read (${code ?? 'unknown error'})`)
    return {}
  }
}
