import { ServiceError } from '../errors.js'

/** What the init system says of the ECS agent's unit or job. */
export type JobStatus = {
  /**
   * - `absent`: there is no such unit or job
   * - `not-started`: not started since boot: its first start will read whatever stands in ecs.config by then
   * - `starting`: a start is queued or under way, systemd's wait before an automatic restart included
   * - `running`
   * - `stopped`: stopped on purpose, or ended with status 0
   * - `failed`: ended badly, and the init system does not start it again by itself
   * - `unknown`: the init system's answer says none of these
   */
  readonly state: 'absent' | 'not-started' | 'starting' | 'running' | 'stopped' | 'failed' | 'unknown'
  /** With `stopped`: the stop is still under way. */
  readonly stopping?: boolean
  /** The init system's own words, for messages: `ActiveState=failed, Result=exit-code, ExecMainStatus=5`. */
  readonly detail: string
  /** Exit status of its last main process, where that ended and the init system tells. 5 is the ECS agent's terminal failure. */
  readonly exitStatus?: number
  readonly pid?: number
  /** When its main process started: microseconds on CLOCK_MONOTONIC, comparable with `process.hrtime.bigint() / 1000n` of the same boot. */
  readonly startedAtUs?: number
}

/** An order that got no answer in time, or only a part of one: it may have been taken all the same. */
export class UnansweredOrder extends ServiceError {}

/** Runs the ECS agent's job. Every call is bounded in time by the implementation as well as by `signal`. */
export interface InitSystem {
  readonly name: 'systemd' | 'upstart'
  readJob(job: string, signal: AbortSignal): Promise<JobStatus>
  /**
   * Asks for one restart. Resolves when the init system has taken the order, which proves nothing about the ECS agent.
   * @throws {ServiceError} E_RESTART_FAILED with the command, its exit status and what it said (an UnansweredOrder where it may have been taken);
   * E_NO_ECS_SERVICE
   */
  restart(job: string, signal: AbortSignal): Promise<void>
}
