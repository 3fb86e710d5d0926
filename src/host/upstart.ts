/** Upstart 0.6.5, of Amazon Linux 1. It keeps no exit status: a job that failed is `stop/waiting`, as one that was stopped. */
import { ServiceError } from '../errors.js'
import { type InitSystem, type JobStatus, UnansweredOrder } from './init-system.js'
import { readStartedAtUs } from './process-identity.js'
import { runCommand, type CommandResult } from './run-command.js'

// `stop` and `start` answer when the job has got there; stopping the ECS agent's container takes some 10 s, and its job may give it more.
const TIMEOUT_MS = { status: 15_000, stop: 60_000, start: 60_000 } as const

export const upstart: InitSystem = {
  name: 'upstart',

  async readJob(job, signal) {
    const status = await runInitctl('status', job, signal)
    if (status.notFound) return { state: 'absent', detail: 'status and initctl are not on PATH' }
    const parsed = parseStatus(status.stdout, status.stderr)
    if (parsed.state === 'unknown') return { ...parsed, detail: `${status.command}: ${status.outcome}` }
    const startedAtUs = parsed.pid === undefined ? undefined : await readStartedAtUs(parsed.pid)
    return startedAtUs === undefined ? parsed : { ...parsed, startedAtUs }
  },

  async restart(job, signal) {
    // Never `restart`: a job with a pre-stop comes out of it stopped, with exit status 0 (seen with a real Upstart as PID 1), and 0.6.5 keeps
    // the job file of before.
    signal.throwIfAborted()
    // From here on the job may be down because of us, so a shutdown does not cut in, and it is started whatever `stop` says: one that gave no answer
    // in time may still get there, and `start` then turns it round.
    const uncut = new AbortController().signal
    const stop = await runInitctl('stop', job, uncut)
    if (stop.notFound) throw noJob(job, 'stop and initctl are not on PATH')
    if (isUnknownJob(stop)) throw noJob(job, stop.outcome)
    const wasStopped = /Unknown instance/.test(stop.stderr)
    const start = await runInitctl('start', job, uncut)
    if (start.exitCode !== 0) throw failed(job, start, start.timedOut)
    if (stop.exitCode !== 0 && !wasStopped) throw failed(job, stop, true)
  },
}

/** `ecs start/running, process 4242` or `ecs stop/waiting`, and what `status` says on stderr of a job that it does not know. */
export function parseStatus(stdout: string, stderr = ''): JobStatus {
  if (/Unknown job/.test(stderr)) return { state: 'absent', detail: stderr.trim() }
  // The name may have an instance behind it: `ecs (blue) start/running`. More lines tell of pre-start and the like.
  const match = /^\S+(?: \(.*\))? ((start|stop)\/([a-z-]+))(?:, process (\d+))?/m.exec(stdout)
  if (!match) return { state: 'unknown', detail: stdout.trim() }
  const [detail, , goal, state, pid] = match
  if (goal === 'stop') return { state: 'stopped', ...(state === 'waiting' ? {} : { stopping: true }), detail }
  if (state !== 'running') return { state: 'starting', detail }
  return { state: 'running', detail, ...(pid === undefined ? {} : { pid: Number(pid) }) }
}

/** `status ecs`; `initctl status ecs` where the short names are not installed. */
async function runInitctl(verb: keyof typeof TIMEOUT_MS, job: string, signal: AbortSignal): Promise<CommandResult> {
  const result = await runCommand(verb, [job], { timeoutMs: TIMEOUT_MS[verb] }, signal)
  return result.notFound ? runCommand('initctl', [verb, job], { timeoutMs: TIMEOUT_MS[verb] }, signal) : result
}

function isUnknownJob({ exitCode, stderr }: CommandResult): boolean {
  return exitCode !== 0 && /Unknown job/.test(stderr)
}

function noJob(job: string, words: string): ServiceError {
  return new ServiceError('E_NO_ECS_SERVICE', `could not restart ${job}: ${words}`, {
    fix: 'install the ECS agent (ecs-init), or name its job with REGCRED_ECS_SERVICE',
  })
}

/** @param isUnanswered the start may have been taken */
function failed(job: string, { command, outcome }: CommandResult, isUnanswered: boolean): ServiceError {
  return new (isUnanswered ? UnansweredOrder : ServiceError)('E_RESTART_FAILED', `could not restart ${job} (${command}): ${outcome}`, {
    fix: /already running/.test(outcome)
      ? `something else starts ${job} too; find it, then: stop ${job}; start ${job}`
      : `see what it says: status ${job}; tail /var/log/ecs/ecs-init.log*`,
  })
}
