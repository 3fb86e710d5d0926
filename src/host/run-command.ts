import type { ChildProcess } from 'node:child_process'

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
  const { spawn } = process.getBuiltinModule('node:child_process')
  let timedOut = false
  let tooMuch = false
  let killTimer: NodeJS.Timeout | undefined
  const child = spawn(file, args, { cwd: '/', env: childEnvironment(process.env), stdio: ['ignore', 'pipe', 'pipe'], detached: true })
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
  const overflow = (): void => {
    tooMuch = true
    end()
  }
  const stdout = gather(child.stdout, overflow)
  const stderr = gather(child.stderr, overflow)
  const { exitCode, killedBy, errorCode } = await ended(child)
  clearTimeout(limit)
  clearTimeout(killTimer)
  signal.removeEventListener('abort', end)
  signal.throwIfAborted()

  const notFound = errorCode === 'ENOENT'
  const said = (stderr() || stdout()).trim().replaceAll(/\s*\n\s*/g, ' / ')
  const how = timedOut ? `no answer within ${timeoutMs / 1000} s`
    : notFound ? 'no such program on PATH'
      : tooMuch ? 'too much output'
        : exitCode !== undefined ? `exit status ${exitCode}`
          : killedBy !== undefined ? `ended by ${killedBy}` : `could not be run (${errorCode ?? 'unknown error'})`
  return {
    command: [file, ...args].join(' '), exitCode: timedOut ? undefined : exitCode, stdout: stdout(), stderr: stderr(), timedOut, notFound,
    outcome: said === '' ? how : `${how}: ${said.slice(0, 500)}`,
  }
}

type Ended = { readonly exitCode?: number | undefined; readonly killedBy?: NodeJS.Signals | undefined; readonly errorCode?: string | undefined }

/** Once the program is gone and its pipes are closed, or could not be started. */
function ended(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    child.once('error', ({ code }: NodeJS.ErrnoException) => resolve({ errorCode: code }))
    child.once('close', (code, killedBy) => resolve({ exitCode: code ?? undefined, killedBy: killedBy ?? undefined }))
  })
}

/** @returns what has come so far, without the newline at its end */
function gather(stream: NodeJS.ReadableStream, overflow: () => void): () => string {
  const chunks: Buffer[] = []
  let length = 0
  stream.on('data', (chunk: Buffer) => {
    if (length < MAX_OUTPUT_BYTES) chunks.push(chunk.subarray(0, MAX_OUTPUT_BYTES - length))
    length += chunk.length
    if (length > MAX_OUTPUT_BYTES) overflow()
  })
  return () => Buffer.concat(chunks).toString().replace(/\r?\n$/, '')
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
