/** A restart that changes nothing is not given again, or an ECS agent that is not started with this file would be restarted at every poll. */
import { readFileIfAny } from '../host/atomic-file.js'
import { elapsedMs, fingerprint, now } from '../host/state.js'
import { authOnDisk } from './auth-on-disk.js'
import type { Observation } from './observe.js'
import type { Pass } from './pass.js'

/** It runs after our restart and holds something else than the file: a further restart would end the same way, at every poll. */
export async function noteFutile({ settings, state }: Pass, seen: Observation): Promise<void> {
  if (seen.facts.holdsFile !== false) return
  state.futileRestart = { fingerprint: await fingerprintOnDisk(settings.ecsConfigPath, state.fingerprintKey), at: now() }
}

export async function isFutile({ settings, state: { futileRestart, fingerprintKey } }: Pass): Promise<boolean> {
  if (futileRestart === undefined || elapsedMs(futileRestart.at, now()) === undefined) return false
  return futileRestart.fingerprint === await fingerprintOnDisk(settings.ecsConfigPath, fingerprintKey)
}

async function fingerprintOnDisk(path: string, key: string): Promise<string> {
  return fingerprint(key, authOnDisk((await readFileIfAny(path))?.bytes).data ?? '')
}
