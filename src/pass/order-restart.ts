import { type InitSystem, UnansweredOrder } from '../host/init-system.js'
import { now, writeState } from '../host/state.js'
import type { Pass } from './pass.js'

/**
 * One restart, told to the state before and after. A shutdown does not cut in: the order is given or refused.
 * @throws {ServiceError} E_RESTART_FAILED: it stays owed
 */
export async function orderRestart({ settings, state }: Pass, init: InitSystem): Promise<void> {
  const { pending } = state
  // A restart that is owed shows on the machine by itself, but for one case: Upstart's `stop` done and its `start` not.
  if (init.name === 'upstart') state.restartBegun = now()
  // Before the order: killed right after it, the next pass still has to know that there is a deadline.
  if (pending !== undefined) state.pending = { ...pending, restartedAt: now() }
  if (init.name === 'upstart' || pending !== undefined) await writeState(settings.stateDir, state)
  try {
    await init.restart(settings.ecsService, new AbortController().signal)
  } catch (error) {
    // One that was taken all the same has a deadline as well, or a change that the ECS agent does not live with would never be taken back.
    if (pending !== undefined && !(error instanceof UnansweredOrder)) state.pending = pending
    throw error
  }
  delete state.restartBegun
  delete state.owedSince
  state.lastRestart = now()
  if (state.pending !== undefined) state.pending = { ...state.pending, restartedAt: state.lastRestart }
  await writeState(settings.stateDir, state)
}

/** Its next start will not be ours, and has no deadline. */
export function forgetRestart({ state }: Pass): void {
  if (state.pending === undefined) return
  const { restartedAt: _, ...pending } = state.pending
  state.pending = pending
}
