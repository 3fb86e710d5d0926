/** What others get to see of a pass: the metrics file, the version in the cluster, a sign of life for systemd. Loads nothing where none is wanted. */
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { decideEcsAgent } from '../core/decide.js'
import { ServiceError } from '../errors.js'
import { readFileIfAny, updateFile } from '../host/atomic-file.js'
import { chooseInitSystem } from '../host/index.js'
import { isRendered, readState, type State } from '../host/state.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { observe, remembered } from '../pass/observe.js'
import type { PassResult } from '../pass/pass.js'
import type { Settings } from '../settings.js'

type Machine = { readonly settings: Settings; readonly log: Logger; readonly environment: NodeJS.ProcessEnv }
type EndedPass = { readonly result: PassResult | undefined; readonly error: ServiceError | undefined; readonly durationMs: number }

/** Each part fails alone, and as a warning: no promise of the service hangs on it. */
export async function reportPass(machine: Machine, pass: EndedPass, signal: AbortSignal): Promise<void> {
  const { settings, environment } = machine
  const parts: [boolean, string, () => Promise<void>][] = [
    [watchdogMs(environment) > 0, 'tell systemd that the service is alive', () => feedWatchdog(environment, settings.intervalMs, signal)],
    [settings.metricsFile !== undefined, 'write the metrics file', () => writeMetrics(settings, pass, signal)],
    [settings.publishVersion, "publish the version as the container instance's attribute", () => publish(machine, pass, signal)],
  ]
  for (const [wanted, what, part] of parts) {
    if (wanted && !signal.aborted) await part().catch((error: unknown) => warn(machine.log, what, error, signal))
  }
}

function warn(log: Logger, what: string, error: unknown, signal: AbortSignal): void {
  if (signal.aborted) return
  const known = error instanceof ServiceError ? error : undefined
  const why = known?.message ?? (error instanceof Error ? error.name : 'unknown error')
  log.warn({ event: 'report.failed', code: known?.code ?? 'E_BUG', fix: known?.details.fix }, `could not ${what}: ${why}`)
}

/** WatchdogSec= of the unit (sd_watchdog_enabled(3)); 0 where there is none. */
function watchdogMs(environment: NodeJS.ProcessEnv): number {
  return environment['NOTIFY_SOCKET'] ? Number(environment['WATCHDOG_USEC'] ?? 0) / 1000 || 0 : 0
}

let nextSign: NodeJS.Timeout | undefined

/**
 * A sign of life after each pass; where passes are rarer than the watchdog allows, as many more as it takes to the next one, and then no more: a pass
 * that does not end is what it is there for. Node has no datagram sockets of AF_UNIX, hence the program.
 */
async function feedWatchdog(environment: NodeJS.ProcessEnv, intervalMs: number, signal: AbortSignal): Promise<void> {
  clearTimeout(nextSign)
  const stepMs = watchdogMs(environment) / 2
  if (intervalMs > stepMs) {
    nextSign = setTimeout(() => {
      if (!signal.aborted) void feedWatchdog(environment, intervalMs - stepMs, signal).catch(() => undefined)
    }, stepMs).unref()
  }
  const { runCommand } = await import('../host/run-command.js')
  // Amazon Linux 2's systemd, which is older than INVOCATION_ID (232), asks for the writer's cgroup when the writer may have ended, and then drops what it
  // wrote (systemd/systemd#2737): one sign in four, measured. Later ones wait for the answer (246), or find the cgroup all the same.
  const signs = environment['INVOCATION_ID'] === undefined ? 5 : 1
  for (let sign = 0; sign < signs; sign++) await runCommand('systemd-notify', ['WATCHDOG=1'], { timeoutMs: 5_000 }, signal)
}

async function writeMetrics(settings: Settings, { result, error, durationMs }: EndedPass, signal: AbortSignal): Promise<void> {
  const path = settings.metricsFile ?? ''
  const { readCounters, renderMetrics } = await import('../metrics.js')
  const { state } = await readState(settings.stateDir)
  const restarts = { restarted: 1, 'rolled-back': 2 }[result?.action as string] ?? 0
  const text = await renderMetrics({
    lastSuccess: state.lastSuccess === undefined ? undefined : new Date(state.lastSuccess),
    lastPass: new Date(),
    failed: error !== undefined,
    code: error?.code,
    appliedVersion: (error === undefined ? result?.version : undefined) ?? state.rendered?.version,
    fileDrift: await readFileDrift(settings, state, result, error),
    ...await readEcsAgentDrift(settings, state, result, signal),
    setAside: state.setAside?.version,
    restarts,
    restartSeconds: durationMs / 1000,
    probes: probesOf(state, result?.registries ?? state.rendered?.registries ?? []),
  }, readCounters((await readFileIfAny(path, 'E_STATE'))?.bytes.toString() ?? ''))
  // Its reader is another program's user, node_exporter's textfile collector or the CloudWatch agent.
  await updateFile(path, () => Buffer.from(text), { newMode: 0o644, maxMode: 0o644, code: 'E_STATE', root: settings.root }).catch((problem: unknown) => {
    if (!(problem instanceof ServiceError) || (problem.cause as NodeJS.ErrnoException | undefined)?.code !== 'EROFS') throw problem
    // The unit's ProtectSystem=strict, rather than the disk.
    throw new ServiceError('E_STATE', problem.message, {
      fix: `let the unit write there: systemctl edit ecs-regcred, with the lines [Service] and ReadWriteDirectories=${dirname(path)}; then: systemctl restart ecs-regcred`,
    })
  })
}

/** The last answers: of a version that is not applied because of them, too. */
function probesOf({ probes = {}, refused }: State, registries: readonly string[]): { registry: string; verdict: 'accepted' | 'refused' | 'unknown' }[] {
  const names = new Set([...registries.filter((registry) => probes[registry] !== undefined), ...refused?.registries ?? []])
  return [...names].map((registry) => ({ registry, verdict: refused?.registries.includes(registry) ? 'refused' : probes[registry]?.verdict ?? 'unknown' }))
}

/** Held back, or changed by somebody else since. A source that cannot be read leaves the last version that was. */
async function readFileDrift(settings: Settings, state: State, result: PassResult | undefined, error: ServiceError | undefined): Promise<boolean | undefined> {
  const heldBack = error !== undefined && (error.exitCode === 65 || error.code === 'E_REGISTRY_REFUSED' || error.code === 'E_SET_ASIDE' || result?.action === 'rolled-back')
  if (heldBack) return true
  if (state.rendered === undefined) return undefined
  const { data } = authOnDisk((await readFileIfAny(settings.ecsConfigPath))?.bytes)
  if (!isRendered(state, data)) return true
  // Without an error the pass itself has seen that they mean the same, whatever the version is called.
  return error !== undefined && result?.version !== undefined && result.version !== state.rendered.version
}

/** A verified pass has just looked. After any other the machine is asked once more, as `status` does. */
async function readEcsAgentDrift(
  settings: Settings, state: State, result: PassResult | undefined, signal: AbortSignal,
): Promise<{ ecsAgentDrift: boolean | undefined; restartOwed: boolean | undefined }> {
  if (result?.verified === true) return { ecsAgentDrift: false, restartOwed: false }
  const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
  const { facts } = await observe(settings, init, remembered(state), signal)
  return { ecsAgentDrift: facts.holdsFile === null ? undefined : !facts.holdsFile, restartOwed: decideEcsAgent(facts) === 'restart' }
}

/** What the cluster was told last by this process: a restart of the service tells it once more, which costs a call. */
let published: string | undefined

async function publish({ settings, log }: Machine, { result, error }: EndedPass, signal: AbortSignal): Promise<void> {
  const { verified, version, containerInstanceArn } = result ?? {}
  if (verified !== true || error !== undefined || version === undefined || containerInstanceArn === undefined) return
  const fact = `${containerInstanceArn} ${version}`
  if (published === fact) return
  const cluster = await readCluster(settings, containerInstanceArn, signal)
  if (cluster === undefined) return
  const { publishVersion } = await import('../fleet/publish-version.js')
  await publishVersion(cluster, containerInstanceArn, version, new Date(), signal)
  published = fact
  log.debug({ event: 'version.published', version, containerInstanceArn }, 'version published')
}

/** `arn:…:container-instance/CLUSTER/ID`; ARNs of the old form leave the cluster out, and then introspection tells. */
async function readCluster(settings: Settings, containerInstanceArn: string, signal: AbortSignal): Promise<string | undefined> {
  const [, cluster, id] = containerInstanceArn.split('/')
  if (id !== undefined) return cluster
  const { readEcsAgent } = await import('../host/ecs-agent.js')
  const { introspection } = await readEcsAgent({ introspectionUrl: settings.introspectionUrl, dockerSocket: settings.dockerSocket }, signal)
  return introspection.up ? introspection.cluster : undefined
}
