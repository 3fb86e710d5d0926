/**
 * One pass at a time on a machine. Node has no flock(2), and a plain lock file outlives a killed holder; so the lock is a directory of claims, each
 * an empty file named after the process that made it (process-identity.ts).
 *
 * Make your own claim, then look: you hold the lock if no other living process's claim stands. Of two that claim at once, the later
 * to look sees the other's claim, so never do both hold. A dead process's claim is removed by whoever meets it, which is safe because
 * a name is never used again. Where two meet, the lower name stays and the higher withdraws for a moment, so one of them gets on.
 */
import { mkdirSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ServiceError } from '../errors.js'
import { unlinkIfAny } from './atomic-file.js'
import { fileError } from './file-error.js'
import { isRunning, processIdentity } from './process-identity.js'

const LONGEST_LOOK_MS = 200

/** Claims that this process stands by: another of its own is the leftover of a release that failed. */
const ownClaims = new Set<string>()
let claimCount = 0

/**
 * Runs `work` with the lock held, and gives it back whatever happens.
 * @param waitMs how long to wait for another holder; 0 to look once
 * @throws {ServiceError} E_LOCKED with the holder's pid; E_STATE; the signal's reason while waiting
 */
export async function withLock<T>(stateDir: string, waitMs: number, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const release = await acquireLock(stateDir, waitMs, signal)
  try {
    return await work()
  } finally {
    release()
  }
}

/** As withLock, for a holder that is not one function. @returns gives the lock back; safe to call twice */
export async function acquireLock(stateDir: string, waitMs: number, signal: AbortSignal): Promise<() => void> {
  const directory = join(stateDir, 'lock')
  const identity = await processIdentity().catch((error: unknown) => {
    throw fileError('E_STATE', 'read', '/proc/self/stat', error)
  })
  const claim = `${identity}.${claimCount++}`
  const path = join(directory, claim)
  const withdraw = (): void => {
    ownClaims.delete(claim)
    try {
      unlinkSync(path)
    } catch { /* a file system turned read-only: others wait for this process to end, and its own next claim removes it */ }
  }
  const deadline = performance.now() + waitMs
  let lookMs = 10
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    for (;;) {
      signal.throwIfAborted()
      ownClaims.add(claim)
      writeFileSync(path, '', { flag: 'a', mode: 0o600 })
      const others = await readOtherClaims(directory, claim)
      if (others.length === 0) return withdraw
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw lockedError(directory, others, waitMs)
      if (others.some((other) => other < claim)) withdraw()
      // Jitter: two that wait for the same holder should not meet again at every look.
      await sleep(Math.min(leftMs, lookMs * (0.5 + Math.random())), undefined, { signal })
      lookMs = Math.min(LONGEST_LOOK_MS, lookMs * 1.5)
    }
  } catch (error) {
    withdraw()
    if (signal.aborted) throw signal.reason
    throw fileError('E_STATE', 'take the lock', directory, error)
  }
}

/** The claims of other living processes (or of this one's other holders). Those of dead ones are removed on the way. */
async function readOtherClaims(directory: string, own: string): Promise<readonly string[]> {
  const self = own.slice(0, own.lastIndexOf('.'))
  const others: string[] = []
  for (const name of readdirSync(directory)) {
    if (name === own) continue
    const alive = name.startsWith(`${self}.`) ? ownClaims.has(name) : await isRunning(name)
    if (alive) others.push(name)
    else unlinkIfAny(join(directory, name))
  }
  return others
}

function lockedError(directory: string, others: readonly string[], waitMs: number): ServiceError {
  // Of the claims that stand, the holder's is the oldest: while any stands, no later one can become the holder's.
  const claims = others.map((name) => ({
    pid: Number(name.split('.')[1]),
    since: statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? Date.now(),
  }))
  const holder = claims.reduce((oldest, claim) => (claim.since < oldest.since ? claim : oldest))
  const heldSeconds = Math.max(0, Math.round((Date.now() - holder.since) / 1000))
  const waited = waitMs > 0 ? ` after waiting ${Math.round(waitMs / 100) / 10} s for it` : ''
  return new ServiceError('E_LOCKED', `another pass is under way${waited}: process ${holder.pid} has held ${directory} for ${heldSeconds} s`, {
    fix: `try again when it is done; see what it is: ps -o pid,etime,args -p ${holder.pid}`,
  })
}
