import { createHash } from 'node:crypto'
import { ServiceError } from '../errors.js'
import { ecsCalls } from './ecs-calls.js'

/** The custom attributes of a container instance by which a host says what its running ECS agent holds. */
export const VERSION_ATTRIBUTE = 'ecs-regcred.version'
export const TIME_ATTRIBUTE = 'ecs-regcred.at'

/**
 * A version as an attribute can hold it: at most 128 of `A-Za-z0-9-_.@/\:` and the space (Attribute in the ECS API reference). Several secrets'
 * ids stand apart by a space in place of the comma; what does not fit is told by its digest, which both sides make alike. Versions are no secrets.
 */
export function attributeVersion(version: string): string {
  const spaced = version.replaceAll(',', ' ').trim()
  return /^[\w.@/\\: -]{1,128}$/.test(spaced) ? spaced : `sha256:${createHash('sha256').update(version).digest('hex')}`
}

/**
 * Says to the cluster which version this host's verified ECS agent holds. The role needs ecs:PutAttributes.
 * @param containerInstanceArn as introspection tells it; its region is the one that is asked
 * @param at when the pass ended
 * @throws {ServiceError} which the caller makes a warning: nothing of the promise hangs on it
 */
export async function publishVersion(cluster: string, containerInstanceArn: string, version: string, at: Date, signal: AbortSignal): Promise<void> {
  const region = /^arn:[^:]+:ecs:([^:]+):/.exec(containerInstanceArn)?.[1]
  if (region === undefined) throw new ServiceError('E_AWS', `${containerInstanceArn} is not the ARN of a container instance`)
  const calls = await ecsCalls(cluster, region)
  await calls.putAttributes(containerInstanceArn, { [VERSION_ATTRIBUTE]: attributeVersion(version), [TIME_ATTRIBUTE]: at.toISOString() }, signal)
}
