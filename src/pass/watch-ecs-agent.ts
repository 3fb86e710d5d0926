/** Looking at the ECS agent until it is seen healthy with the credentials of the file. */
import type { InitSystem } from '../host/init-system.js'
import { observe, type Observation, remembered } from './observe.js'
import type { Pass } from './pass.js'

const FIRST_LOOK_MS = 100
const SLOWEST_LOOK_MS = 1_000
const SETTLED_MS = 3_000

/**
 * Looks until the ECS agent is healthy and holds the file, has failed for good, or the time is over. A shutdown ends it at once: what was being
 * watched is in the state, and the next start goes on with it.
 */
export async function watch(pass: Pass, init: InitSystem, timeoutMs: number, signal: AbortSignal): Promise<Observation> {
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

export function isVerified(seen: Observation): boolean {
  return seen.healthy && seen.facts.holdsFile === true && (seen.facts.job === 'running' || seen.facts.job === 'unknown')
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
