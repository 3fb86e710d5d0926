import type { ContainerInstance, DeploymentConfiguration, Service, TaskDefinition } from '@aws-sdk/client-ecs'
import { nearest } from '../core/nearest.js'
import { ServiceError } from '../errors.js'
import { deploymentBounds, deploymentLimits, roomWarnings, type DeploymentLimits, type InstanceRoom } from './deployment-room.js'
import type { EcsCalls } from './ecs-calls.js'
import { lastPart } from './judge-deployment.js'

export type ServicePlan = {
  readonly name: string
  readonly desiredCount: number
  /** `nothing-to-do`: no task is wanted. `unsupported`: ECS's own scheduler does not deploy it. */
  readonly action: 'roll-out' | 'nothing-to-do' | 'unsupported'
  /** Why it is not rolled out; empty for `roll-out`. */
  readonly reason: string
  readonly limits: DeploymentLimits
  /** The service's own setting, to be put back afterwards. */
  readonly own: DeploymentConfiguration | undefined
  /** The deployment that is on now. */
  readonly primaryId: string | undefined
  readonly warnings: readonly string[]
}

/**
 * Looks at every service before anything is changed, with the rights that following them needs as well.
 * @param wanted names, or every service of the cluster
 * @throws {ServiceError} where a service does not exist, or one named by hand cannot be rolled out
 */
export async function planRollout(calls: EcsCalls, wanted: readonly string[] | 'all', asked: DeploymentLimits, signal: AbortSignal): Promise<ServicePlan[]> {
  const names = wanted === 'all' ? await calls.listServices(signal) : [...new Set(wanted)]
  const services = (await calls.describeServices(names, signal)).filter(({ status }) => status !== 'INACTIVE')
  for (const name of names) {
    if (wanted === 'all' || services.some((service) => service.serviceName === lastPart(name))) continue
    const others = await calls.listServices(signal).catch(() => [])
    throw new ServiceError('E_AWS', `there is no service ${name} in cluster ${calls.cluster}${nearest(name, others.map((arn) => lastPart(arn) ?? ''))}`, {
      fix: `aws ecs list-services --cluster ${calls.cluster}`,
    })
  }
  services.sort((a, b) => (a.serviceName ?? '').localeCompare(b.serviceName ?? ''))
  const instances = new Instances(calls)
  const plans: ServicePlan[] = []
  for (const service of services) plans.push(await planService(calls, service, asked, instances, signal))
  const refused = plans.filter(({ action }) => action === 'unsupported')
  if (wanted !== 'all' && refused.length > 0) {
    throw new ServiceError('E_UNSUPPORTED', refused.map(({ reason }) => reason).join('\n'), { fix: 'leave it out here, and deploy it by its own controller' })
  }
  return plans
}

async function planService(calls: EcsCalls, service: Service, asked: DeploymentLimits, instances: Instances, signal: AbortSignal): Promise<ServicePlan> {
  const name = service.serviceName ?? ''
  const desiredCount = service.desiredCount ?? 0
  const daemon = service.schedulingStrategy === 'DAEMON'
  const base = {
    name, desiredCount, own: service.deploymentConfiguration, warnings: [], limits: asked,
    primaryId: service.deployments?.find(({ status }) => status === 'PRIMARY')?.id,
  }
  const refusal = controllerRefusal(name, service.deploymentController?.type)
  if (refusal !== undefined) return { ...base, action: 'unsupported', reason: refusal }
  if (desiredCount === 0) return { ...base, action: 'nothing-to-do', reason: 'no task is wanted (desired count 0)' }

  const limits = deploymentLimits(asked, daemon, name)
  // A missing right shows before the deployment, not after.
  const [task] = await calls.listTasks(name, 'RUNNING', signal)
  if (task !== undefined) await calls.describeTasks([task], signal)
  const warnings: string[] = []
  const strategy = service.deploymentConfiguration?.strategy ?? 'ROLLING'
  if (strategy !== 'ROLLING') warnings.push(`its deployment strategy is ${strategy}: the percentages do not steer it, and it takes as long as its own steps and bake times`)
  if ((service.deployments?.length ?? 0) > 1) warnings.push('a deployment is under way already: the new one takes its place')
  const onFargate = isOnFargate(service)
  if (onFargate) warnings.push('its tasks run on Fargate, where no ecs.config is read: only repositoryCredentials of the task definition count there')
  let definition: TaskDefinition | undefined
  try {
    definition = await calls.describeTaskDefinition(service.taskDefinition ?? '', signal)
  } catch (error) {
    if (signal.aborted) throw error
    warnings.push(`its images, ports and sizes were not looked at: ${(error as Error).message}`)
  }
  if (definition !== undefined) warnings.push(...imageWarnings(definition))
  const needsRoom = strategy === 'ROLLING' && deploymentBounds({ desiredCount, ...limits }).mayStop === 0
  warnings.push(...roomWarnings({
    ...limits, desiredCount, daemon,
    hostPorts: hostPorts(definition),
    taskCpu: Number(definition?.cpu ?? 0) || sum(definition, 'cpu'),
    taskMemory: Number(definition?.memory ?? 0) || sum(definition, 'memoryReservation', 'memory'),
    instances: needsRoom && strategy === 'ROLLING' && definition !== undefined && !onFargate ? await instances.room(warnings, signal) : undefined,
  }))
  return { ...base, action: 'roll-out', reason: '', limits, warnings }
}

/** A service with a capacity provider strategy has no launch type. */
function isOnFargate({ launchType, capacityProviderStrategy: strategy = [] }: Service): boolean {
  return launchType === 'FARGATE' || (strategy.length > 0 && strategy.every(({ capacityProvider }) => /^FARGATE(_SPOT)?$/.test(capacityProvider ?? '')))
}

function controllerRefusal(name: string, controller: string | undefined): string | undefined {
  if (controller === 'CODE_DEPLOY') {
    return `service ${name} is deployed by CodeDeploy, and ECS refuses a forced deployment there: start one in CodeDeploy (aws deploy create-deployment)`
  }
  if (controller === 'EXTERNAL') {
    return `service ${name} is deployed by an external controller, and ECS refuses a forced deployment there: let that controller make a new task set`
  }
  return undefined
}

function imageWarnings({ containerDefinitions = [] }: TaskDefinition): string[] {
  const own = containerDefinitions.filter(({ repositoryCredentials }) => repositoryCredentials?.credentialsParameter !== undefined)
  const ecr = containerDefinitions.filter(({ image }) => /\.dkr[.-]ecr[.-]/.test(image ?? ''))
  if (containerDefinitions.length > 0 && ecr.length === containerDefinitions.length) return ['all its images are in Amazon ECR: the credential of the host is not used for them']
  if (own.length > 0) return [`${own.map(({ name }) => name).join(', ')} has a credential in the task definition (repositoryCredentials), which goes before the one of the host`]
  return []
}

/** In host network mode a container port is a host port. */
function hostPorts(definition: TaskDefinition | undefined): number[] {
  const mappings = definition?.containerDefinitions?.flatMap(({ portMappings = [] }) => portMappings) ?? []
  if (definition?.networkMode === 'awsvpc') return []
  return mappings.map(({ hostPort, containerPort }) => (definition?.networkMode === 'host' ? hostPort ?? containerPort : hostPort) ?? 0).filter((port) => port > 0)
}

function sum(definition: TaskDefinition | undefined, ...fields: ('cpu' | 'memory' | 'memoryReservation')[]): number {
  return (definition?.containerDefinitions ?? []).reduce((total, container) => total + (fields.map((field) => container[field]).find((value) => value !== undefined) ?? 0), 0)
}

/** The cluster's instances, asked for at most once and only where they matter. */
class Instances {
  readonly #calls: EcsCalls
  #answer: Promise<ContainerInstance[]> | undefined

  constructor(calls: EcsCalls) {
    this.#calls = calls
  }

  async room(warnings: string[], signal: AbortSignal): Promise<InstanceRoom[] | undefined> {
    this.#answer ??= this.#calls.containerInstances(signal)
    try {
      const active = (await this.#answer).filter(({ status, agentConnected }) => status === 'ACTIVE' && agentConnected === true)
      return active.map(({ remainingResources = [] }) => {
        const resource = (name: string) => remainingResources.find((one) => one.name === name)
        // PORTS lists what is taken, in the remaining resources as well.
        return { cpu: resource('CPU')?.integerValue ?? 0, memory: resource('MEMORY')?.integerValue ?? 0, usedPorts: (resource('PORTS')?.stringSetValue ?? []).map(Number) }
      })
    } catch (error) {
      if (signal.aborted) throw error
      warnings.push(`the room on the container instances was not looked at: ${(error as Error).message}`)
      return undefined
    }
  }
}
