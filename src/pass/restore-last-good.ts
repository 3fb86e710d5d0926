import { replaceAuthLines } from '../core/ecs-config.js'
import { readFileIfAny, updateFile } from '../host/atomic-file.js'
import { fingerprint, readLastGood, now, writeState } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'
import type { Pass } from './pass.js'

/**
 * Puts the last good credentials back where the file still holds ours. What another program changed in other lines stays; credentials that somebody
 * else put there meanwhile stay as well, and false says so.
 */
export async function restoreLastGood(pass: Pass): Promise<boolean> {
  const { settings, state, log } = pass
  const { pending } = state
  const lastGood = await readLastGood(settings.stateDir)
  if (pending === undefined || lastGood === undefined) return false

  const file = await readFileIfAny(settings.ecsConfigPath)
  const { data } = authOnDisk(file?.bytes)
  const ours = data !== undefined && fingerprint(state.fingerprintKey, data) === pending.fingerprint
  // Already back: this was cut short after the rename.
  const isBack = data === authOnDisk(lastGood.bytes).data
  if (!ours && !isBack) {
    delete state.pending
    await writeState(settings.stateDir, state)
    return false
  }
  if (!isBack) {
    await updateFile(
      settings.ecsConfigPath,
      (current) => current !== undefined && fingerprint(state.fingerprintKey, current) === pending.fileFingerprint && lastGood.bytes !== undefined
        ? lastGood.bytes
        : replaceAuthLines(current, lastGood.bytes),
      { root: settings.root },
    )
    log.warn({ event: 'ecs-config.written', version: state.lastGoodRendered?.version }, 'ecs.config written: the last good credentials are back')
  }
  state.pending = { ...pending, phase: 'restored' }
  state.writtenAt = now()
  if (state.lastGoodRendered === undefined) delete state.rendered
  else state.rendered = state.lastGoodRendered
  await writeState(settings.stateDir, state)
  return true
}
