/**
 * What a pass must do, from facts read off the machine. Two questions, asked apart: the file against the source, and the running ECS agent against
 * the file. The file alone cannot tell: a pass that wrote it and then failed to restart leaves the right file and the wrong ECS agent.
 */
import { createHash } from 'node:crypto'
import { backoffMs } from './backoff.js'

/** The ECS agent as it was found. */
export type EcsAgentFacts = {
  readonly job: 'absent' | 'not-started' | 'starting' | 'running' | 'stopped' | 'failed' | 'unknown'
  /** Of its last main process, where that ended; 5 is the ECS agent's terminal failure. */
  readonly exitStatus?: number | undefined
  /** Does the running ECS agent hold the credentials of the file? null where none runs or nothing tells. */
  readonly holdsFile: boolean | null
  /** A change of ours stands in the file and no ECS agent has been seen healthy with it yet. */
  readonly changePending: boolean
  /** It may be down because of us: a restart of ours was cut short (Upstart's two commands, the way back from a bad change). */
  readonly restartBegun: boolean
  /** Its job is stopped, and yet its container runs and answers: `docker restart ecs-agent` does that. It keeps the environment that it was created with. */
  readonly outlivesJob?: boolean
}

export type EcsAgentAction =
  /** It holds what the file holds, or its next start will. */
  | 'nothing'
  /** It runs without what the file holds. */
  | 'restart'
  /** It is between two starts: what it will hold is not known yet. */
  | 'look-again'
  /** It is down, and not by our change: for a person to mend. */
  | 'leave-down'

export function decideEcsAgent(facts: EcsAgentFacts): EcsAgentAction {
  switch (facts.job) {
    // Whatever starts it reads the file as it stands then; starting it is the administrator's or the boot's business.
    case 'absent':
    case 'not-started':
      return 'nothing'
    case 'stopped':
      return facts.restartBegun || (facts.outlivesJob === true && facts.holdsFile === false) ? 'restart' : 'nothing'
    case 'failed':
      // Exit 5 says "do not start me again" (ecs-agent.md 3.3). Any other failure after a change of ours may be of our making: try it again.
      return facts.restartBegun || (facts.changePending && facts.exitStatus !== 5) ? 'restart' : 'leave-down'
    case 'starting':
    case 'running':
    case 'unknown':
      if (facts.holdsFile !== null) return facts.holdsFile ? 'nothing' : 'restart'
      return facts.job === 'unknown' ? 'nothing' : 'look-again'
  }
}

/** What tells whether the running ECS agent holds the file's credentials. Times are microseconds on CLOCK_MONOTONIC of this boot. */
export type HoldsEvidence = {
  /**
   * Its container's own environment against the file; `none` where Docker answers that there is no such container running. Undefined where Docker
   * does not answer, or where introspection answers although Docker knows no such container.
   */
  readonly container: 'same' | 'different' | 'none' | undefined
  /** When the unit's or job's main process started. */
  readonly jobStartedAtUs?: number | undefined
  /** When the process that answers introspection started. */
  readonly listenerStartedAtUs?: number | undefined
  /** When the init system took our last order of a restart; only where nothing better can be had on this machine. */
  readonly restartTakenAtUs?: number | undefined
  /** When the credentials in the file were last changed; undefined where that was before this boot. */
  readonly writtenAtUs?: number | undefined
  /** A change of ours stands in the file and nobody has been seen to hold it. */
  readonly changePending: boolean
}

/** /proc tells a start in ticks of 10 ms, rounded down: one right after the write may seem to lie before it. */
const TICK_US = 10_000

/** The container's environment is proof. Without Docker it is the start after the write: ecs-init reads the file at each start. */
export function holdsFile(evidence: HoldsEvidence): boolean | null {
  if (evidence.container === 'same') return true
  if (evidence.container === 'different') return false
  if (evidence.container === 'none') return null
  const startedAtUs = Math.max(evidence.jobStartedAtUs ?? -1, evidence.listenerStartedAtUs ?? -1, evidence.restartTakenAtUs ?? -1)
  // Nothing tells. After a change of ours the safe answer is no: it costs one restart, the other answer costs the next scale-out.
  if (startedAtUs < 0) return evidence.changePending ? false : null
  return evidence.writtenAtUs === undefined || startedAtUs + TICK_US > evidence.writtenAtUs
}

/**
 * Milliseconds to wait before a restart that is owed: until this host's place in the splay window has come and the last restart is far enough back.
 * Elapsed times are undefined where there was none on this boot.
 */
export function restartWaitMs(facts: {
  readonly owedForMs: number
  readonly splayOffsetMs: number
  readonly sinceLastRestartMs: number | undefined
  readonly minRestartGapMs: number
}): number {
  const untilPlace = facts.splayOffsetMs - facts.owedForMs
  const untilGap = facts.sinceLastRestartMs === undefined ? 0 : facts.minRestartGapMs - facts.sinceLastRestartMs
  return Math.max(0, Math.ceil(untilPlace), Math.ceil(untilGap))
}

/** A host's own fixed place in `[0, windowMs)`: even over a fleet, and the same at every rotation, so one host's is predictable. */
export function splayOffsetMs(instanceId: string, windowMs: number): number {
  const hash = createHash('sha256').update(`ecs-regcred splay ${instanceId}`).digest()
  return Math.floor((hash.readUInt32BE(0) / 2 ** 32) * windowMs)
}

/** The poll's next time: the interval less up to a fifth of it, so that hosts booted together drift apart. `random` is in `[0, 1)`. */
export function pollDelayMs(intervalMs: number, random: number): number {
  return Math.round(intervalMs * (0.8 + 0.2 * random))
}

/**
 * When the service looks next: at the poll, or sooner where the last pass failed or something is waited for.
 * @param failures passes in a row that may be mended by trying again
 * @param random in [0, 1), asked for anew at each call
 */
export function nextLook(facts: {
  readonly intervalMs: number
  readonly failures: number
  readonly lookAgainMs: number | undefined
}, random: () => number): { readonly waitMs: number; readonly trigger: 'poll' | 'retry' } {
  const pollMs = pollDelayMs(facts.intervalMs, random())
  const soonerMs = Math.min(facts.failures > 0 ? backoffMs(facts.failures, random()) : Infinity, facts.lookAgainMs ?? Infinity)
  return soonerMs < pollMs ? { waitMs: soonerMs, trigger: 'retry' } : { waitMs: pollMs, trigger: 'poll' }
}
