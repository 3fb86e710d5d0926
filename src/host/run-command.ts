import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Options } from 'execa'

export type CommandResult = {
  /** The command as an operator would type it. */
  readonly command: string
  /** Undefined where it did not exit by itself. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
  /** There is no such program on PATH. */
  readonly notFound: boolean
  /** How it ended, with what it said: `exit status 5: Failed to restart ecs.service: Unit ecs.service not found.` */
  readonly outcome: string
}

const MAX_OUTPUT_BYTES = 64 * 1024
const GRACE_MS = 1000

/**
 * Runs a program found on PATH, without a shell and without stdin, and tells how it ended: a failure is an answer here, not an error.
 * In a process group of its own, so that a Ctrl-C meant for us does not cut `stop ecs` … `start ecs` in two, and that a hung one is ended with
 * its children: SIGTERM at the time limit, SIGKILL a second later.
 * @throws the signal's reason
 */
export async function runCommand(
  file: string, args: readonly string[], { timeoutMs }: { readonly timeoutMs: number }, signal: AbortSignal,
): Promise<CommandResult> {
  signal.throwIfAborted()
  const child = await start(file, args)
  if (typeof child === 'string') {
    return { command: [file, ...args].join(' '), exitCode: undefined, stdout: '', stderr: '', timedOut: false, notFound: false, outcome: `could not be run (${child})` }
  }
  let timedOut = false
  let killTimer: NodeJS.Timeout | undefined
  const end = (): void => {
    killGroup(child.pid, 'SIGTERM')
    killTimer ??= setTimeout(() => {
      killGroup(child.pid, 'SIGKILL')
      // A descendant that left the group may hold the pipes open for ever.
      child.stdout.destroy()
      child.stderr.destroy()
    }, GRACE_MS)
  }
  const limit = setTimeout(() => {
    timedOut = true
    end()
  }, timeoutMs)
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end() // while it was being started
  const result = await child.ended
  clearTimeout(limit)
  clearTimeout(killTimer)
  signal.removeEventListener('abort', end)
  signal.throwIfAborted()

  // None where the kernel refused the process at once (ENOMEM).
  const { stdout = '', stderr = '' } = result
  const notFound = result.code === 'ENOENT'
  const said = (stderr || stdout).trim().replaceAll(/\s*\n\s*/g, ' / ')
  const how = timedOut ? `no answer within ${timeoutMs / 1000} s`
    : notFound ? 'no such program on PATH'
      : result.isMaxBuffer ? 'too much output'
        : result.exitCode !== undefined ? `exit status ${result.exitCode}`
          : result.signal ? `ended by ${result.signal}` : `could not be run (${result.code ?? 'unknown error'})`
  return {
    command: [file, ...args].join(' '), exitCode: timedOut ? undefined : result.exitCode, stdout, stderr, timedOut, notFound,
    outcome: said === '' ? how : `${how}: ${said.slice(0, 500)}`,
  }
}

/** @returns the errno where no file descriptor is left: Node then makes no pipes, execa (9.6) throws, and the child's `error` is heard by nobody */
async function start(file: string, args: readonly string[]) {
  const { execa } = await import('execa')
  let errno: string | undefined
  const listen = (message: unknown): void => void (message as { process: ChildProcess }).process.on('error', ({ code }: NodeJS.ErrnoException) => (errno = code))
  subscribe('child_process', listen)
  try {
    const ended = execa(file, args, {
      cwd: '/', env: childEnvironment(process.env), extendEnv: false, stdin: 'ignore', detached: true, reject: false, maxBuffer: MAX_OUTPUT_BYTES,
    } satisfies Options)
    // In an object: a promise returned would be waited for.
    return { ended, pid: ended.pid, stdout: ended.stdout, stderr: ended.stderr }
  } catch (error) {
    await nextTurn()
    if (errno === undefined) throw error
    return errno
  } finally {
    unsubscribe('child_process', listen)
  }
}

/**
 * Ours, less what is none of a child's business: credentials of any kind, proxies (their URLs may hold a password), and the settings of our own
 * runtime and C library (docs of the release: a host program started with them would crash or fill our caches).
 */
function childEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(([name]) =>
    !/^(AWS_|NODE_|MALLOC_|LD_|GLIBC_TUNABLES$)|SECRET|TOKEN|PASSW|CREDENTIAL|AUTH|_PROXY$/i.test(name))
  return { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...Object.fromEntries(kept), LC_ALL: 'C' }
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // Ended meanwhile.
  }
}
