import { ServiceError } from '../errors.js'
import type { InitSystem } from '../host/init-system.js'
import { now, writeState } from '../host/state.js'
import { noteFutile } from './futile-restart.js'
import type { Observation } from './observe.js'
import { orderRestart } from './order-restart.js'
import type { Outcome, Pass } from './pass.js'
import { restoreLastGood } from './restore-last-good.js'
import { isVerified, watch } from './watch-ecs-agent.js'

/** The deadline is over: the last good file comes back, and the ECS agent is restarted once more. Then that version waits for a person. */
export async function rollBack(pass: Pass, init: InitSystem, seen: Observation, signal: AbortSignal): Promise<Outcome> {
  const { settings, state, log } = pass
  const { pending } = state
  const started = performance.now()
  // Without a change of ours there is nothing to go back to: the ECS agent was only started with what stood there.
  const late = `the ECS agent is not healthy with the credentials of the file after ${settings.verifyTimeoutMs / 1000} s`
  if (pending === undefined || pending.phase === 'restored') {
    delete state.pending
    await noteFutile(pass, seen)
    throw notVerified(seen, late, 'no change of this service is left to take back, so look at the ECS agent itself: /var/log/ecs/ecs-agent.log')
  }
  const reason = `the ECS agent was not healthy with it within ${settings.verifyTimeoutMs / 1000} s (${seen.detail})`
  state.setAside = { version: pending.version, readAs: pending.readAs, reason, at: new Date().toISOString() }
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
  log.error({ event: 'ecs-agent.rolled-back', version: pending.version, registries: pending.registries, durationMs: Math.round(performance.now() - started), healthy, detail: after.detail, code: 'E_NOT_VERIFIED' },
    healthy ? 'ECS agent rolled back to the last good credentials'
      : signal.aborted ? 'ECS agent rolled back to the last good credentials; stopped before it was seen healthy with them, and the next start goes on'
        : 'rolled back, but the ECS agent is not healthy with the last good credentials either: look at the ECS agent itself')
  return { action: 'rolled-back', verified: false }
}

export function notVerified(seen: Observation, what: string, fix: string): ServiceError {
  return new ServiceError('E_NOT_VERIFIED', `${what} (${seen.detail})`, { fix })
}
