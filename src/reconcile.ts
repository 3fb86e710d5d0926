/**
 * One pass: source → document → dockercfg → ecs.config → restarted → verified. It decides from the machine, never from memory alone, so it is safe to
 * repeat, and when nothing is new it touches nothing.
 */
import { redactedDiff, renderEcsConfig } from './core/ecs-config.js'
import { ServiceError } from './errors.js'
import { readFileIfAny, removeLeftoverTemps, tightenMode, updateFile } from './host/atomic-file.js'
import { withLock } from './host/lock.js'
import { fingerprint, now, readState, removeStateTemps, saveLastGood, writeState } from './host/state.js'
import { bringEcsAgent, type Outcome, wouldRestart } from './pass/bring-ecs-agent.js'
import { authOnDisk } from './pass/auth-on-disk.js'
import type { Pass, PassAction, PassOptions, PassResult } from './pass/pass.js'
import { type FilePlan, planFile } from './pass/plan-file.js'
import type { Logger } from 'pino'
import type { Settings } from './settings.js'
import type { CredentialSource } from './sources/source.js'

export type Machine = { readonly settings: Settings; readonly source: CredentialSource; readonly log: Logger }

/**
 * @returns what was done; what kept the pass from its end is its `error`, logged already
 * @throws {ServiceError} E_LOCKED, E_INTERRUPTED, or E_STATE where the state directory cannot be used: nothing was done
 */
export async function reconcile(machine: Machine, options: PassOptions, signal: AbortSignal): Promise<PassResult> {
  if (options.dryRun) return onePass(machine, options, signal)
  // Another pass may be watching a restart: that is the longest one can last.
  const waitMs = 2 * machine.settings.verifyTimeoutMs + 30_000
  try {
    return await withLock(machine.settings.stateDir, waitMs, () => onePass(machine, options, signal), signal)
  } catch (error) {
    throw asServiceError(error, signal)
  }
}

async function onePass(machine: Machine, options: PassOptions, signal: AbortSignal): Promise<PassResult> {
  const { settings } = machine
  const { state, problem } = await readState(settings.stateDir)
  if (problem !== undefined) machine.log.warn({ event: 'state.lost' }, problem)
  const pass: Pass = { ...machine, options, warnings: [], state }
  const errors: ServiceError[] = []
  const attempt = async <T>(step: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await step()
    } catch (error) {
      errors.push(asServiceError(error, signal))
      return undefined
    }
  }

  if (!options.dryRun) await attempt(async () => {
    await removeLeftoverTemps(settings.ecsConfigPath)
    await removeStateTemps(settings.stateDir)
  })
  const plan = await attempt(() => planFile(pass, signal))
  const wrote = plan?.authData !== undefined && !options.dryRun && !signal.aborted ? await attempt(() => writeFile(pass, plan)) : undefined
  if (plan !== undefined && plan.authData === undefined && !options.dryRun) await attempt(() => tightenMode(settings.ecsConfigPath, 0o600))

  // A source that is away is no reason to leave a restart unpaid: the second fact is looked at all the same.
  const outcome = options.boot || signal.aborted ? undefined : await attempt(async (): Promise<Outcome> => {
    if (!options.dryRun || plan?.authData === undefined) return bringEcsAgent(pass, signal)
    return { action: !options.noRestart && await wouldRestart(pass, signal) ? 'would-restart' : 'none', verified: false }
  })
  if (outcome?.action === 'rolled-back') errors.unshift(rolledBack(pass))

  const [error] = errors
  if (!options.dryRun) {
    if (error === undefined && outcome?.action !== 'deferred') pass.state.lastSuccess = new Date().toISOString()
    await attempt(() => writeState(settings.stateDir, pass.state))
  }
  // A poll that finds everything as it was repeats nothing.
  const level = wrote === undefined && errors.length === 0 && options.trigger === 'poll' ? 'debug' : 'warn'
  for (const warning of pass.warnings) machine.log[level]({ event: 'pass.warning', code: warning.code, trigger: options.trigger }, warning.message)
  for (const problem of errors) logProblem(machine, problem, options)
  const result: PassResult = {
    action: actionOf(plan, wrote !== undefined, outcome, options),
    version: plan?.version,
    registries: plan?.registries ?? pass.state.rendered?.registries ?? [],
    warnings: pass.warnings,
    verified: outcome?.verified ?? false,
    containerInstanceArn: outcome?.containerInstanceArn,
    ...(error === undefined ? {} : { error }),
    retryable: errors.some((problem) => problem.retryable),
    ...(outcome?.lookAgainMs === undefined ? {} : { lookAgainMs: outcome.lookAgainMs }),
    ...(options.dryRun && plan?.authData !== undefined ? { diff: redactedDiff(plan.current, renderEcsConfig(plan.current, plan.authData.reveal())) } : {}),
  }
  if (result.action === 'none' && error === undefined) {
    machine.log.debug({ event: 'credentials.unchanged', source: machine.source.label, version: result.version, trigger: options.trigger }, 'nothing to do')
  }
  return result
}

/** The write, told to the state before and after it: a kill between the two leaves what the next pass needs. */
async function writeFile(pass: Pass, plan: FilePlan): Promise<true> {
  const { settings, state, log, options } = pass
  const started = performance.now()
  const authData = plan.authData?.reveal() ?? ''
  const rendered = { version: plan.version, fingerprint: fingerprint(state.fingerprintKey, authData), registries: [...plan.registries] }

  // A change that nobody has been seen healthy with is no last good: the one before it stays.
  if (state.pending === undefined) {
    await saveLastGood(settings.stateDir, (await readFileIfAny(settings.ecsConfigPath))?.bytes)
    if (state.rendered === undefined) delete state.lastGoodRendered
    else state.lastGoodRendered = state.rendered
  }
  const render = (current: Uint8Array | undefined): Uint8Array => renderEcsConfig(current, authData)
  const before = { pending: state.pending, rendered: state.rendered, writtenAt: state.writtenAt }
  const pending = { version: plan.version, fingerprint: rendered.fingerprint, fileFingerprint: fingerprint(state.fingerprintKey, render(plan.current)), phase: 'written' as const }
  // As it will be. Killed right after the rename, an ECS agent that started before this moment has to count as one that has not read the file.
  Object.assign(state, { pending, rendered, writtenAt: now() })
  await writeState(settings.stateDir, state)

  const written = await updateFile(settings.ecsConfigPath, render, { root: settings.root }).then(({ bytes }) => bytes, async (error: unknown) => {
    const file = await readFileIfAny(settings.ecsConfigPath).catch(() => undefined)
    // Where the old one stands, nothing is pending. (After the rename only the flush of the directory can fail.)
    if (file === undefined || authOnDisk(file.bytes).data !== authData) Object.assign(state, before)
    throw error
  })
  state.writtenAt = now()
  state.pending = { ...pending, fileFingerprint: fingerprint(state.fingerprintKey, written) }
  // The version that stands there now was tried after all, if it was held back before.
  delete state.setAside
  delete state.refused
  await writeState(settings.stateDir, state)
  log.info({ event: 'ecs-config.written', version: plan.version, registries: plan.registries, trigger: options.trigger, durationMs: Math.round(performance.now() - started) }, 'ecs.config written')
  if (authOnDisk(written).data !== authData) throw new ServiceError('E_BUG', 'ecs.config does not hold what was written')
  return true
}

function actionOf(plan: FilePlan | undefined, wrote: boolean, outcome: Outcome | undefined, options: PassOptions): PassAction {
  if (options.dryRun) return outcome?.action === 'would-restart' ? 'would-restart' : plan?.authData !== undefined ? 'would-write' : 'none'
  if (outcome === undefined || outcome.action === 'none') return wrote ? 'wrote' : 'none'
  if (outcome.action === 'deferred' && options.noRestart) return wrote ? 'wrote' : 'deferred'
  return outcome.action
}

function rolledBack({ state }: Pass): ServiceError {
  return new ServiceError('E_NOT_VERIFIED', `version ${state.setAside?.version ?? ''} is rolled back and set aside: ${state.setAside?.reason ?? ''}`, {
    fix: 'look at /var/log/ecs/ecs-agent.log; put another credential into the source, or try this one again with: ecs-regcred sync --force',
  })
}

/** Anything that is not ours is a bug, but for the abort that a shutdown makes of every wait. */
function asServiceError(error: unknown, signal: AbortSignal): ServiceError {
  if (error instanceof ServiceError) return error
  if (signal.aborted) return new ServiceError('E_INTERRUPTED', 'stopped before anything was changed')
  throw error
}

function logProblem({ log, source }: Machine, error: ServiceError, { trigger }: PassOptions): void {
  const { code, details: { fix, line, column, path } } = error
  log[code === 'E_INTERRUPTED' ? 'info' : 'error']({ event: eventOf(error), source: source.label, code, trigger, line, column, path, fix }, error.message)
}

function eventOf({ code, exitCode }: ServiceError): string {
  switch (code) {
    case 'E_RESTART_FAILED': return 'restart.failed'
    case 'E_NO_ECS_SERVICE': return 'restart.failed'
    case 'E_NOT_VERIFIED': return 'ecs-agent.not-verified'
    case 'E_ECS_CONFIG': return 'ecs-config.failed'
    case 'E_STATE': return 'pass.failed'
    case 'E_INTERRUPTED': return 'pass.interrupted'
    case 'E_REGISTRY_REFUSED':
    case 'E_SET_ASIDE':
    case 'E_TAKEOVER': return 'credentials.refused'
    default: return exitCode === 65 ? 'credentials.refused' : exitCode === 74 || exitCode === 69 || exitCode === 77 ? 'source.failed' : 'pass.failed'
  }
}
