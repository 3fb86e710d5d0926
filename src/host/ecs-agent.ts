/** What the ECS agent on this machine is and holds: its introspection, its container's own environment, its log. Every look is bounded in time. */
import { parseEngineAuth, type EngineAuth } from '../core/ecs-matching.js'
import { httpRequest } from '../http-request.js'

export { listenerStartedAtUs } from './listener.js'
export { readAgentLogWarnings, type AuthWarning } from './ecs-agent-log.js'

const LOOK_MS = 2000

/** The container `ecs-agent` as Docker tells it. */
export type ContainerReading =
  /** `no-socket`: Docker is not there or does not run; `unreachable`: it is, and gives no answer that can be used. */
  | { readonly state: 'no-socket' | 'unreachable' | 'absent'; readonly reason: string }
  | {
    readonly state: 'running' | 'stopped'
    readonly startedAtMs: number | undefined
    /** What its own environment says, which is what it reads: ecs-init passes it ecs.config line by line when it creates the container. */
    readonly auth: EngineAuth
    readonly exitCode: number | undefined
  }

export type IntrospectionReading =
  | { readonly up: false; readonly reason: string; readonly containerInstanceArn?: undefined }
  /** It comes up after the ECS agent has registered with its cluster: it says nothing about credentials. */
  | { readonly up: true; readonly version: string | undefined; readonly cluster: string | undefined; readonly containerInstanceArn: string | undefined }

export type EcsAgentReading = { readonly container: ContainerReading; readonly introspection: IntrospectionReading }

/** Never throws but the signal's reason: what cannot be seen is part of the reading. */
export async function readEcsAgent(
  { introspectionUrl, dockerSocket }: { readonly introspectionUrl: string; readonly dockerSocket: string }, signal: AbortSignal,
): Promise<EcsAgentReading> {
  const [container, introspection] = await Promise.all([readContainer(dockerSocket, signal), readIntrospection(introspectionUrl, signal)])
  return { container, introspection }
}

async function readContainer(socketPath: string, signal: AbortSignal): Promise<ContainerReading> {
  try {
    // Unversioned: the daemon answers in its own newest API, and these fields have been in every one.
    const { status, body } = await httpRequest('http://docker/containers/ecs-agent/json', { socketPath, timeoutMs: LOOK_MS }, signal)
    if (status === 404) return { state: 'absent', reason: 'Docker has no container named ecs-agent' }
    if (status !== 200) return { state: 'unreachable', reason: `Docker answers with status ${status}` }
    return parseContainer(body.toString()) ?? { state: 'unreachable', reason: 'Docker answers with something else than a container' }
  } catch (error) {
    signal.throwIfAborted()
    const noSocket = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED'].includes((error as NodeJS.ErrnoException).code ?? '')
    return { state: noSocket ? 'no-socket' : 'unreachable', reason: `${socketPath}: ${reasonOf(error)}` }
  }
}

/** Docker's answer to an inspect; undefined where it is none. */
export function parseContainer(text: string): ContainerReading | undefined {
  const inspected = parseObject(text)
  const state = asObject(inspected?.['State'])
  const env = asObject(inspected?.['Config'])?.['Env']
  // `Status` came with API 1.21, and says it in a word.
  const running = state?.['Running'] ?? (typeof state?.['Status'] === 'string' ? state['Status'] === 'running' : undefined)
  if (state === undefined || typeof running !== 'boolean') return undefined
  const variables = new Map<string, string>()
  for (const entry of Array.isArray(env) ? env : []) {
    const [name] = String(entry).split('=', 1)
    if (name !== undefined) variables.set(name, String(entry).slice(name.length + 1))
  }
  const startedAtMs = Date.parse(String(state['StartedAt']))
  return {
    state: running ? 'running' : 'stopped',
    // Docker says year 1 of a container that was never started.
    startedAtMs: startedAtMs > 0 ? startedAtMs : undefined,
    auth: parseEngineAuth(variables.get('ECS_ENGINE_AUTH_TYPE'), variables.get('ECS_ENGINE_AUTH_DATA')),
    exitCode: !running && typeof state['ExitCode'] === 'number' ? state['ExitCode'] : undefined,
  }
}

async function readIntrospection(url: string, signal: AbortSignal): Promise<IntrospectionReading> {
  try {
    const { status, body } = await httpRequest(`${url}/v1/metadata`, { timeoutMs: LOOK_MS }, signal)
    if (status !== 200) return { up: false, reason: `${url} answers with status ${status}` }
    const metadata = parseObject(body.toString())
    const text = (name: string): string | undefined => (typeof metadata?.[name] === 'string' ? metadata[name] : undefined)
    if (['Cluster', 'Version', 'ContainerInstanceArn'].every((name) => text(name) === undefined)) return { up: false, reason: `something else than the ECS agent answers at ${url}` }
    return { up: true, version: text('Version'), cluster: text('Cluster'), containerInstanceArn: text('ContainerInstanceArn') }
  } catch (error) {
    signal.throwIfAborted()
    return { up: false, reason: `${url}: ${reasonOf(error)}` }
  }
}

function reasonOf(error: unknown): string {
  const { name, code, message } = error as NodeJS.ErrnoException
  return name === 'TimeoutError' ? `no answer within ${LOOK_MS / 1000} s` : code ?? message
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text))
  } catch {
    return undefined // JSON.parse's own words quote the text
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : undefined
}
