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
  const { code, message, details: { fix } } = rolledBack(pass)
  log.error({ event: 'ecs-agent.rolled-back', version: pending.version, registries: pending.registries, durationMs: Math.round(performance.now() - started), healthy, detail: after.detail, code, fix },
    healthy ? message
      : signal.aborted ? `${message}; stopped before it was seen healthy with the last good credentials, and the next start goes on`
        : `${message}; and with the last good credentials it is not healthy either: look at the ECS agent itself`)
  return { action: 'rolled-back', verified: false }
}

/** What the pass that went back ends with. */
export function rolledBack({ state }: Pass): ServiceError {
  return new ServiceError('E_NOT_VERIFIED', `version ${state.setAside?.version ?? ''} is rolled back and set aside: ${state.setAside?.reason ?? ''}`, {
    fix: 'look at /var/log/ecs/ecs-agent.log; put another credential into the source, or try this one again with: ecs-regcred sync --force',
  })
}

export function notVerified(seen: Observation, what: string, fix: string): ServiceError {
  return new ServiceError('E_NOT_VERIFIED', `${what} (${seen.detail})`, { fix })
}
