/**
 * How a deployment stands, from what ECS says of the service and of its tasks. A deployment that ECS calls complete proves nothing about a credential:
 * with the ECS agent's default pull behaviour a refused pull starts the image that the host still has, and the task is RUNNING with a
 * CannotPullContainerError for a reason (aws/amazon-ecs-agent#1136). So each running task is judged as well.
 */
import type { Container, Deployment, Service, Task } from '@aws-sdk/client-ecs'
import { classifyReason, isPullFailure, isRefusal, type ReasonClass } from './classify-reason.js'

export type TaskReport = {
  /** The last part of its ARN. */
  readonly task: string
  /** ECS's own word: RUNNING, STOPPED, PENDING… */
  readonly status: string
  readonly reason: string | null
  /** `fresh`: the image was pulled for this task. `no-pull`: it runs, and nothing was pulled for it. */
  readonly class: ReasonClass | 'fresh' | 'no-pull' | 'starting'
  readonly image: string | null
  readonly containerInstance: string | null
}

export type Verdict =
  | 'fresh' | 'nothing-to-do' // well
  | 'cached' | 'failed' | 'rolled-back' | 'superseded' | 'timed-out' | 'interrupted' | 'unsupported' | 'not-started'

export type DeploymentState = {
  /** Undefined while it goes on. */
  readonly verdict: Verdict | undefined
  /** Why, in a sentence or less. */
  readonly reason: string
  readonly counts: { readonly desired: number; readonly running: number; readonly pending: number; readonly old: number; readonly failed: number }
  readonly tasks: readonly TaskReport[]
}

/** That many tasks that got no image decide: one may be a host that lags behind, and ECS would go on for ever where no circuit breaker stops it. */
const ENOUGH_FAILURES = 3

/**
 * @param deploymentId the deployment that is followed
 * @param tasks those of the service, stopped ones included; others than this deployment's are passed over
 * @param seenBefore whether an earlier look has shown the deployment: ECS's answers right after an update may still lack it
 */
export function judgeDeployment(service: Service, deploymentId: string, tasks: readonly Task[], seenBefore: boolean): DeploymentState {
  const deployments = service.deployments ?? []
  const deployment = deployments.find(({ id }) => id === deploymentId)
  const primary = deployments.find(({ status }) => status === 'PRIMARY')
  const reports = tasks.filter(({ startedBy }) => startedBy === deploymentId).map(reportTask)
  const counts = {
    desired: deployment?.desiredCount ?? service.desiredCount ?? 0,
    running: deployment?.runningCount ?? 0,
    pending: deployment?.pendingCount ?? 0,
    old: deployments.filter(({ id }) => id !== deploymentId).reduce((sum, { runningCount = 0 }) => sum + runningCount, 0),
    failed: Math.max(deployment?.failedTasks ?? 0, reports.filter(isFailure).length),
  }
  const state = (verdict: Verdict | undefined, reason: string): DeploymentState => ({ verdict, reason, counts, tasks: reports })

  const ended = endedByEcs(deployment, primary, deploymentId, seenBefore)
  if (ended !== undefined) return state(ended.verdict, withCause(ended.reason, reports))
  const unpulled = reports.filter((report) => report.status === 'STOPPED' && isPullFailure(report.class as ReasonClass))
  if (deployment === undefined || !isComplete(deployment, deployments)) {
    // A limit of the registry or a lost route may pass by itself; a refusal does not. A circuit breaker ends it in ECS's own way, which is worth the wait.
    const hopeless = unpulled.filter(({ class: of }) => isRefusal(of as ReasonClass) || of === 'not-found' || of === 'task-credentials')
    const guarded = service.deploymentConfiguration?.deploymentCircuitBreaker?.enable === true
    if (hopeless.length >= ENOUGH_FAILURES && !guarded) return state('failed', `${hopeless.length} tasks could not pull their image; ECS goes on trying`)
    const latest = reports.findLast(isFailure)
    return state(undefined, latest?.reason ?? '')
  }
  const running = reports.filter(({ status }) => status === 'RUNNING')
  const onCachedImage = running.filter(({ class: of }) => of !== 'fresh')
  if (onCachedImage.length > 0) {
    const refused = onCachedImage.filter(({ class: of }) => of !== 'no-pull').length
    return state('cached', refused > 0
      ? `${refused} of ${running.length} running tasks could not pull and run on the image that the host still had`
      : `${onCachedImage.length} of ${running.length} running tasks started without a pull (ECS_IMAGE_PULL_BEHAVIOR once or prefer-cached): they say nothing of the credential`)
  }
  if (running.length < counts.desired) return state(undefined, 'waiting for ECS to list every task')
  return state('fresh', unpulled.length === 0
    ? `${running.length === 1 ? 'the task runs' : `all ${running.length} tasks run`} on a fresh pull`
    : `all ${running.length} tasks run on a fresh pull, after ${unpulled.length} that could not pull: a host may still be behind`)
}

/** What ECS itself says has come to an end badly. */
function endedByEcs(deployment: Deployment | undefined, primary: Deployment | undefined, deploymentId: string, seenBefore: boolean): { verdict: Verdict; reason: string } | undefined {
  // The circuit breaker (or an alarm) puts the previous revision back as a deployment of its own, whose reason names the breaker.
  const rollback = [deployment, primary].find((one) => /roll(ing|ed)? ?back/i.test(one?.rolloutStateReason ?? ''))
  // With --watch the deployment that is followed may be that way back itself: its tasks say nothing of what was rolled out.
  const isWayBack = rollback !== undefined && rollback === deployment && deployment.status === 'PRIMARY'
  if (deployment?.rolloutState === 'FAILED' || isWayBack || (rollback !== undefined && deployment?.status !== 'PRIMARY' && seenBefore)) {
    const words = printable(deployment?.rolloutStateReason ?? rollback?.rolloutStateReason ?? 'the deployment failed')
    return rollback === undefined ? { verdict: 'failed', reason: words } : { verdict: 'rolled-back', reason: words }
  }
  if (primary !== undefined && primary.id !== deploymentId && (deployment !== undefined || seenBefore)) {
    return { verdict: 'superseded', reason: `another deployment (${primary.id ?? 'unnamed'}) was started meanwhile` }
  }
  return undefined
}

function isComplete(deployment: Deployment, deployments: readonly Deployment[]): boolean {
  if (deployment.rolloutState !== undefined) return deployment.rolloutState === 'COMPLETED'
  // Without a rollout state (older endpoints): what `aws ecs wait services-stable` looks at.
  return deployments.length === 1 && deployment.runningCount === deployment.desiredCount
}

function withCause(reason: string, reports: readonly TaskReport[]): string {
  const cause = reports.findLast(isFailure)?.reason
  return cause === undefined || cause === null ? reason : `${reason}; ${cause}`
}

function isFailure(report: TaskReport): boolean {
  return !['fresh', 'no-pull', 'starting', 'scheduler'].includes(report.class)
}

export function reportTask(task: Task): TaskReport {
  const { containers = [] } = task
  const status = task.lastStatus ?? 'UNKNOWN'
  const { reason, container } = reasonOf(task, containers)
  const reported: TaskReport['class'] | undefined = reason === undefined ? undefined : classifyReason(reason, container?.image)
  return {
    task: lastPart(task.taskArn) ?? 'unknown',
    status,
    reason: reason === undefined ? null : printable(reason),
    class: reported !== undefined && (status !== 'RUNNING' || isPullFailure(reported as ReasonClass)) ? reported
      : status === 'STOPPED' ? 'other'
        : status !== 'RUNNING' ? 'starting'
          : task.pullStartedAt === undefined ? 'no-pull' : 'fresh',
    image: container?.image ?? containers[0]?.image ?? null,
    containerInstance: lastPart(task.containerInstanceArn) ?? null,
  }
}

/** The reason that tells most: a container's failed pull, then another container's, then the task's own. */
function reasonOf(task: Task, containers: readonly Container[]): { reason: string | undefined; container: Container | undefined } {
  const told = containers.filter(({ reason }) => reason !== undefined && reason !== '')
  const container = told.find(({ reason, image }) => isPullFailure(classifyReason(reason ?? '', image))) ?? told[0]
  const own = task.stoppedReason
  if (container?.reason !== undefined && (own === undefined || !isPullFailure(classifyReason(own)) || isPullFailure(classifyReason(container.reason, container.image)))) {
    return { reason: container.reason, container }
  }
  return { reason: own, container: undefined }
}

export function lastPart(arn: string | undefined): string | undefined {
  return arn?.split('/').at(-1)
}

/** Text of another machine, on one line and without what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim()
}
