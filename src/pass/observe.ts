/** The running ECS agent against the file: one look at the machine. */
import { sameMeaning } from '../core/ecs-matching.js'
import { type EcsAgentFacts, holdsFile } from '../core/decide.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { type EcsAgentReading, listenerStartedAtUs, readEcsAgent } from '../host/ecs-agent.js'
import type { InitSystem, JobStatus } from '../host/init-system.js'
import { type Moment, now, type State } from '../host/state.js'
import type { Settings } from '../settings.js'
import { authOnDisk } from './auth-on-disk.js'

export type Observation = {
  readonly facts: EcsAgentFacts
  /** It answers introspection, so it is registered with its cluster. */
  readonly healthy: boolean
  /** What was seen, in words for a log line or an error. */
  readonly detail: string
  readonly job: JobStatus
  readonly ecsAgent: EcsAgentReading
}

/** What of the state bears on the running ECS agent. */
export type Remembered = {
  readonly writtenAt?: Moment | undefined
  readonly lastRestart?: Moment | undefined
  readonly changePending: boolean
  readonly restartBegun: boolean
}

export function remembered({ writtenAt, lastRestart, pending, restartBegun }: State): Remembered {
  // After a reboot it is the boot that starts it.
  return { writtenAt, lastRestart, changePending: pending !== undefined, restartBegun: restartBegun?.bootId === now().bootId }
}

export async function observe(settings: Settings, init: InitSystem | undefined, remembered: Remembered, signal: AbortSignal): Promise<Observation> {
  const [job, ecsAgent, file] = await Promise.all([
    init?.readJob(settings.ecsService, signal) ?? absent(settings.ecsService),
    readEcsAgent({ introspectionUrl: settings.introspectionUrl, dockerSocket: settings.dockerSocket }, signal),
    readFileIfAny(settings.ecsConfigPath),
  ])
  const healthy = ecsAgent.introspection.up
  const { container } = ecsAgent
  const inContainer = containerEvidence(ecsAgent, file?.bytes)
  const { writtenAt, lastRestart, changePending, restartBegun } = remembered
  // There is no Docker to ask, and the init system does not tell since when its job runs. Who listens may be a proxy that stays through every restart, and
  // to take such a machine for one that never holds the file would be to roll each rotation back: what remains is that the order was taken.
  const blind = container.state === 'no-socket' && job.startedAtUs === undefined
  // Nothing that runs, so nothing that could hold this or that.
  const isDown = ['absent', 'not-started', 'stopped', 'failed'].includes(job.state) && !healthy && container.state !== 'running'
  const holds = isDown ? null : holdsFile({
    container: inContainer,
    jobStartedAtUs: job.startedAtUs,
    listenerStartedAtUs: inContainer === undefined && healthy && job.startedAtUs === undefined ? await listenerStartedAtUs(portOf(settings.introspectionUrl)) : undefined,
    restartTakenAtUs: blind ? onThisBoot(lastRestart) : undefined,
    writtenAtUs: onThisBoot(writtenAt),
    changePending,
  })
  const outlivesJob = job.state === 'stopped' && job.stopping !== true && container.state === 'running' && healthy
  const words = [
    `${init?.name ?? 'init system'}: ${job.detail}`,
    'reason' in container ? `no container of it seen (${container.reason})`
      : container.state === 'stopped' ? `its container has ended with status ${container.exitCode ?? 'unknown'}`
        : `its container holds ${inContainer === 'same' ? 'the credentials of the file' : 'other credentials than the file'}`,
    ecsAgent.introspection.up ? 'introspection answers' : `introspection: ${ecsAgent.introspection.reason}`,
  ]
  return { facts: { job: job.state, exitStatus: job.exitStatus, holdsFile: holds, changePending, restartBegun, outlivesJob }, healthy, detail: words.join('; '), job, ecsAgent }
}

/** What the ECS agent's container says of the file; see HoldsEvidence. */
export function containerEvidence({ container, introspection }: EcsAgentReading, file: Uint8Array | undefined): 'same' | 'different' | 'none' | undefined {
  switch (container.state) {
    case 'running':
      return sameMeaning(container.auth, authOnDisk(file).auth) ? 'same' : 'different'
    case 'absent':
    case 'stopped':
      return introspection.up ? undefined : 'none'
    case 'no-socket':
    case 'unreachable':
      return undefined
  }
}

function onThisBoot(moment: Moment | undefined): number | undefined {
  return moment?.bootId === now().bootId ? moment.monotonicUs : undefined
}

function absent(service: string): JobStatus {
  return { state: 'absent', detail: `no unit or job named ${service}` }
}

function portOf(introspectionUrl: string): number {
  return Number(new URL(introspectionUrl).port || 80)
}
