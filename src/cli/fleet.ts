import { ServiceError } from '../errors.js'
import { currentVersion } from '../fleet/current-version.js'
import { ecsCalls } from '../fleet/ecs-calls.js'
import { hostName, judgeFleet, type FleetReport, type HostReport } from '../fleet/judge-fleet.js'
import type { Command } from './command.js'
import { painter, type Paint } from './rollout-screen.js'

export const fleet: Command = {
  summary: 'which hosts of a cluster hold which version, and whether the old credential may be revoked',
  options: {
    cluster: { type: 'string', value: 'CLUSTER', help: 'name or ARN' },
  },
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
    else stdout.write(renderFleet(cluster, report, painter(stdout.isTTY === true, environment)))
    return report.safeToRevoke ? 0 : 75
  },
}

export function renderFleet(cluster: string, report: FleetReport, paint: Paint): string {
  const { hosts, current, currentFrom, safeToRevoke, reason } = report
  const nameWidth = Math.max(4, ...hosts.map((host) => hostName(host).length))
  const versionWidth = Math.max(7, ...hosts.map(({ version }) => shortVersion(version).length))
  const source = currentFrom === 'secret' ? 'what the secret holds now' : 'the newest that a host reports'
  const lines = [
    `cluster ${cluster}: ${hosts.length} container instance${hosts.length === 1 ? '' : 's'}${current === null ? ', none reports a version' : `; current version ${shortVersion(current)} (${source})`}`,
    ...(hosts.length === 0 ? [] : [`  ${'host'.padEnd(nameWidth)}  state    ${'version'.padEnd(versionWidth)}  since                     ECS agent`]),
    ...hosts.map((host) => `  ${hostName(host).padEnd(nameWidth)}  ${paint(STATE_COLOURS[host.state], host.state.padEnd(7))}  ${shortVersion(host.version).padEnd(versionWidth)}  ${(host.at ?? '-').padEnd(24)}  ${connection(host, paint)}`),
    safeToRevoke ? paint('green', `safe to revoke the old credential, as far as this cluster goes: ${reason}`) : paint('red', `not yet safe to revoke the old credential: ${reason}`),
  ]
  if (hosts.some(({ state }) => state === 'behind')) lines.push('  behind: ecs-regcred status on that host says what is owed; a wake-up at once: systemctl reload ecs-regcred')
  if (hosts.some(({ state }) => state === 'silent')) lines.push('  silent: set REGCRED_PUBLISH_VERSION=on there, and allow its role ecs:PutAttributes')
  return lines.map((line) => `${line}\n`).join('')
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
