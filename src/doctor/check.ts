import { ServiceError, type ErrorCode } from '../errors.js'
import type { Facts } from './facts.js'

/**
 * - `warning`: works, and something is worth mending
 * - `broken`: credentials do not get to where they belong, or leak
 * - `skipped`: does not apply, or could not be looked at
 */
export type Verdict = 'ok' | 'warning' | 'broken' | 'skipped'

export type CheckResult = {
  /** Stable, for `--json`; one check may come to several results of one id (a lint on two lines). */
  readonly id: string
  readonly verdict: Verdict
  /** What was found and why it matters. No piece of a credential. */
  readonly message: string
  /** The exact command, line or IAM statement. */
  readonly fix?: string | undefined
  /** Where the fault is one of the error table: it decides the exit status. */
  readonly code?: ErrorCode | undefined
}

/** One family of checks. What it throws becomes a result of its id, and stops no other. */
export type Check = {
  readonly id: string
  readonly run: (facts: Facts, signal: AbortSignal) => Promise<readonly CheckResult[]>
}

export const ok = (id: string, message: string): CheckResult => ({ id, verdict: 'ok', message })
export const skipped = (id: string, message: string): CheckResult => ({ id, verdict: 'skipped', message })
export const warning = (id: string, message: string, fix: string): CheckResult => ({ id, verdict: 'warning', message, fix })
export const broken = (id: string, message: string, fix: string): CheckResult => ({ id, verdict: 'broken', message, fix })

/** An error that is expected to happen, as a result. @throws whatever is none */
export function brokenBy(id: string, error: unknown): CheckResult {
  if (!(error instanceof ServiceError)) throw error
  return { id, verdict: 'broken', message: error.message, fix: error.details.fix, code: error.code }
}
