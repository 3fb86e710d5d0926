/**
 * Whether a rolling deployment can move at all. ECS may stop old tasks down to a lower limit and start new ones up to an upper limit; where neither is
 * possible it waits for ever without a word. Rounding: minimumHealthyPercent up, maximumPercent down (DeploymentConfiguration in the API reference).
 */
import { ServiceError } from '../errors.js'

export type DeploymentLimits = { readonly minimumHealthyPercent: number; readonly maximumPercent: number }

export type RoomFacts = DeploymentLimits & {
  readonly desiredCount: number
  readonly daemon: boolean
  /** Fixed host ports: two tasks of the service cannot share an instance. */
  readonly hostPorts: readonly number[]
  /** What one task reserves; 0 where unknown. CPU units, MiB. */
  readonly taskCpu: number
  readonly taskMemory: number
  /** What the container instances have left; undefined where it was not or could not be looked at (Fargate, no right). */
  readonly instances: readonly InstanceRoom[] | undefined
}

export type InstanceRoom = { readonly cpu: number; readonly memory: number; readonly usedPorts: readonly number[] }

/** How many tasks ECS may stop before it starts one, and how many it may have more than desired. */
export function deploymentBounds({ desiredCount, minimumHealthyPercent, maximumPercent }: DeploymentLimits & { readonly desiredCount: number }): {
  readonly mayStop: number
  readonly mayAdd: number
} {
  const lower = Math.ceil((desiredCount * minimumHealthyPercent) / 100)
  const upper = Math.floor((desiredCount * maximumPercent) / 100)
  return { mayStop: Math.max(0, desiredCount - lower), mayAdd: Math.max(0, upper - desiredCount) }
}

/** Why the deployment may not move, one sentence each; empty where nothing stands in its way. */
export function roomWarnings(facts: RoomFacts): string[] {
  const { desiredCount, minimumHealthyPercent: min, maximumPercent: max } = facts
  const { mayStop, mayAdd } = deploymentBounds(facts)
  if (mayStop > 0) return []
  const kept = `${min} % of ${desiredCount} is ${desiredCount === 1 ? '1 task' : `${desiredCount} tasks`} (rounded up), so no old task may stop first`
  if (mayAdd === 0) {
    return [`no room: ${kept}, and ${max} % lets none start beside them: the deployment would wait for ever; lower --min-healthy${facts.daemon ? '' : ' or raise --max-percent'}`]
  }
  if (facts.instances === undefined) return []
  const portFree = facts.instances.filter(({ usedPorts }) => facts.hostPorts.every((port) => !usedPorts.includes(port)))
  if (facts.hostPorts.length > 0 && portFree.length === 0) {
    return [`no room: ${kept}, and host port ${facts.hostPorts.join(', ')} is taken on every container instance: lower --min-healthy or add an instance`]
  }
  if (!portFree.some(({ cpu, memory }) => cpu >= facts.taskCpu && memory >= facts.taskMemory)) {
    const need = [facts.taskCpu > 0 && `${facts.taskCpu} CPU units`, facts.taskMemory > 0 && `${facts.taskMemory} MiB`].filter(Boolean).join(' and ')
    return [`no room: ${kept}, and no container instance has ${need || 'a place'} left for a new one: lower --min-healthy or add an instance`]
  }
  return []
}

/**
 * The limits that the deployment is given.
 * @throws {ServiceError} E_USAGE where the two can never work together
 */
export function deploymentLimits(asked: DeploymentLimits, daemon: boolean, service: string): DeploymentLimits {
  // A daemon service runs one task an instance: ECS takes no maximumPercent but 100 for it.
  const limits = { minimumHealthyPercent: asked.minimumHealthyPercent, maximumPercent: daemon ? 100 : asked.maximumPercent }
  if (limits.minimumHealthyPercent >= 100 && limits.maximumPercent <= 100) {
    throw new ServiceError('E_USAGE', `${service}: ${limits.minimumHealthyPercent} % at least and ${limits.maximumPercent} % at most leave no task that may stop or start${daemon ? ' (a daemon service never goes beyond 100 %)' : ''}`, {
      fix: '--min-healthy 50',
    })
  }
  return limits
}
