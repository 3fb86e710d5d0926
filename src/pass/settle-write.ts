import { fingerprint, now, type State } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'

/**
 * Compares the change that the state tells of with the file: right after the write, and at the start of each pass, for a kill may have come between the
 * two, or somebody else's hand.
 */
export function settleWrite(state: State, file: Uint8Array | undefined): void {
  const { pending } = state
  if (pending === undefined || (pending.phase !== 'writing' && pending.phase !== 'written')) return
  const { data } = authOnDisk(file)
  if (data === undefined || fingerprint(state.fingerprintKey, data) !== pending.fingerprint) {
    // Whatever becomes of the ECS agent now is not this version's doing.
    if (pending.before === undefined) delete state.pending
    else state.pending = pending.before
    settleWrite(state, file)
    return
  }
  if (pending.phase === 'written') return
  const { before: _, ...change } = pending
  state.pending = { ...change, phase: 'written' }
  // Later than it was where a kill came between: that can cost a restart, an earlier moment could lose one.
  state.writtenAt = now()
  state.rendered = { version: pending.version, readAs: pending.readAs, fingerprint: pending.fingerprint, registries: pending.registries }
  // The version that stands there now was tried after all, if it was held back before.
  delete state.setAside
  delete state.refused
}
