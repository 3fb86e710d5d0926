import { setTimeout as sleep } from 'node:timers/promises'
import type { Task } from '@aws-sdk/client-ecs'
import { ServiceError } from '../errors.js'
import { isRefusal, type ReasonClass } from './classify-reason.js'
import type { EcsCalls } from './ecs-calls.js'
import { judgeDeployment, type DeploymentState, type TaskReport, type Verdict } from './judge-deployment.js'
import type { ServicePlan } from './plan-rollout.js'

export type ServiceOutcome = {
  readonly service: string
  readonly verdict: Verdict
  readonly reason: string
  readonly tasks: readonly TaskReport[]
  /** What ECS refused us: to start the deployment (`not-started`), to follow it, or to put the service's own setting back. */
  readonly failure: ServiceError | undefined
  /** The command that puts the service's own setting back; undefined where it stands. */
  readonly restore: string | undefined
}

export type ServiceProgress = {
  readonly service: string
  readonly phase: 'waiting' | 'rolling' | 'ended'
  readonly counts: DeploymentState['counts']
  readonly verdict: Verdict | undefined
  /** The latest trouble while it goes on, the verdict's reason at the end. */
  readonly reason: string
}

export type RolloutOptions = {
  /** From the start of each service's own deployment. */
  readonly timeoutMs: number
  /** First wait between two looks; it grows to eight times that. */
  readonly pollMs: number
  /** How many services deploy at once. */
  readonly parallel: number
  /** Only follow the deployment that is on: start none, change and restore nothing. */
  readonly watchOnly: boolean
  readonly onProgress: (progress: ServiceProgress) => void
}

/**
 * A new deployment of each service, followed to a verdict; the service's own percentages are put back at the end of each, whatever the verdict. Once a
 * registry has refused, no further service is started. On an abort the deployments go on, with the percentages they were given.
 */
export async function rollOut(calls: EcsCalls, plans: readonly ServicePlan[], options: RolloutOptions, signal: AbortSignal): Promise<ServiceOutcome[]> {
  const outcomes = new Map<string, ServiceOutcome>()
  const waiting = [...plans]
  let refusedBy: string | undefined
  const worker = async (): Promise<void> => {
    for (let plan = waiting.shift(); plan !== undefined; plan = waiting.shift()) {
      const outcome = refusedBy !== undefined || signal.aborted
        ? notStarted(plan, refusedBy === undefined ? 'interrupted before it was started' : `the registry refused ${refusedBy}'s tasks, so no further service was started`)
        : await rollOutService(calls, plan, options, signal)
      if (wasRefused(outcome)) refusedBy ??= plan.name
      outcomes.set(plan.name, outcome)
      options.onProgress(progressOf(outcome, plan))
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.parallel, plans.length) }, worker))
  return plans.map(({ name }) => outcomes.get(name)).filter((outcome) => outcome !== undefined)
}

/** Whether a registry turned one of its tasks away, and that is why it did not end well. */
export function wasRefused({ verdict, tasks }: ServiceOutcome): boolean {
  return verdict !== 'fresh' && tasks.some((task) => isRefusal(task.class as ReasonClass))
}

async function rollOutService(calls: EcsCalls, plan: ServicePlan, options: RolloutOptions, signal: AbortSignal): Promise<ServiceOutcome> {
  if (plan.action !== 'roll-out') return { ...notStarted(plan, plan.reason), verdict: plan.action }
  const changes = !options.watchOnly && plan.own !== undefined
    && (plan.own.minimumHealthyPercent !== plan.limits.minimumHealthyPercent || plan.own.maximumPercent !== plan.limits.maximumPercent)
  const restore = changes ? restoreCommand(calls.cluster, plan) : undefined
  let deploymentId: string | undefined
  try {
    deploymentId = options.watchOnly ? plan.primaryId : await startDeployment(calls, plan)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return { ...notStarted(plan, error.message), failure: error }
  }
  if (deploymentId === undefined) return notStarted(plan, 'ECS named no deployment of it')
  const ended = await follow(calls, plan, deploymentId, options, signal)
  const outcome = { service: plan.name, failure: undefined, ...ended, restore: undefined }
  if (!changes) return outcome
  if (ended.verdict === 'interrupted') return { ...outcome, restore }
  try {
    await calls.updateService(plan.name, { deploymentConfiguration: plan.own ?? {} })
    return outcome
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return { ...outcome, restore, failure: error }
  }
}

async function startDeployment(calls: EcsCalls, plan: ServicePlan): Promise<string | undefined> {
  // Whole, with circuit breaker, alarms and all: what is left out might be taken for unset.
  // A setting that is not known could not be put back, so it is left alone.
  const change = plan.own === undefined ? {} : { deploymentConfiguration: { ...plan.own, ...plan.limits } }
  const service = await calls.updateService(plan.name, { forceNewDeployment: true, ...change })
  return service.deployments?.find(({ status }) => status === 'PRIMARY')?.id
}

type Ended = Pick<ServiceOutcome, 'verdict' | 'reason' | 'tasks'> & { readonly failure?: ServiceError }

async function follow(calls: EcsCalls, plan: ServicePlan, deploymentId: string, options: RolloutOptions, signal: AbortSignal): Promise<Ended> {
  const deadline = performance.now() + options.timeoutMs
  const tasks = new DeploymentTasks(calls, plan.name, deploymentId)
  let pollMs = options.pollMs
  let seen = false
  let last: DeploymentState | undefined
  let event = ''
  let trouble = ''
  const since = Date.now()
  for (;;) {
    try {
      const [service] = await calls.describeServices([plan.name], signal)
      if (service === undefined || service.status === 'INACTIVE') return { verdict: 'failed', reason: 'the service was deleted meanwhile', tasks: last?.tasks ?? [] }
      // The clock of ECS and ours may differ by a little: an event of the last second before belongs to it still.
      event = service.events?.find(({ createdAt, message }) => (createdAt?.getTime() ?? 0) > since - 1000 && /unable|fail|unhealthy/i.test(message ?? ''))?.message ?? event
      last = judgeDeployment(service, deploymentId, await tasks.read(signal), seen)
      seen ||= service.deployments?.some(({ id }) => id === deploymentId) === true
      trouble = ''
      if (last.verdict !== undefined) return { verdict: last.verdict, reason: last.reason, tasks: last.tasks }
    } catch (error) {
      if (signal.aborted) return interrupted(last)
      if (!(error instanceof ServiceError)) throw error
      // A right that is taken away does not come back by waiting; anything else may.
      if (error.code === 'E_IAM') return { verdict: 'timed-out', reason: `it can no longer be followed: ${error.message}`, tasks: last?.tasks ?? [], failure: error }
      trouble = error.message
    }
    options.onProgress({ service: plan.name, phase: 'rolling', counts: last?.counts ?? NO_COUNTS, verdict: undefined, reason: trouble || last?.reason || event })
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) {
      const why = trouble || last?.reason || event || 'ECS names no reason'
      return { verdict: 'timed-out', reason: `not settled after ${Math.round(options.timeoutMs / 1000)} s, and going on: ${why}`, tasks: last?.tasks ?? [] }
    }
    try {
      await sleep(Math.min(pollMs, leftMs), undefined, { signal })
    } catch {
      return interrupted(last)
    }
    pollMs = Math.min(pollMs * 1.5, options.pollMs * 8)
  }
}

/** The tasks of one deployment. What is final, or another deployment's, is asked for once. */
class DeploymentTasks {
  readonly #calls: EcsCalls
  readonly #service: string
  readonly #deploymentId: string
  readonly #known = new Map<string, Task>()

  constructor(calls: EcsCalls, service: string, deploymentId: string) {
    this.#calls = calls
    this.#service = service
    this.#deploymentId = deploymentId
  }

  async read(signal: AbortSignal): Promise<Task[]> {
    const listed = [...(await this.#calls.listTasks(this.#service, 'RUNNING', signal)), ...(await this.#calls.listTasks(this.#service, 'STOPPED', signal))]
    const live = [...this.#known.values()].filter((task) => task.lastStatus !== 'STOPPED' && task.startedBy === this.#deploymentId).map(({ taskArn }) => taskArn ?? '')
    const wanted = [...new Set([...listed.filter((arn) => !this.#known.has(arn)), ...live])]
    if (wanted.length > 0) {
      const described = await this.#calls.describeTasks(wanted, signal)
      for (const task of described) if (task.taskArn !== undefined) this.#known.set(task.taskArn, task)
    }
    return [...this.#known.values()]
  }
}

const NO_COUNTS = { desired: 0, running: 0, pending: 0, old: 0, failed: 0 }

function interrupted(last: DeploymentState | undefined): Ended {
  return { verdict: 'interrupted', reason: 'interrupted: the deployment goes on', tasks: last?.tasks ?? [] }
}

function notStarted(plan: ServicePlan, reason: string): ServiceOutcome {
  return { service: plan.name, verdict: 'not-started', reason, tasks: [], failure: undefined, restore: undefined }
}

function progressOf({ service, verdict, reason, tasks }: ServiceOutcome, plan: ServicePlan): ServiceProgress {
  const running = tasks.filter(({ status }) => status === 'RUNNING').length
  return { service, phase: 'ended', verdict, reason, counts: { ...NO_COUNTS, desired: plan.desiredCount, running } }
}

/** As a shell takes it. */
function restoreCommand(cluster: string, { name, own }: ServicePlan): string {
  return `aws ecs update-service --cluster ${shellWord(cluster)} --service ${shellWord(name)} --deployment-configuration ${shellWord(JSON.stringify(own ?? {}))}`
}

export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
