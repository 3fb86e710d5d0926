import type { JobStatus } from '../host/init-system.js'
import { type EcsAgentReading, readAgentLogWarnings } from '../host/ecs-agent.js'
import type { Observation } from '../pass/observe.js'
import { broken, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import type { Facts } from './facts.js'

/** The running ECS agent: is it well, does it hold what the file holds, and what does it say itself? */
export const ecsAgent: Check = {
  id: 'ecs-agent',
  run: async (facts) => {
    const seen = await facts.seen()
    return [judgeState(facts.settings.ecsService, seen), ...judgeDocker(facts, seen.ecsAgent), await judgeCredentials(facts, seen), await judgeLog(facts, seen)]
  },
}

const LOGS = '/var/log/ecs/ecs-agent.log and /var/log/ecs/ecs-init.log'

function judgeState(service: string, { job, healthy, ecsAgent: { introspection, container } }: Observation): CheckResult {
  const id = 'ecs-agent'
  if (healthy && introspection.up) {
    return ok(id, `${introspection.version ?? 'an ECS agent of unknown version'} is registered in cluster ${introspection.cluster ?? 'unknown'}`)
  }
  if (job.exitStatus === 5) {
    const why = 'another cluster than its saved state, a refused registration, or state that could not be saved'
    const clear = `systemctl stop ${service}; rm -rf /var/lib/ecs/data/*; systemctl start --no-block ${service}`
    return broken(id,
      `the ECS agent ended with status 5, its terminal failure: ${why} (${job.detail})`,
      `read the last lines of ${LOGS}. Where ECS_CLUSTER was changed on purpose: ${clear}`)
  }
  if (/start-limit/.test(job.detail)) {
    return broken(id, `${service} was started too often in a short time, so systemd leaves it down (${job.detail})`,
      `see why it ends: journalctl -u ${service} -n 100; then: systemctl reset-failed ${service}; systemctl start --no-block ${service}`)
  }
  const exitCode = container.state === 'stopped' ? container.exitCode : undefined
  if ((exitCode !== undefined && exitCode !== 0 && job.state === 'running') || /auto-restart/.test(job.detail)) {
    return broken(id, `the ECS agent dies and is started again, over and over (${exitCode === undefined ? job.detail : `its container ended with status ${exitCode}`})`,
      `read the last lines of ${LOGS}; a malformed value in ecs.config does this, and so does Docker when it is down: systemctl status docker`)
  }
  return byJob(id, service, job, introspection)
}

function byJob(id: string, service: string, job: JobStatus, introspection: EcsAgentReading['introspection']): CheckResult {
  switch (job.state) {
    case 'absent': return broken(id,
      `no ECS agent runs here (${introspection.up ? '' : introspection.reason})`,
      'install it: yum install ecs-init, then: systemctl enable --now --no-block ecs')
    case 'not-started': return warning(id,
      `${service} has not been started since boot; its first start will read ecs.config as it stands then`,
      `if the boot is over: systemctl enable --now --no-block ${service}`)
    case 'stopped': return warning(id,
      `${service} was stopped, and is left so (${job.detail})`,
      `if that is over: systemctl start --no-block ${service}, or on Amazon Linux 1: start ${service}`)
    case 'failed': return broken(id,
      `${service} failed (${job.detail})`,
      `see why: journalctl -u ${service} -n 100; then: systemctl start --no-block ${service}`)
    case 'starting': return warning(id, `${service} is starting (${job.detail})`, 'look again in a minute: ecs-regcred doctor')
    default: return broken(id,
      `${service} runs, but the ECS agent does not answer introspection: it is not registered with its cluster (${introspection.up ? '' : introspection.reason})`,
      `a start takes up to a minute, a warm pool longer; then read the last lines of ${LOGS}`)
  }
}

function judgeDocker({ settings }: Facts, { container }: EcsAgentReading): CheckResult[] {
  if (container.state !== 'no-socket' && container.state !== 'unreachable') return [ok('docker', 'the Docker socket shows what the ECS agent holds')]
  return [warning('docker',
    `Docker cannot be asked what the ECS agent holds: ${container.reason}`,
    `run as root; systemctl status docker; or name the socket: --docker-socket (now ${settings.dockerSocket})`)]
}

async function judgeCredentials(facts: Facts, { facts: { holdsFile }, detail }: Observation): Promise<CheckResult> {
  const id = 'ecs-agent-credentials'
  if (await facts.ecsConfig().catch(() => undefined) === undefined) return skipped(id, 'there is no ecs.config to compare with')
  if (holdsFile === true) return ok(id, 'the running ECS agent holds what ecs.config holds')
  if (holdsFile === null) return skipped(id, `what the ECS agent holds cannot be told now (${detail})`)
  return broken(id,
    'the running ECS agent does not hold what ecs.config holds: it was started before the last change, and pulls with the credentials of then',
    'ecs-regcred sync --force restarts it, once')
}

async function judgeLog({ settings }: Facts, { facts: { holdsFile }, ecsAgent: { container } }: Observation): Promise<CheckResult> {
  const id = 'ecs-agent-log'
  const startedAtMs = container.state === 'running' ? container.startedAtMs : undefined
  // A start may be seconds older by Docker's clock than the first line; without Docker, the last hour.
  const warnings = await readAgentLogWarnings(settings.root, startedAtMs === undefined ? Date.now() - 3_600_000 : startedAtMs - 5_000)
  const last = warnings.filter(({ atMs }) => atMs !== undefined).at(-1)
  if (last === undefined) return ok(id, 'its log holds no complaint about credentials since its start')
  return broken(id,
    `the ECS agent itself says since its start: ${last.message}`,
    // A pass restarts nothing that holds what the file holds: an entry that the ECS agent left out is in both.
    `ecs-regcred sync --force writes the credentials anew and restarts it${holdsFile === true
      ? `; where it finds nothing to do, mend ecs.config, then: systemctl --no-block restart ${settings.ecsService}, or on Amazon Linux 1: stop ${settings.ecsService}; start ${settings.ecsService}` : ''}`)
}
