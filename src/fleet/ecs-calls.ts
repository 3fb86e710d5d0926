/** The calls to ECS that an operator's commands make: paginated, in the batch sizes that the API takes, each bounded in time. */
import type { ContainerInstance, DeploymentConfiguration, ECSClient, Service, Task, TaskDefinition } from '@aws-sdk/client-ecs'
import { boundedAwsCall } from '../aws-client.js'
import { describeAwsError } from '../aws-errors.js'
import { ServiceError } from '../errors.js'
import { clientRegion, OPERATOR_CALL_MS, operatorClientOptions } from './operator-client.js'

export type EcsCalls = {
  readonly cluster: string
  readonly listServices: (signal: AbortSignal) => Promise<string[]>
  /** @param names at most any number; those that ECS does not know are left out */
  readonly describeServices: (names: readonly string[], signal: AbortSignal) => Promise<Service[]>
  /** Takes no signal: once it is sent, what it does must be known. */
  readonly updateService: (service: string, change: { forceNewDeployment?: boolean; deploymentConfiguration?: DeploymentConfiguration }) => Promise<Service>
  readonly listTasks: (service: string, desiredStatus: 'RUNNING' | 'STOPPED', signal: AbortSignal) => Promise<string[]>
  readonly describeTasks: (tasks: readonly string[], signal: AbortSignal) => Promise<Task[]>
  readonly describeTaskDefinition: (taskDefinition: string, signal: AbortSignal) => Promise<TaskDefinition | undefined>
  readonly containerInstances: (signal: AbortSignal) => Promise<ContainerInstance[]>
  /** @param targetId whole ARN, which tells the type as well */
  readonly putAttributes: (targetId: string, attributes: Readonly<Record<string, string>>, signal: AbortSignal) => Promise<void>
}

/**
 * Region, credentials and endpoint are the SDK's own to find; `knownRegion` only where it is known better.
 * @throws {ServiceError} E_SETTINGS where there is no region
 */
export async function ecsCalls(cluster: string, knownRegion?: string): Promise<EcsCalls> {
  // Loaded here: the service on a host never pays for it.
  const sdk = await import('@aws-sdk/client-ecs')
  const client: ECSClient = new sdk.ECSClient(operatorClientOptions(knownRegion))
  const region = await clientRegion(client)

  const call = async <T>(action: string, resource: string, send: (abortSignal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> => {
    try {
      return await boundedAwsCall(send, OPERATOR_CALL_MS, signal)
    } catch (error) {
      if (signal.aborted) throw new ServiceError('E_INTERRUPTED', `interrupted while asking ECS (${action})`)
      throw describeAwsError(error, { action: `ecs:${action}`, resource, region })
    }
  }
  const inBatches = async <T>(items: readonly string[], size: number, fetch: (batch: string[]) => Promise<T[]>): Promise<T[]> => {
    const all: T[] = []
    for (let start = 0; start < items.length; start += size) all.push(...(await fetch(items.slice(start, start + size))))
    return all
  }
  const everyPage = async (fetch: (token: string | undefined) => Promise<{ nextToken?: string | undefined; items: string[] | undefined }>): Promise<string[]> => {
    const all: string[] = []
    let token: string | undefined
    do {
      const page = await fetch(token)
      all.push(...(page.items ?? []))
      token = page.nextToken
    } while (token !== undefined && token !== '')
    return all
  }

  return {
    cluster,
    listServices: (signal) => everyPage(async (nextToken) => {
      const page = await call('ListServices', cluster, (abortSignal) => client.send(new sdk.ListServicesCommand({ cluster, nextToken, maxResults: 100 }), { abortSignal }), signal)
      return { nextToken: page.nextToken, items: page.serviceArns }
    }),
    describeServices: (names, signal) => inBatches(names, 10, async (services) => {
      const page = await call('DescribeServices', cluster, (abortSignal) => client.send(new sdk.DescribeServicesCommand({ cluster, services }), { abortSignal }), signal)
      return page.services ?? []
    }),
    updateService: async (service, change) => {
      const { service: updated } = await call('UpdateService', `${cluster}/${service}`, (abortSignal) => client.send(new sdk.UpdateServiceCommand({ cluster, service, ...change }), { abortSignal }), new AbortController().signal)
      if (updated === undefined) throw new ServiceError('E_AWS', `ECS answered UpdateService of ${service} without the service`)
      return updated
    },
    listTasks: (service, desiredStatus, signal) => everyPage(async (nextToken) => {
      const page = await call('ListTasks', `${cluster}/${service}`, (abortSignal) => client.send(new sdk.ListTasksCommand({ cluster, serviceName: service, desiredStatus, nextToken }), { abortSignal }), signal)
      return { nextToken: page.nextToken, items: page.taskArns }
    }),
    describeTasks: (tasks, signal) => inBatches(tasks, 100, async (batch) => {
      const page = await call('DescribeTasks', cluster, (abortSignal) => client.send(new sdk.DescribeTasksCommand({ cluster, tasks: batch }), { abortSignal }), signal)
      return page.tasks ?? []
    }),
    describeTaskDefinition: async (taskDefinition, signal) => {
      const answer = await call('DescribeTaskDefinition', taskDefinition, (abortSignal) => client.send(new sdk.DescribeTaskDefinitionCommand({ taskDefinition }), { abortSignal }), signal)
      return answer.taskDefinition
    },
    containerInstances: async (signal) => {
      const arns = await everyPage(async (nextToken) => {
        const page = await call('ListContainerInstances', cluster, (abortSignal) => client.send(new sdk.ListContainerInstancesCommand({ cluster, nextToken }), { abortSignal }), signal)
        return { nextToken: page.nextToken, items: page.containerInstanceArns }
      })
      return inBatches(arns, 100, async (containerInstances) => {
        const page = await call('DescribeContainerInstances', cluster, (abortSignal) => client.send(new sdk.DescribeContainerInstancesCommand({ cluster, containerInstances }), { abortSignal }), signal)
        return page.containerInstances ?? []
      })
    },
    putAttributes: async (targetId, attributes, signal) => {
      const list = Object.entries(attributes).map(([name, value]) => ({ name, value, targetId }))
      await call('PutAttributes', targetId, (abortSignal) => client.send(new sdk.PutAttributesCommand({ cluster, attributes: list }), { abortSignal }), signal)
    },
  }
}
