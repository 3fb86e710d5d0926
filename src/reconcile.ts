/**
 * One pass: source → document → dockercfg → ecs.config → restarted → verified. It decides from the machine, never from memory alone, so it is safe to
 * repeat, and when nothing is new it touches nothing.
 */
import { redactedDiff, renderEcsConfig } from './core/ecs-config.js'
import { ServiceError, type ErrorCode } from './errors.js'
import { readFileIfAny, removeLeftoverTemps, tightenMode, updateFile } from './host/atomic-file.js'
import { withLock } from './host/lock.js'
import { fingerprint, isRendered, readLastGood, readState, removeStateTemps, saveLastGood, type State, writeState } from './host/state.js'
import { bringEcsAgent, wouldRestart } from './pass/bring-ecs-agent.js'
import { authOnDisk } from './pass/auth-on-disk.js'
import type { Outcome, Pass, PassAction, PassOptions, PassResult } from './pass/pass.js'
import { type FilePlan, planFile } from './pass/plan-file.js'
import { rolledBack } from './pass/roll-back.js'
import { settleWrite } from './pass/settle-write.js'
import type { Logger } from 'pino'
import type { Settings } from './settings.js'
import type { CredentialSource } from './sources/source.js'

const ON_THE_WAY = 'stopped on the way; what is left to do shows on the machine'

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
    throw asServiceError(error, signal, 'stopped before anything was changed')
  }
}

async function onePass(machine: Machine, options: PassOptions, signal: AbortSignal): Promise<PassResult> {
  const { settings } = machine
  const started = performance.now()
  const log = machine.log.child({ trigger: options.trigger })
  const { state, problem } = await readState(settings.stateDir)
  if (problem !== undefined) log.warn({ event: 'state.lost' }, problem)
  const pass: Pass = { ...machine, log, options, warnings: [], state }
  const errors: ServiceError[] = []
  const attempt = async <T>(step: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await step()
    } catch (error) {
      errors.push(asServiceError(error, signal, ON_THE_WAY))
      return undefined
    }
  }

  const plan = await attempt(() => planFile(pass, signal))
  const wrote = plan?.authData !== undefined && !options.dryRun && !signal.aborted ? await attempt(() => writeFile(pass, plan)) : undefined
  if (wrote === undefined && !options.dryRun) await attempt(async () => {
    // Nobody else reads credentials of ours, also while their source is away or holds what cannot be applied.
    if (plan === undefined ? await holdsOurs(pass) : plan.authData === undefined) await tightenMode(settings.ecsConfigPath, 0o600)
  })

  // A source that is away is no reason to leave a restart unpaid: the second fact is looked at all the same.
  const outcome = options.boot || signal.aborted ? undefined : await attempt(async (): Promise<Outcome> => {
    if (!options.dryRun || plan?.authData === undefined) return bringEcsAgent(pass, signal)
    return { action: !options.noRestart && await wouldRestart(pass, signal) ? 'would-restart' : 'none', verified: false }
  })
  // The way back has told of itself in the log already.
  const told = outcome?.action === 'rolled-back' ? rolledBack(pass) : undefined
  if (told !== undefined) errors.unshift(told)
  const cutShort = signal.aborted && (options.boot ? plan?.authData !== undefined && wrote === undefined : outcome === undefined)
  if (cutShort && errors.length === 0) errors.push(new ServiceError('E_INTERRUPTED', ON_THE_WAY))

  // Of a process that was killed in a write. After the work, which is waited for; nobody waits for this.
  if (!options.dryRun) await attempt(async () => {
    await removeLeftoverTemps(settings.ecsConfigPath)
    await removeStateTemps(settings.stateDir)
  })

  const [error] = errors
  if (!options.dryRun) {
    if (error === undefined && outcome?.action !== 'deferred') pass.state.lastSuccess = new Date().toISOString()
    await attempt(() => writeState(settings.stateDir, pass.state))
  }
  // A poll that finds everything as it was repeats nothing.
  const level = wrote === undefined && errors.length === 0 && options.trigger === 'poll' ? 'debug' : 'warn'
  for (const warning of pass.warnings) log[level]({ event: 'pass.warning', code: warning.code }, warning.message)
  for (const problem of errors) if (problem !== told) logProblem(pass, problem, Math.round(performance.now() - started))
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
    log.debug({ event: 'credentials.unchanged', version: result.version, registries: result.registries, durationMs: Math.round(performance.now() - started) }, 'nothing to do')
  }
  return result
}

/** The write, told to the state before and after it: a kill between the two leaves what the next pass needs. */
async function writeFile(pass: Pass, plan: FilePlan): Promise<true> {
  const { settings, state, log } = pass
  const started = performance.now()
  const authData = plan.authData?.reveal() ?? ''
  const render = (current: Uint8Array | undefined): Uint8Array => renderEcsConfig(current, authData)

  if (state.pending === undefined) await keepLastGood(pass)
  state.pending = {
    version: plan.version,
    readAs: plan.readAs,
    fingerprint: fingerprint(state.fingerprintKey, authData),
    registries: [...plan.registries],
    fileFingerprint: fingerprint(state.fingerprintKey, render((await readLastGood(settings.stateDir))?.bytes)),
    phase: 'writing',
    ...(state.pending === undefined ? {} : { before: state.pending }),
  }
  await writeState(settings.stateDir, state)

  const { bytes: written } = await updateFile(settings.ecsConfigPath, render, { root: settings.root }).catch(async (error: unknown) => {
    settleWrite(state, (await readFileIfAny(settings.ecsConfigPath).catch(() => undefined))?.bytes)
    throw error
  })
  settleWrite(state, written)
  await writeState(settings.stateDir, state)
  log.info({ event: 'ecs-config.written', version: plan.version, registries: plan.registries, durationMs: Math.round(performance.now() - started) }, 'ecs.config written')
  if (authOnDisk(written).data !== authData) throw new ServiceError('E_BUG', 'ecs.config does not hold what was written')
  return true
}

/**
 * The file before a change, for the way back. A change that nobody has been seen healthy with is no last good, so the caller asks only where none is pending;
 * nor is a file whose credentials somebody else has deleted or broken.
 */
async function keepLastGood({ settings, state }: Pass): Promise<void> {
  const bytes = (await readFileIfAny(settings.ecsConfigPath))?.bytes
  const { auth, data } = authOnDisk(bytes)
  const isOurs = isRendered(state, data)
  if (state.rendered !== undefined && !isOurs && auth.entries.size === 0 && await readLastGood(settings.stateDir) !== undefined) return
  await saveLastGood(settings.stateDir, bytes)
  if (state.rendered !== undefined && isOurs) state.lastGoodRendered = state.rendered
  else delete state.lastGoodRendered
}

async function holdsOurs({ settings, state }: Pass): Promise<boolean> {
  return isRendered(state, authOnDisk((await readFileIfAny(settings.ecsConfigPath))?.bytes).data)
}

function actionOf(plan: FilePlan | undefined, wrote: boolean, outcome: Outcome | undefined, options: PassOptions): PassAction {
  if (options.dryRun) return outcome?.action === 'would-restart' ? 'would-restart' : plan?.authData !== undefined ? 'would-write' : 'none'
  if (outcome === undefined || outcome.action === 'none') return wrote ? 'wrote' : 'none'
  if (outcome.action === 'deferred' && options.noRestart) return wrote ? 'wrote' : 'deferred'
  return outcome.action
}

/** Anything that is not ours is a bug, but for the abort that a shutdown makes of every wait. */
function asServiceError(error: unknown, signal: AbortSignal, stopped: string): ServiceError {
  if (error instanceof ServiceError) return error
  if (signal.aborted) return new ServiceError('E_INTERRUPTED', stopped)
  throw error
}

function logProblem({ log, state }: Pass, error: ServiceError, durationMs: number): void {
  const { code, details: { fix, line, column, path } } = error
  const { version, registries } = concerned(state, code)
  log[code === 'E_INTERRUPTED' ? 'info' : 'error']({ event: eventOf(error), version, registries, durationMs, code, line, column, path, fix }, error.message)
}

/** Which version and registries the problem is of, where that is known. */
function concerned({ refused, setAside, rendered, unusable }: State, code: ErrorCode): { readonly version?: string; readonly registries?: readonly string[] } {
  switch (code) {
    case 'E_REGISTRY_REFUSED': return { ...refused }
    case 'E_SET_ASIDE':
    case 'E_NOT_VERIFIED': return { ...setAside }
    case 'E_RESTART_FAILED':
    case 'E_NO_ECS_SERVICE': return { ...rendered }
    default: return unusable?.code === code ? { version: unusable.version } : {}
  }
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
