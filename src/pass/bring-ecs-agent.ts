/** The running ECS agent against the file: restart what is owed, watch it until it is healthy, and go back if it is not. */
import { decideEcsAgent, restartWaitMs, splayOffsetMs } from '../core/decide.js'
import { ServiceError } from '../errors.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { readEcsAgent } from '../host/ecs-agent.js'
import { chooseInitSystem } from '../host/index.js'
import { readInstanceId } from '../host/instance.js'
import { elapsedMs, now } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'
import { containerEvidence, observe, type Observation, remembered } from './observe.js'
import { isFutile } from './futile-restart.js'
import { mayRestart, type Outcome, type Pass } from './pass.js'
import { adoptStartOfBoot, goOnWatching, LOOK_AGAIN_MS, restartAndVerify, wasRestartedForChange } from './restart-and-verify.js'
import { restoreLastGood } from './restore-last-good.js'
import { notVerified, rollBack } from './roll-back.js'

const FUTILE_FIX = 'does its unit start it with this file, and is the container ecs-agent that unit\'s? After mending: ecs-regcred sync --force'

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
  adoptStartOfBoot(pass, seen)
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

  if (await wouldLoseAll(pass, seen)) {
    pass.warnings.push({ code: 'W_NO_CREDENTIALS', message: `${settings.ecsConfigPath} holds no credentials any more, and not by this service; the running ECS agent keeps its own, and is not restarted until they are back` })
    return { action: 'none', verified: false }
  }
  if (options.dryRun) return { action: 'would-restart', verified: false }
  if (!options.force && await isFutile(pass)) throw notVerified(seen, 'it was restarted already and still does not hold it, so it is not restarted again', FUTILE_FIX)
  const waitMs = options.force ? 0 : await untilRestartMs(pass)
  if (options.noRestart) pass.warnings.push({ code: 'W_RESTART_OWED', message: 'the running ECS agent does not hold the credentials of the file, and its restart was not asked for' })
  if (options.noRestart || waitMs > 0) {
    log.info({ event: 'restart.owed', version: pass.state.rendered?.version, registries: pass.state.rendered?.registries, waitMs: options.noRestart ? undefined : waitMs, detail: seen.detail }, 'ECS agent restart owed')
    return { action: 'deferred', verified: false, ...(options.noRestart ? {} : { lookAgainMs: waitMs }) }
  }
  return await restartAndVerify(pass, init, signal)
}

/** Whether a change of the file, not made yet, would take a restart. */
export async function wouldRestart({ settings, state }: Pass, signal: AbortSignal): Promise<boolean> {
  const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
  const { facts } = await observe(settings, init, remembered(state), signal)
  return init !== undefined && decideEcsAgent({ ...facts, holdsFile: false, changePending: true }) === 'restart'
}

/**
 * Somebody deleted the file or its credentials, and the source could not be applied to put them back: an ECS agent started now would have none, and without
 * its other lines would end for good with status 5 (another cluster than its saved state).
 */
async function wouldLoseAll({ settings, state, options }: Pass, seen: Observation): Promise<boolean> {
  if (options.force || state.pending !== undefined || state.restartBegun !== undefined || state.rendered === undefined) return false
  return seen.facts.holdsFile === false && authOnDisk((await readFileIfAny(settings.ecsConfigPath))?.bytes).data === undefined
}

function withoutService({ settings, options, state }: Pass, seen: Observation): Outcome {
  const nothing = { action: 'none', verified: false } as const
  // A container started by hand need not show its introspection to the host.
  if (options.dryRun || (!seen.healthy && seen.ecsAgent.container.state !== 'running')) return nothing
  if (seen.facts.holdsFile === true) {
    if (seen.healthy) delete state.pending
    return { ...nothing, verified: seen.healthy, containerInstanceArn: seen.ecsAgent.introspection.containerInstanceArn }
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
