/** From an order to a verdict: verified, or not in time, and then back. */
import { ServiceError } from '../errors.js'
import type { InitSystem } from '../host/init-system.js'
import { elapsedMs, now } from '../host/state.js'
import type { Observation } from './observe.js'
import { forgetRestart, orderRestart } from './order-restart.js'
import { mayRestart, type Outcome, type Pass } from './pass.js'
import { rollBack } from './roll-back.js'
import { isVerified, watch } from './watch-ecs-agent.js'

/** A state between two starts, or a start that was not ours to watch, is looked at again after this. */
export const LOOK_AGAIN_MS = 30_000

export async function restartAndVerify(pass: Pass, init: InitSystem, signal: AbortSignal): Promise<Outcome> {
  const { settings, state, log } = pass
  const started = performance.now()
  log.info({ event: 'ecs-agent.restarting', version: state.rendered?.version, registries: state.rendered?.registries, initSystem: init.name }, 'restarting the ECS agent')
  // From here on a shutdown does not cut in: the order is given or refused, and the watch below ends soon after a shutdown.
  await orderRestart(pass, init)

  const seen = await watch(pass, init, settings.verifyTimeoutMs, signal)
  if (isVerified(seen)) return verified(pass, seen, 'restarted', Math.round(performance.now() - started))
  return await notInTime(pass, init, seen, signal)
}

/** It already holds the file, or need not, or will with its next start. What is left is a change that nobody has been seen healthy with. */
export async function goOnWatching(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  const { pending } = pass.state
  const containerInstanceArn = seen.ecsAgent.introspection.containerInstanceArn
  if (pending === undefined || pass.options.dryRun) return { action: 'none', verified: isVerified(seen), containerInstanceArn }
  if (isVerified(seen)) return verified(pass, seen, 'none', 0)
  const sinceRestartMs = pending.restartedAt === undefined ? undefined : elapsedMs(pending.restartedAt, now())
  // Of Upstart's jobs one that died of the change looks like one that was stopped; in an unfinished watch it is taken for the former, as in notInTime().
  const mayHaveDied = init.name === 'upstart' && sinceRestartMs !== undefined
  if (seen.facts.job === 'not-started' || (seen.facts.job === 'stopped' && !mayHaveDied)) {
    if (sinceRestartMs !== undefined) forgetRestart(pass)
    return { action: 'none', verified: false }
  }

  // Our restart, and the watch over it was cut short: go on with what is left of its deadline. A start that was not ours has none.
  if (sinceRestartMs === undefined || !mayRestart(pass)) return { action: 'none', verified: false, lookAgainMs: LOOK_AGAIN_MS }
  const later = await watch(pass, init, pass.settings.verifyTimeoutMs - sinceRestartMs, signal)
  if (isVerified(later)) return verified(pass, later, 'none', sinceRestartMs)
  return await notInTime(pass, init, later, signal)
}

/** A reboot cut the watch over our restart short: the start that this boot makes is watched in its stead, with the whole of the deadline. */
export function adoptStartOfBoot({ state }: Pass, seen: Observation): void {
  const { pending } = state
  if (pending?.restartedAt === undefined || elapsedMs(pending.restartedAt, now()) !== undefined) return
  if (['starting', 'running', 'failed'].includes(seen.facts.job)) state.pending = { ...pending, restartedAt: now() }
}

export function wasRestartedForChange({ state: { pending } }: Pass): boolean {
  return pending?.phase === 'written' && pending.restartedAt !== undefined && elapsedMs(pending.restartedAt, now()) !== undefined
}

async function notInTime(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  if (signal.aborted) throw interrupted(seen)
  // systemd tells a stop on purpose from a failure; of Upstart's jobs both look the same.
  if (seen.facts.job !== 'stopped' || init.name === 'upstart') return await rollBack(pass, init, seen, signal)
  forgetRestart(pass)
  pass.warnings.push({ code: 'W_ECS_AGENT_DOWN', message: `${pass.settings.ecsService} was stopped while it was being watched, and is not started by this service (${seen.detail})` })
  return { action: 'none', verified: false }
}

function verified(pass: Pass, seen: Observation, action: 'none' | 'restarted', durationMs: number): Outcome {
  const { state, log } = pass
  const version = state.rendered?.version
  delete state.pending
  delete state.futileRestart
  log.info({ event: 'ecs-agent.verified', version, registries: state.rendered?.registries, durationMs }, 'ECS agent verified: healthy, and it holds the credentials')
  return { action, verified: true, containerInstanceArn: seen.ecsAgent.introspection.containerInstanceArn }
}

function interrupted(seen: Observation): ServiceError {
  return new ServiceError('E_INTERRUPTED', `stopped while the ECS agent was being watched (${seen.detail}); the next start goes on`)
}
