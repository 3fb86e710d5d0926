import { ServiceError } from '../errors.js'
import { type InitSystem, type JobStatus, UnansweredOrder } from './init-system.js'
import { runCommand } from './run-command.js'

const TIMEOUT_MS = 15_000

// All known to systemd 219 (Amazon Linux 2) as well.
const PROPERTIES = [
  'LoadState', 'ActiveState', 'SubState', 'Result', 'MainPID', 'ExecMainStatus', 'ExecMainCode', 'ExecMainStartTimestampMonotonic',
  'ActiveEnterTimestampMonotonic', 'Job',
]

export const systemd: InitSystem = {
  name: 'systemd',

  async readJob(job, signal) {
    const show = await runCommand('systemctl', ['show', job, '-p', PROPERTIES.join(',')], { timeoutMs: TIMEOUT_MS }, signal)
    if (show.notFound) return { state: 'absent', detail: 'systemctl is not on PATH' }
    // Words of systemctl itself, and of its stand-down in a chroot: there is no systemd here, now or later.
    if (/not been booted with systemd|Running in chroot/.test(show.stdout + show.stderr)) return { state: 'absent', detail: 'systemd does not run here' }
    const properties = parseShow(show.stdout)
    if (properties['ActiveState'] !== undefined) {
      // `Job` is set during a stop as well as during a restart, and tells only its number.
      return parseUnit(properties, properties['Job'] ? await readQueuedJob(job, signal) : undefined)
    }
    if (properties['LoadState'] === 'not-found') return { state: 'absent', detail: 'LoadState=not-found' }
    const isActive = await runCommand('systemctl', ['is-active', job], { timeoutMs: TIMEOUT_MS }, signal)
    const state = parseIsActive(isActive.stdout)
    return { state, detail: state === 'unknown' ? `systemctl show ${job}: ${show.outcome}` : `systemctl is-active: ${isActive.stdout.trim()}` }
  },

  async restart(job, signal) {
    // --no-block: ecs.service is ordered after cloud-final.service, so a restart asked for from user data would wait for the boot it is part of
    // (aws/amazon-ecs-agent#1707).
    const { command, exitCode, outcome, timedOut } = await runCommand('systemctl', ['--no-block', 'restart', job], { timeoutMs: TIMEOUT_MS }, signal)
    if (exitCode === 0) return
    const message = `could not restart ${job} (${command}): ${outcome}`
    if (/not found|not loaded|No such file or directory|could not be found/i.test(outcome)) {
      throw new ServiceError('E_NO_ECS_SERVICE', message, { fix: 'install the ECS agent (ecs-init), or name its unit with REGCRED_ECS_SERVICE' })
    }
    throw new (timedOut ? UnansweredOrder : ServiceError)('E_RESTART_FAILED', message, { fix: restartFix(job, outcome) })
  },
}

/** `systemctl show`: one `Name=value` a line. */
export function parseShow(text: string): Partial<Record<string, string>> {
  const properties: Partial<Record<string, string>> = {}
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=')
    if (equals > 0) properties[line.slice(0, equals)] = line.slice(equals + 1)
  }
  return properties
}

/** @param queued what the unit's job in the queue is for, where there is one */
export function parseUnit(properties: Partial<Record<string, string>>, queued: string | undefined): JobStatus {
  const shown = ['LoadState', 'ActiveState', 'SubState', 'Result', 'ExecMainStatus']
    .filter((name) => properties[name] !== undefined && !(name === 'LoadState' && properties[name] === 'loaded'))
    .map((name) => `${name}=${properties[name]}`)
  const detail = [...shown, ...(queued === undefined ? [] : [`Job=${queued}`])].join(', ')
  const state = parseState(properties, queued)
  const stopping = state === 'stopped' && properties['ActiveState'] === 'deactivating' ? { stopping: true } : {}
  const number = (name: string): number => Number(properties[name] ?? 0) || 0

  const pid = number('MainPID')
  if (pid > 0) {
    const startedAtUs = number('ExecMainStartTimestampMonotonic')
    return { state, ...stopping, detail, pid, ...(startedAtUs > 0 ? { startedAtUs } : {}) }
  }
  // ExecMainCode 1 is CLD_EXITED (waitid(2)); 2 and 3 are signals. An answer without it still tells the status of a unit that failed.
  const exited = properties['ExecMainCode'] === undefined ? properties['ActiveState'] === 'failed' && properties['ExecMainStatus'] !== undefined
    : number('ExecMainCode') === 1 && number('ExecMainStartTimestampMonotonic') > 0
  return { state, ...stopping, detail, ...(exited ? { exitStatus: number('ExecMainStatus') } : {}) }
}

function parseState(properties: Partial<Record<string, string>>, queued: string | undefined): JobStatus['state'] {
  switch (properties['ActiveState']) {
    case 'active':
    case 'reloading':
    case 'refreshing':
      // A restart that waits behind another job: what runs now is about to go.
      return queued === 'restart' ? 'starting' : 'running'
    case 'activating':
      return 'starting' // SubState auto-restart, the wait between two tries, included
    case 'deactivating':
      // Without a stop job it ended by itself, and what systemd makes of that (a new start, failed) shows in a moment.
      return queued === 'stop' ? 'stopped' : 'starting'
    case 'failed':
      return queued === 'start' || queued === 'restart' ? 'starting' : 'failed'
    case 'inactive':
      break
    default:
      return 'unknown'
  }
  if (properties['LoadState'] === 'not-found') return 'absent'
  if (properties['LoadState'] === 'error' || properties['LoadState'] === 'bad-setting') return 'failed'
  // A unit that systemd has unloaded since it ended looks like this too: either way it is not for us to start.
  const started = ['ExecMainStartTimestampMonotonic', 'ActiveEnterTimestampMonotonic']
  if (started.every((name) => properties[name] === '0')) return 'not-started'
  return queued === 'start' || queued === 'restart' ? 'starting' : 'stopped'
}

function parseIsActive(text: string): JobStatus['state'] {
  switch (text.trim()) {
    case 'active':
    case 'reloading':
      return 'running'
    case 'activating':
    case 'deactivating':
      return 'starting'
    case 'failed':
      return 'failed'
    case 'inactive':
      return 'stopped'
    default:
      return 'unknown'
  }
}

/** `start`, `stop`, `restart`…: `systemctl list-jobs` has lines of number, unit, type and state. */
async function readQueuedJob(job: string, signal: AbortSignal): Promise<string | undefined> {
  const { stdout } = await runCommand('systemctl', ['list-jobs', '--no-legend', '--no-pager'], { timeoutMs: TIMEOUT_MS }, signal)
  for (const line of stdout.split('\n')) {
    const [, unit, type] = line.trim().split(/\s+/)
    if (unit === job || unit === `${job}.service`) return type
  }
  return undefined
}

function restartFix(job: string, outcome: string): string {
  if (/masked/.test(outcome)) return `somebody forbade it to start; if that is over: systemctl unmask ${job}`
  if (/too quickly|start-limit/.test(outcome)) return `it was started too often in a short time; see why it ends (journalctl -u ${job}), then: systemctl reset-failed ${job}`
  if (/authentication|Access denied|permission/i.test(outcome)) return 'run as root'
  if (/connect to bus|no answer within/.test(outcome)) return 'systemd does not answer; look at: systemctl status; journalctl -b -p err'
  return `see what systemd says: systemctl status ${job}; journalctl -u ${job} -n 50`
}
