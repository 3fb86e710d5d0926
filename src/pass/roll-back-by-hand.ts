import { renderEcsConfig } from '../core/ecs-config.js'
import { ServiceError } from '../errors.js'
import { withLock } from '../host/lock.js'
import { fingerprint, isRendered, readLastGood, readState, writeState } from '../host/state.js'
import { readFileIfAny } from '../host/atomic-file.js'
import type { Machine } from '../reconcile.js'
import { authOnDisk } from './auth-on-disk.js'
import { bringEcsAgent } from './bring-ecs-agent.js'
import type { Outcome, Pass } from './pass.js'
import { settleWrite } from './settle-write.js'

/**
 * The last good credentials back by a person's order, and one restart. The version that stood there is set aside, or the next pass would undo this.
 * Where they are back already, what is left of the way is gone: a restart that was refused the first time.
 * @throws {ServiceError} E_STATE where there is no last good copy, and what a restart throws
 */
export async function rollBackByHand(machine: Machine, signal: AbortSignal): Promise<{ outcome: Outcome; setAside: string | undefined; wasBack: boolean }> {
  const { settings, log } = machine
  return withLock(settings.stateDir, 2 * settings.verifyTimeoutMs + 30_000, async () => {
    const { state } = await readState(settings.stateDir)
    const file = (await readFileIfAny(settings.ecsConfigPath))?.bytes
    const { data } = authOnDisk(file)
    const lastGood = await readLastGood(settings.stateDir)
    if (lastGood === undefined) {
      throw new ServiceError('E_STATE', 'there is no last good copy: this service has not changed ecs.config yet', { fix: 'ecs-regcred status tells what stands where' })
    }
    const pass: Pass = { ...machine, options: { trigger: 'command', force: true }, warnings: [], state }
    settleWrite(state, file)
    const wasBack = data === authOnDisk(lastGood.bytes).data
    const { version, readAs, registries = [] } = state.rendered ?? {}
    if (!wasBack) {
      // What comes back is not what is to be kept away: the file of an earlier rollback was deleted, say.
      if (version !== undefined && version !== state.lastGoodRendered?.version) {
        state.setAside = { version, readAs, reason: 'rolled back by hand', at: new Date().toISOString() }
      }
      state.pending = {
        version: version ?? 'unknown',
        readAs,
        fingerprint: fingerprint(state.fingerprintKey, data ?? ''),
        registries,
        // What is not ours in it, or not ours at all, is put back line by line.
        fileFingerprint: isRendered(state, data) ? fingerprint(state.fingerprintKey, renderEcsConfig(lastGood.bytes, data)) : '',
        phase: 'rolling-back',
      }
      await writeState(settings.stateDir, state)
    }
    const outcome = await bringEcsAgent(pass, signal).finally(() => writeState(settings.stateDir, state))
    if (!wasBack) log.warn({ event: 'ecs-agent.rolled-back', version, registries }, 'rolled back by hand')
    return { outcome, setAside: state.setAside?.version, wasBack }
  }, signal)
}
