/** Which hosts hold the current credential, from the attributes they publish, and whether the old one may go. */
import type { ContainerInstance } from '@aws-sdk/client-ecs'
import { lastPart } from './judge-deployment.js'
import { attributeVersion, TIME_ATTRIBUTE, VERSION_ATTRIBUTE } from './publish-version.js'

export type HostReport = {
  readonly containerInstance: string
  readonly ec2InstanceId: string | null
  /** ACTIVE, DRAINING… */
  readonly status: string
  readonly agentConnected: boolean
  readonly version: string | null
  readonly at: string | null
  readonly state: 'current' | 'behind' | 'silent'
}

export type FleetReport = {
  /** The version that every host should hold; null where no host publishes one and none was asked for. */
  readonly current: string | null
  /** `secret`: what the secret holds now. `newest`: what the host that applied last holds, which is a guess. */
  readonly currentFrom: 'secret' | 'newest' | null
  readonly hosts: readonly HostReport[]
  readonly safeToRevoke: boolean
  readonly reason: string
}

/** @param secretVersion the secret's own current version, where it was asked for */
export function judgeFleet(instances: readonly ContainerInstance[], secretVersion: string | undefined): FleetReport {
  const published = instances.map((instance) => ({ instance, version: attribute(instance, VERSION_ATTRIBUTE), at: attribute(instance, TIME_ATTRIBUTE) }))
  const newest = published.filter(({ version }) => version !== null).sort((a, b) => (b.at ?? '').localeCompare(a.at ?? ''))[0]?.version ?? null
  const current = secretVersion === undefined ? newest : attributeVersion(secretVersion)
  const hosts = published.map(({ instance, version, at }): HostReport => ({
    containerInstance: lastPart(instance.containerInstanceArn) ?? 'unknown',
    ec2InstanceId: instance.ec2InstanceId ?? null,
    status: instance.status ?? 'UNKNOWN',
    agentConnected: instance.agentConnected === true,
    version,
    at,
    state: version === null ? 'silent' : version === current ? 'current' : 'behind',
  }))
  // What needs a person stands first.
  hosts.sort((a, b) => ORDER[a.state] - ORDER[b.state] || Number(a.agentConnected) - Number(b.agentConnected) || hostName(a).localeCompare(hostName(b)))
  const problems = [
    count(hosts, ({ state }) => state === 'behind', 'is behind', 'are behind'),
    count(hosts, ({ state }) => state === 'silent', 'does not report', 'do not report'),
    count(hosts, ({ agentConnected }) => !agentConnected, 'has an ECS agent that is not connected', 'have an ECS agent that is not connected'),
  ].filter((problem) => problem !== undefined)
  if (secretVersion === undefined) problems.push('the version to compare with is only the newest seen: name the secret by --secret-id')
  if (hosts.length === 0) problems.splice(0, problems.length, 'the cluster has no container instance')
  return {
    current,
    currentFrom: secretVersion !== undefined ? 'secret' : newest === null ? null : 'newest',
    hosts,
    safeToRevoke: problems.length === 0,
    reason: problems.length === 0 ? `every host (${hosts.length}) holds the current version and is connected` : problems.join('; '),
  }
}

/** How a person knows the host. */
export function hostName(host: HostReport): string {
  return host.ec2InstanceId ?? host.containerInstance
}

const ORDER = { behind: 0, silent: 1, current: 2 } as const

function attribute(instance: ContainerInstance, name: string): string | null {
  return instance.attributes?.find((one) => one.name === name)?.value ?? null
}

function count(hosts: readonly HostReport[], of: (host: HostReport) => boolean, one: string, many: string): string | undefined {
  const number = hosts.filter(of).length
  return number === 0 ? undefined : `${number} of ${hosts.length} ${number === 1 ? one : many}`
}
