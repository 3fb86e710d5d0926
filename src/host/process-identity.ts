/**
 * A name for a running process that is never used again: boot, pid and start time. A pid alone would be: after a reboot, or when the
 * kernel's counter has gone round, another program answers to it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

let own: string | undefined

/** `<boot id>.<pid>.<start time>` of this process. */
export async function processIdentity(): Promise<string> {
  own ??= `${readBootId()}.${process.pid}.${(await readProcessStat(process.pid))?.startTicks ?? 0}`
  return own
}

/** Whether the process that had this identity still runs. A zombie does not: nothing it held can come back. */
export async function isRunning(identity: string): Promise<boolean> {
  const [bootId, pidText, startTicks] = identity.split('.')
  const pid = Number(pidText)
  if (bootId !== readBootId() || !Number.isSafeInteger(pid) || pid <= 0) return false
  const stat = await readProcessStat(pid)
  if (stat) return stat.state !== 'Z' && stat.state !== 'X' && stat.startTicks === Number(startTicks)
  // No /proc (macOS), or one mounted with hidepid: the kernel still tells whether there is such a process.
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

let bootId: string | undefined

/** New at each boot, also of a machine restored from an image. */
export function readBootId(): string {
  if (bootId !== undefined) return bootId
  // macOS has no /proc: the demo and the tests run there, the service does not.
  const path = '/proc/sys/kernel/random/boot_id'
  bootId = existsSync('/proc/self') ? readFileSync(path, 'utf8').trim().replaceAll('-', '') : 'unknown'
  return bootId
}

/** One process's state letter and start, from /proc/PID/stat; undefined where there is none. */
export async function readProcessStat(pid: number): Promise<{ readonly state: string; readonly startTicks: number } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(absent)
  // Field 2, the program's name, may hold anything, `)` included: the rest starts after the last one. Start time is field 22 (proc(5)).
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ')
  return fields?.[0] === undefined ? undefined : { state: fields[0], startTicks: Number(fields[19]) }
}

/**
 * When a process started: microseconds on CLOCK_MONOTONIC, exact to about 20 ms; undefined where it has ended.
 *
 * The kernel counts a start in ticks of 10 ms (USER_HZ is 100 on every architecture we run on) on CLOCK_BOOTTIME, which goes on while a
 * machine is suspended; CLOCK_MONOTONIC does not. The difference as it is now is taken off, so after a suspend a process that started before it
 * seems to have started earlier than it did, never later: an old process is never taken for a new one.
 */
export async function readStartedAtUs(pid: number): Promise<number | undefined> {
  const stat = await readProcessStat(pid).catch(() => undefined)
  const uptime = await readFile('/proc/uptime', 'utf8').catch(() => undefined)
  if (!stat || uptime === undefined) return undefined
  const suspendedUs = Math.max(0, Number(uptime.split(' ')[0]) * 1e6 - monotonicUs())
  // Below the resolution of /proc/uptime the difference is rounding, not a suspend.
  return Math.round(stat.startTicks * 1e4 - (suspendedUs > 5e4 ? suspendedUs : 0))
}

/** Now, in microseconds on CLOCK_MONOTONIC: the clock that systemd's `…TimestampMonotonic` properties count on. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

/**
 * Only "there is no such process" is an answer. Any other error (no file descriptor to spare) must not pass for it: a living process would be taken for
 * a dead one, and its lock for free.
 */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ESRCH' && error.code !== 'ENOTDIR') throw error
}
