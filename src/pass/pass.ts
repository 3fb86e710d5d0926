import type { Logger } from 'pino'
import type { Warning } from '../core/credential.js'
import type { ServiceError } from '../errors.js'
import type { State } from '../host/state.js'
import type { Settings } from '../settings.js'
import type { CredentialSource } from '../sources/source.js'

/** What asked for a pass. `command` is a person's. */
export type Trigger = 'start' | 'file' | 'signal' | 'poll' | 'retry' | 'command'

export type PassOptions = {
  readonly trigger: Trigger
  /** The file is written and the ECS agent is left to its own start: boot and user data. */
  readonly boot?: boolean
  readonly noRestart?: boolean
  /** Says what a pass would do, and touches nothing. */
  readonly dryRun?: boolean
  /** Tries a version that was set aside, and does not wait for the gap between restarts. */
  readonly force?: boolean
  /** A source without registries is meant. */
  readonly allowEmpty?: boolean
  /** The restart waits for this host's place in the splay window. */
  readonly splay?: boolean
}

export type PassAction = 'none' | 'wrote' | 'restarted' | 'would-write' | 'would-restart' | 'deferred' | 'rolled-back'

export type PassResult = {
  readonly action: PassAction
  /** The source's version; undefined where it could not be read. */
  readonly version: string | undefined
  readonly registries: readonly string[]
  readonly warnings: readonly Warning[]
  /** What kept the pass from its end. The fields above still say what was done. */
  readonly error?: ServiceError
  /** Trying again soon may mend what kept it: true where any of its errors says so, the one above or another. */
  readonly retryable: boolean
  /** Something is waited for: the next pass belongs there, in milliseconds from now. */
  readonly lookAgainMs?: number
  /** The running ECS agent was seen healthy with the source's credentials in this pass. */
  readonly verified: boolean
  readonly containerInstanceArn?: string | undefined
  /** With `dryRun`: what would change in ecs.config, credentials redacted. */
  readonly diff?: string
}

/** A pass under way: what it was given, the state as it changes, and what it has to say. */
export type Pass = {
  readonly settings: Settings
  readonly source: CredentialSource
  readonly options: PassOptions
  readonly log: Logger
  readonly warnings: Warning[]
  state: State
}

/** What became of the ECS agent in a pass. */
export type Outcome = {
  readonly action: 'none' | 'restarted' | 'deferred' | 'rolled-back' | 'would-restart'
  readonly verified: boolean
  readonly lookAgainMs?: number
  readonly containerInstanceArn?: string | undefined
}

export function mayRestart({ options }: Pass): boolean {
  return options.dryRun !== true && options.noRestart !== true
}
