/** The running ECS agent against the file: restart what is owed, watch it until it is healthy, and go back if it is not. */
import { decideEcsAgent, restartWaitMs, splayOffsetMs } from '../core/decide.js'
import { ServiceError } from '../errors.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { readEcsAgent } from '../host/ecs-agent.js'
import { chooseInitSystem } from '../host/index.js'
import type { InitSystem } from '../host/init-system.js'
import { readInstanceId } from '../host/instance.js'
import { elapsedMs, fingerprint, now, writeState } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'
import { containerEvidence, observe, type Observation, remembered } from './observe.js'
import type { Pass } from './pass.js'
import { restoreLastGood } from './restore-last-good.js'

/** A state between two starts, or a start that was not ours to watch, is looked at again after this. */
const LOOK_AGAIN_MS = 30_000
const FIRST_LOOK_MS = 100
const SLOWEST_LOOK_MS = 1_000
const SETTLED_MS = 3_000
const FUTILE_FIX = 'does its unit start it with this file, and is the container ecs-agent that unit\'s? After mending: ecs-regcred sync --force'

export type Outcome = {
  readonly action: 'none' | 'restarted' | 'deferred' | 'rolled-back' | 'would-restart'
  readonly verified: boolean
  readonly lookAgainMs?: number
  readonly containerInstanceArn?: string | undefined
}

/** @throws {ServiceError} E_RESTART_FAILED (the restart stays owed), E_NOT_VERIFIED (rolled back), E_NO_ECS_SERVICE */
export async function bringEcsAgent(pass: Pass, signal: AbortSignal): Promise<Outcome> {
  const { settings, options, log } = pass
  if (pass.state.pending === undefined && pass.state.restartBegun === undefined) {
    // The usual pass: the container's own environment proves it, and no process needs to be started to ask an init system.
    const ecsAgent = await readEcsAgent(settings, signal)
    if (containerEvidence(ecsAgent, (await readFileIfAny(settings.ecsConfigPath))?.bytes) === 'same') {
      delete pass.state.owedSince
      delete pass.state.futileRestart
      return { action: 'none', verified: ecsAgent.introspection.up, containerInstanceArn: ecsAgent.introspection.containerInstanceArn }
    }
  }
  const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
  if (pass.state.pending?.phase === 'rolling-back' && !options.dryRun) {
    const whyNot = await restoreLastGood(pass)
    if (whyNot !== undefined) log.warn({ event: 'ecs-config.failed', code: 'E_NOT_VERIFIED' }, `not rolled back: ${whyNot}`)
  }
  const seen = await observe(settings, init, remembered(pass.state), signal)

  if (init === undefined || seen.facts.job === 'absent') return withoutService(pass, seen)
  // Whoever started it, a restart that we had begun is over; left standing, it would undo an administrator's `stop` one day.
  if (seen.facts.job === 'running') delete pass.state.restartBegun
  // Our restart ended badly while nobody watched: the way back is not to be lost with the pass that was cut short.
  if (seen.facts.job === 'failed' && mayRestart(pass) && wasRestartedForChange(pass)) return await rollBack(pass, init, seen, signal)
  const action = decideEcsAgent(seen.facts)
  if (action !== 'restart') delete pass.state.owedSince
  switch (action) {
    case 'nothing':
      return await goOnWatching(pass, init, seen, signal)
    case 'look-again':
      log.debug({ event: 'ecs-agent.starting', detail: seen.detail }, 'the ECS agent is between two starts')
      return { lookAgainMs: LOOK_AGAIN_MS, ...await goOnWatching(pass, init, seen, signal) }
    case 'leave-down':
      pass.warnings.push(downWarning(settings.ecsService, seen))
      return { action: 'none', verified: false }
    case 'restart':
      break
  }

  if (options.dryRun) return { action: 'would-restart', verified: false }
  if (!options.force && await isFutile(pass)) throw notVerified(seen, 'it was restarted already and still does not hold it, so it is not restarted again', FUTILE_FIX)
  const waitMs = options.force ? 0 : await untilRestartMs(pass)
  if (options.noRestart) pass.warnings.push({ code: 'W_RESTART_OWED', message: 'the running ECS agent does not hold the credentials of the file, and its restart was not asked for' })
  if (options.noRestart || waitMs > 0) {
    log.info({ event: 'restart.owed', version: pass.state.rendered?.version, waitMs: options.noRestart ? undefined : waitMs, detail: seen.detail }, 'ECS agent restart owed')
    return { action: 'deferred', verified: false, ...(options.noRestart ? {} : { lookAgainMs: waitMs }) }
  }
  return await restartAndVerify(pass, init, signal)
}

function mayRestart({ options }: Pass): boolean {
  return options.dryRun !== true && options.noRestart !== true
}

function wasRestartedForChange({ state: { pending } }: Pass): boolean {
  return pending?.phase === 'written' && pending.restartedAt !== undefined && elapsedMs(pending.restartedAt, now()) !== undefined
}

async function restartAndVerify(pass: Pass, init: InitSystem, signal: AbortSignal): Promise<Outcome> {
  const { settings, state, log } = pass
  const started = performance.now()
  log.info({ event: 'ecs-agent.restarting', version: state.rendered?.version, initSystem: init.name, trigger: pass.options.trigger }, 'restarting the ECS agent')
  // From here on a shutdown does not cut in: the order is given or refused, and the watch below ends soon after a shutdown.
  await orderRestart(pass, init)

  const seen = await watch(pass, init, settings.verifyTimeoutMs, signal)
  if (isVerified(seen)) return verified(pass, seen, 'restarted', Math.round(performance.now() - started))
  return await notInTime(pass, init, seen, signal)
}

/**
 * One restart, told to the state before and after. A shutdown does not cut in: the order is given or refused.
 * @throws {ServiceError} E_RESTART_FAILED: it stays owed
 */
async function orderRestart({ settings, state }: Pass, init: InitSystem): Promise<void> {
  const { pending } = state
  // A restart that is owed shows on the machine by itself, but for one case: Upstart's `stop` done and its `start` not.
  if (init.name === 'upstart') state.restartBegun = now()
  // Before the order: killed right after it, the next pass still has to know that there is a deadline.
  if (pending !== undefined) state.pending = { ...pending, restartedAt: now() }
  if (init.name === 'upstart' || pending !== undefined) await writeState(settings.stateDir, state)
  try {
    await init.restart(settings.ecsService, new AbortController().signal)
  } catch (error) {
    if (pending !== undefined) state.pending = pending
    throw error
  }
  delete state.restartBegun
  delete state.owedSince
  state.lastRestart = now()
  if (state.pending !== undefined) state.pending = { ...state.pending, restartedAt: state.lastRestart }
  await writeState(settings.stateDir, state)
}

/** Whether a change of the file, not made yet, would take a restart. */
export async function wouldRestart({ settings, state }: Pass, signal: AbortSignal): Promise<boolean> {
  const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
  const { facts } = await observe(settings, init, remembered(state), signal)
  return init !== undefined && decideEcsAgent({ ...facts, holdsFile: false, changePending: true }) === 'restart'
}

/** It already holds the file, or need not, or will with its next start. What is left is a change that nobody has been seen healthy with. */
async function goOnWatching(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  const { pending } = pass.state
  const containerInstanceArn = seen.ecsAgent.introspection.containerInstanceArn
  if (pending === undefined || pass.options.dryRun) return { action: 'none', verified: isVerified(seen), containerInstanceArn }
  if (isVerified(seen)) return verified(pass, seen, 'none', 0)
  if (seen.facts.job === 'not-started' || seen.facts.job === 'stopped') {
    forgetRestart(pass)
    return { action: 'none', verified: false }
  }

  // Our restart, and the watch over it was cut short: go on with what is left of its deadline. A start that was not ours has none.
  const sinceRestartMs = pending.restartedAt === undefined ? undefined : elapsedMs(pending.restartedAt, now())
  if (sinceRestartMs === undefined || !mayRestart(pass)) return { action: 'none', verified: false, lookAgainMs: LOOK_AGAIN_MS }
  const later = await watch(pass, init, pass.settings.verifyTimeoutMs - sinceRestartMs, signal)
  if (isVerified(later)) return verified(pass, later, 'none', sinceRestartMs)
  return await notInTime(pass, init, later, signal)
}

async function notInTime(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  if (signal.aborted) throw interrupted(seen)
  // systemd tells a stop on purpose from a failure; of Upstart's jobs both look the same.
  if (seen.facts.job !== 'stopped' || init.name === 'upstart') return await rollBack(pass, init, seen, signal)
  forgetRestart(pass)
  pass.warnings.push({ code: 'W_ECS_AGENT_DOWN', message: `${pass.settings.ecsService} was stopped while it was being watched, and is not started by this service (${seen.detail})` })
  return { action: 'none', verified: false }
}

/** Its next start will not be ours, and has no deadline. */
function forgetRestart({ state }: Pass): void {
  if (state.pending === undefined) return
  const { restartedAt: _, ...pending } = state.pending
  state.pending = pending
}

function isVerified(seen: Observation): boolean {
  return seen.healthy && seen.facts.holdsFile === true && (seen.facts.job === 'running' || seen.facts.job === 'unknown')
}

/**
 * Looks until the ECS agent is healthy and holds the file, has failed for good, or the time is over. A shutdown ends it at once: what was being
 * watched is in the state, and the next start goes on with it.
 */
async function watch(pass: Pass, init: InitSystem, timeoutMs: number, signal: AbortSignal): Promise<Observation> {
  const { settings } = pass
  const started = performance.now()
  const never = new AbortController().signal
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 1.5, SLOWEST_LOOK_MS)) {
    const seen = await observe(settings, init, remembered(pass.state), never)
    const watchedMs = performance.now() - started
    // A restart of a failed unit is only queued at first: what it failed of before is not the answer yet.
    const failed = seen.facts.job === 'failed' && watchedMs > SETTLED_MS
    if (isVerified(seen) || failed || watchedMs >= timeoutMs || signal.aborted) return seen
    await waitFor(Math.min(waitMs, timeoutMs - watchedMs), signal)
  }
}

function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}

function verified(pass: Pass, seen: Observation, action: 'none' | 'restarted', durationMs: number): Outcome {
  const { state, log } = pass
  const version = state.rendered?.version
  delete state.pending
  delete state.futileRestart
  log.info({ event: 'ecs-agent.verified', version, registries: state.rendered?.registries, trigger: pass.options.trigger, durationMs }, 'ECS agent verified: healthy, and it holds the credentials')
  return { action, verified: true, containerInstanceArn: seen.ecsAgent.introspection.containerInstanceArn }
}

/** The deadline is over: the last good file comes back, and the ECS agent is restarted once more. Then that version waits for a person. */
async function rollBack(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  const { settings, state, log } = pass
  const { pending } = state
  // Without a change of ours there is nothing to go back to: the ECS agent was only started with what stood there.
  const late = `the ECS agent is not healthy with the credentials of the file after ${settings.verifyTimeoutMs / 1000} s`
  if (pending === undefined || pending.phase === 'restored') {
    delete state.pending
    await noteFutile(pass, seen)
    throw notVerified(seen, late, 'no change of this service is left to take back, so look at the ECS agent itself: /var/log/ecs/ecs-agent.log')
  }
  const reason = `the ECS agent was not healthy with it within ${settings.verifyTimeoutMs / 1000} s (${seen.detail})`
  state.setAside = { version: pending.version, reason, at: new Date().toISOString() }
  state.pending = { ...pending, phase: 'rolling-back' }
  state.restartBegun = now()
  await writeState(settings.stateDir, state)
  const whyNot = await restoreLastGood(pass)
  if (whyNot !== undefined) {
    delete state.restartBegun
    await noteFutile(pass, seen)
    throw notVerified(seen, late, `not rolled back: ${whyNot}`)
  }

  await orderRestart(pass, init)
  const after = await watch(pass, init, settings.verifyTimeoutMs, signal)
  const healthy = isVerified(after)
  if (!signal.aborted || healthy) delete state.pending
  if (!signal.aborted) await noteFutile(pass, after)
  log.error({ event: 'ecs-agent.rolled-back', version: pending.version, healthy, detail: after.detail, code: 'E_NOT_VERIFIED' },
    healthy ? 'ECS agent rolled back to the last good credentials' : 'rolled back, but the ECS agent is not healthy with the last good credentials either: look at the ECS agent itself')
  return { action: 'rolled-back', verified: false }
}

/** It runs after our restart and holds something else than the file: a further restart would end the same way, at every poll. */
async function noteFutile({ settings, state }: Pass, seen: Observation): Promise<void> {
  if (seen.facts.holdsFile !== false) return
  state.futileRestart = { fingerprint: await fingerprintOnDisk(settings.ecsConfigPath, state.fingerprintKey), at: now() }
}

async function isFutile({ settings, state: { futileRestart, fingerprintKey } }: Pass): Promise<boolean> {
  if (futileRestart === undefined || elapsedMs(futileRestart.at, now()) === undefined) return false
  return futileRestart.fingerprint === await fingerprintOnDisk(settings.ecsConfigPath, fingerprintKey)
}

async function fingerprintOnDisk(path: string, key: string): Promise<string> {
  return fingerprint(key, authOnDisk((await readFileIfAny(path))?.bytes).data ?? '')
}

function notVerified(seen: Observation, what: string, fix: string): ServiceError {
  return new ServiceError('E_NOT_VERIFIED', `${what} (${seen.detail})`, { fix })
}

function interrupted(seen: Observation): ServiceError {
  return new ServiceError('E_INTERRUPTED', `stopped while the ECS agent was being watched (${seen.detail}); the next start goes on`)
}

function withoutService({ settings, options, state }: Pass, seen: Observation): Outcome {
  const nothing = { action: 'none', verified: false } as const
  if (options.dryRun || !seen.healthy) return nothing
  if (seen.facts.holdsFile === true) {
    delete state.pending
    return { ...nothing, verified: true, containerInstanceArn: seen.ecsAgent.introspection.containerInstanceArn }
  }
  if (options.noRestart) return nothing
  throw new ServiceError('E_NO_ECS_SERVICE', `an ECS agent runs, but neither systemd nor Upstart has a service named ${settings.ecsService} to restart it with`, {
    fix: 'name its unit or job with --ecs-service; a container started by hand keeps its environment: remove it and run it again',
  })
}

function downWarning(service: string, seen: Observation): { code: 'W_ECS_AGENT_DOWN'; message: string } {
  const why = seen.facts.exitStatus === 5
    ? 'the ECS agent ended with status 5, its terminal failure (another cluster than its saved state, a refused registration, or state that could not be saved): see /var/log/ecs/ecs-agent.log'
    : 'it failed, and not with a change of this service that could be taken back'
  return { code: 'W_ECS_AGENT_DOWN', message: `${service} is down and is not started by this service: ${why} (${seen.detail})` }
}

async function untilRestartMs({ settings, options, state }: Pass): Promise<number> {
  const at = now()
  let owedForMs = state.owedSince && elapsedMs(state.owedSince, at)
  if (owedForMs === undefined) {
    state.owedSince = at
    owedForMs = 0
  }
  return restartWaitMs({
    owedForMs,
    splayOffsetMs: options.splay && settings.splayMs > 0 ? splayOffsetMs(await readInstanceId(settings.root), settings.splayMs) : 0,
    sinceLastRestartMs: state.lastRestart && elapsedMs(state.lastRestart, at),
    minRestartGapMs: settings.minRestartGapMs,
  })
}
