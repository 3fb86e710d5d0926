/** Every check, side by side: each is bounded in time, and none can stop another. */
import { setMaxListeners } from 'node:events'
import { ServiceError } from '../errors.js'
import { aws } from './aws.js'
import { brokenBy, type Check, type CheckResult, skipped, warning } from './check.js'
import { clock } from './clock.js'
import { dockerGroup } from './docker-group.js'
import { ecsAgent } from './ecs-agent.js'
import { ecsConfig } from './ecs-config.js'
import { gatherFacts, type Facts } from './facts.js'
import { otherConfig } from './other-config.js'
import { ownService } from './own-service.js'
import { registries } from './registries.js'
import { selinux } from './selinux.js'
import { settingsCheck } from './settings-check.js'
import { source } from './source.js'
import { stateDir } from './state-dir.js'
import { taskImages } from './task-images.js'

/** In the order in which a person looks for a fault: from what runs to what feeds it. */
const CHECKS: readonly Check[] = [
  settingsCheck, ownService, ecsAgent, ecsConfig, otherConfig, source, aws, registries, taskImages, clock, stateDir, dockerGroup, selinux,
]
const CHECK_MS = 20_000
const LATE_FIX = 'see what the checks beside it say of the network and of systemd, then again: ecs-regcred doctor'

/** @throws {ServiceError} E_INTERRUPTED: Ctrl-C */
export async function examine(
  { settings, settingsError, environment }: Pick<Facts, 'settings' | 'settingsError' | 'environment'>,
  signal: AbortSignal,
  { checks = CHECKS, checkMs = CHECK_MS } = {},
): Promise<readonly CheckResult[]> {
  const ending = new AbortController()
  const bounded = AbortSignal.any([signal, ending.signal])
  setMaxListeners(0, bounded) // one a check and more: not the leak that Node would warn of
  const facts = gatherFacts(settings, settingsError, environment, bounded)
  try {
    const results = await Promise.all(checks.map((check) => runCheck(check, facts, checkMs, bounded)))
    if (signal.aborted) throw new ServiceError('E_INTERRUPTED', 'interrupted; doctor changes nothing')
    return toldOnce(results.flat())
  } finally {
    // What a check that ran out of time still waits for.
    ending.abort()
  }
}

/** One file that cannot be read spoils several checks: its fault is told by the check that is about it, and the others say which that is. */
function toldOnce(results: readonly CheckResult[]): readonly CheckResult[] {
  return results.map((result) => {
    const owner = result.code === 'E_ECS_CONFIG' ? results.find(({ id, message }) => id === ecsConfig.id && message === result.message) : undefined
    return owner === undefined || owner === result ? result : skipped(result.id, `could not be looked at: ${owner.id} says why`)
  })
}

async function runCheck({ id, run }: Check, facts: Facts, checkMs: number, signal: AbortSignal): Promise<readonly CheckResult[]> {
  let stop = (): void => {}
  const bound = new Promise<readonly CheckResult[]>((resolve) => {
    const timer = setTimeout(() => resolve([warning(id, `no answer within ${checkMs / 1000} s`, LATE_FIX)]), checkMs)
    const abort = (): void => resolve([])
    signal.addEventListener('abort', abort, { once: true })
    stop = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
  })
  const answer = run(facts, signal).catch((error: unknown): readonly CheckResult[] => {
    if (signal.aborted) return []
    // The message of a foreign error might quote what it choked on.
    const name = error instanceof Error ? error.name : 'unknown error'
    return [error instanceof ServiceError ? brokenBy(id, error) : { ...skipped(id, `this check failed itself, which is a bug in ecs-regcred (${name})`), code: 'E_BUG' }]
  })
  try {
    return await Promise.race([answer, bound])
  } finally {
    stop()
  }
}
