import { ServiceError } from '../errors.js'
import { currentVersion } from '../fleet/current-version.js'
import { ecsCalls } from '../fleet/ecs-calls.js'
import { hostName, judgeFleet, type FleetReport, type HostReport } from '../fleet/judge-fleet.js'
import { columnsOf, painter, wrap, type Paint } from '../terminal.js'
import type { Command } from './command.js'

export const fleet: Command = {
  summary: 'which hosts of a cluster hold which version, and whether the old credential may be revoked',
  options: {
    cluster: { type: 'string', value: 'CLUSTER', help: 'name or ARN' },
  },
  settings: ['REGCRED_SECRET_ID'],
  example: 'ecs-regcred fleet --cluster prod --secret-id prod/registry',
  run: async (context) => {
    const { options, signal, json, stdout, environment } = context
    const { cluster } = options
    if (typeof cluster !== 'string' || cluster === '') throw new ServiceError('E_USAGE', 'fleet: say which cluster: --cluster CLUSTER', { fix: 'ecs-regcred fleet --help' })
    const { source } = context.settings()
    const calls = await ecsCalls(cluster)
    const [instances, version] = await Promise.all([calls.containerInstances(signal), source.kind === 'secret' ? currentVersion(source.secretIds, signal) : undefined])
    const report = judgeFleet(instances, version)
    const code = report.safeToRevoke ? undefined : 'E_ROLLOUT'
    if (json) stdout.write(`${JSON.stringify({ ok: report.safeToRevoke, ...(code === undefined ? {} : { code, message: report.reason }), cluster, ...report })}\n`)
    else stdout.write(renderFleet(cluster, report, painter(stdout, environment), columnsOf(stdout)))
    return report.safeToRevoke ? 0 : 75
  },
}

/** @param columns of the terminal; undefined elsewhere */
export function renderFleet(cluster: string, report: FleetReport, paint: Paint, columns: number | undefined): string {
  const { hosts, current, currentFrom, safeToRevoke, reason } = report
  const source = currentFrom === 'secret' ? 'what the secret holds now' : 'the newest that a host reports'
  const texts = [
    `cluster ${cluster}: ${hosts.length} container instance${hosts.length === 1 ? '' : 's'}${current === null ? ', none reports a version' : `; current version ${shortVersion(current)} (${source})`}`,
    safeToRevoke ? `${paint('green', 'safe to revoke the old credential')}, as far as this cluster goes: ${reason}` : `${paint('red', 'not yet safe to revoke the old credential')}: ${reason}`,
    hosts.some(({ state }) => state === 'behind') && '  behind: ecs-regcred status on that host says what is owed; a wake-up at once: systemctl reload ecs-regcred',
    hosts.some(({ state }) => state === 'silent') && '  silent: set REGCRED_PUBLISH_VERSION=on there, and allow its role ecs:PutAttributes',
  ].filter((text) => text !== false)
  // The hints stay whole, for copying: the terminal may break them where it ends.
  const [head = [], ...words] = texts.map((text) => (text.startsWith(' ') ? [text] : wrap(text, columns, 0, 2)))
  return [...head, ...(hosts.length === 0 ? [] : hostTable(hosts, paint, columns)), ...words.flat()].map((line) => `${line}\n`).join('')
}

/** A line a host, or two where the terminal has no room for one. */
function hostTable(hosts: readonly HostReport[], paint: Paint, columns: number | undefined): string[] {
  const nameWidth = Math.max(4, ...hosts.map((host) => hostName(host).length))
  const versionWidth = Math.max(7, ...hosts.map(({ version }) => shortVersion(version).length))
  const isNarrow = columns !== undefined && columns < nameWidth + versionWidth + 43
  const line = (name: string, state: string, version: string, at: string, ecsAgent: string): string[] => {
    const [lead, rest] = [`  ${name.padEnd(nameWidth)}  ${state}`, `${version.padEnd(versionWidth)}  ${at.padEnd(17)}  ${ecsAgent}`]
    return isNarrow ? [lead.trimEnd(), ...wrap(`    ${rest.replaceAll(/ {2,}/g, ', ')}`, columns, 0, 4)] : [`${lead}  ${rest}`]
  }
  return [
    ...(isNarrow ? [] : line('host', 'state  ', 'version', 'since', 'ECS agent')),
    ...hosts.flatMap((host) => line(hostName(host), `${paint(STATE_COLOURS[host.state], host.state)}${' '.repeat(7 - host.state.length)}`, shortVersion(host.version), minute(host.at), connection(host, paint))),
  ]
}

const STATE_COLOURS = { current: 'green', behind: 'red', silent: 'yellow' } as const

function connection({ agentConnected, status }: HostReport, paint: Paint): string {
  const word = agentConnected ? 'connected' : paint('red', 'not connected')
  return status === 'ACTIVE' ? word : `${word}, ${status}`
}

/** A version id is a UUID or a digest: its beginning tells it apart. */
function shortVersion(version: string | null): string {
  if (version === null) return '-'
  return version.split(' ').map((one) => (one.length > 20 ? `${one.slice(0, 15)}…` : one)).join(' ')
}

/** `2026-01-02T03:04:05.678Z` → `2026-01-02 03:04Z`; --json has the seconds. */
function minute(iso: string | null): string {
  return iso === null ? '-' : iso.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):.*Z$/, '$1 $2Z')
}
