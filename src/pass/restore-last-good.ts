import { replaceAuthLines } from '../core/ecs-config.js'
import { readFileIfAny, updateFile } from '../host/atomic-file.js'
import { fingerprint, readLastGood, now, writeState } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'
import type { Pass } from './pass.js'

/**
 * Puts the last good credentials back where the file still holds ours. What another program changed in other lines stays; credentials that somebody
 * else put there meanwhile stay as well.
 * @returns why nothing was put back, where it was not: the change is not pending any more
 */
export async function restoreLastGood(pass: Pass): Promise<string | undefined> {
  const { settings, state, log } = pass
  const { pending } = state
  if (pending === undefined) return 'there is no change to take back'
  const lastGood = await readLastGood(settings.stateDir)
  const goodData = authOnDisk(lastGood?.bytes).data
  // A change of ours is never without credentials; a file that somebody else has emptied is gone back from by hand alone.
  const isOurs = (data = ''): boolean => fingerprint(state.fingerprintKey, data) === pending.fingerprint
  const { data } = authOnDisk((await readFileIfAny(settings.ecsConfigPath))?.bytes)
  // Already back: this was cut short after the rename.
  let isBack = lastGood !== undefined && data === goodData
  if (lastGood !== undefined && !isBack && isOurs(data)) {
    const { bytes } = await updateFile(settings.ecsConfigPath, (current) => {
      if (!isOurs(authOnDisk(current).data)) return current ?? Buffer.alloc(0)
      const isUntouched = current === undefined || fingerprint(state.fingerprintKey, current) === pending.fileFingerprint
      return isUntouched && lastGood.bytes !== undefined ? lastGood.bytes : replaceAuthLines(current, lastGood.bytes)
    }, { root: settings.root })
    isBack = authOnDisk(bytes).data === goodData
    if (isBack) log.warn({ event: 'ecs-config.written', version: state.lastGoodRendered?.version, registries: state.lastGoodRendered?.registries }, 'ecs.config written: the last good credentials are back')
  }
  if (!isBack) {
    delete state.pending
    await writeState(settings.stateDir, state)
    return lastGood === undefined ? 'there is no last good copy' : 'the credentials in ecs.config were changed by somebody else meanwhile, and were left as they are'
  }
  const { restartedAt: _, ...change } = pending
  state.pending = { ...change, phase: 'restored' }
  state.writtenAt = now()
  if (state.lastGoodRendered === undefined) delete state.rendered
  else state.rendered = state.lastGoodRendered
  await writeState(settings.stateDir, state)
  return undefined
}
