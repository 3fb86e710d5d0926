import t from 'tap'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from '../../src/host/run-command.js'
import { never } from '../fixtures/stand-ins.js'

const sh = (script: string, timeoutMs = 10_000, signal = never) => runCommand('sh', ['-c', script], { timeoutMs }, signal)

t.test('how a program ended is an answer', async (t) => {
  t.match(await sh('echo out; echo err >&2; exit 3'), { command: /^sh -c/, exitCode: 3, stdout: 'out', stderr: 'err', timedOut: false, notFound: false, outcome: 'exit status 3: err' })
  t.match(await sh('exit 0'), { exitCode: 0, outcome: 'exit status 0' })
  t.match(await sh('kill -KILL $$'), { exitCode: undefined, outcome: 'ended by SIGKILL' })
  t.match(await runCommand('there-is-no-such-program', [], { timeoutMs: 1000 }, never), { notFound: true, outcome: /no such program on PATH/ })
  t.match(await runCommand('/etc/passwd', [], { timeoutMs: 1000 }, never), { notFound: false, outcome: /could not be run \(EACCES\)/ })
})

t.test('one that hangs is ended at the limit, with its children, and however deaf it is', async (t) => {
  const pidFile = join(t.testdir(), 'pid')
  const started = performance.now()
  const result = await sh(`trap '' TERM; sh -c "trap '' TERM; echo \\$\\$ >${pidFile}; while :; do sleep 1; done" & wait; sleep 60`, 300)
  t.match(result, { timedOut: true, exitCode: undefined, outcome: 'no answer within 0.3 s' })
  t.ok(performance.now() - started < 5000)
  const child = readFileSync(pidFile, 'utf8').trim()
  const state = (): string | undefined => existsSync(`/proc/${child}`) ? readFileSync(`/proc/${child}/stat`, 'latin1').split(' ')[2] : undefined
  while (state() !== undefined && state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 10))
})

t.test('a descendant that left the group and keeps the pipe open does not hold us', async (t) => {
  const pidFile = join(t.testdir(), 'pid')
  const started = performance.now()
  await sh(`setsid sh -c 'echo $$ >${pidFile}; exec sleep 30' & sleep 30`, 300)
  t.ok(performance.now() - started < 5000)
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL')
})

t.test('a shutdown ends the wait with its own reason', async (t) => {
  const shutdown = new AbortController()
  const running = sh('sleep 60', 60_000, shutdown.signal)
  setTimeout(() => shutdown.abort(new Error('shutdown')), 50)
  await t.rejects(running, { message: 'shutdown' })
  await t.rejects(sh('exit 0', 1000, shutdown.signal), { message: 'shutdown' })
})

// Regression: the signal was listened to only once the program ran, so one that came while it was being started was not heard, and a hung program had all its time.
t.test('a shutdown at the instant of the start ends it as well', async (t) => {
  const shutdown = new AbortController()
  const running = sh('sleep 60', 60_000, shutdown.signal)
  shutdown.abort(new Error('shutdown'))
  await t.rejects(running, { message: 'shutdown' })
})

t.test('output without end is cut and the program ended', async (t) => {
  const { stdout, outcome } = await sh('while :; do echo 0123456789012345678901234567890123456789; done')
  t.ok(stdout.length <= 64 * 1024)
  t.match(outcome, /^too much output/)
})

t.test('a child sees no credential of ours, no proxy and nothing of our runtime, and speaks the C locale', async (t) => {
  const secret = 'canary-5ecret'
  const hidden = [
    'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_ACCESS_KEY_ID', 'AWS_CONTAINER_AUTHORIZATION_TOKEN', 'ECS_ENGINE_AUTH_DATA', 'DOCKER_AUTH_CONFIG',
    'https_proxy', 'HTTP_PROXY', 'NODE_COMPILE_CACHE', 'NODE_EXTRA_CA_CERTS', 'MALLOC_ARENA_MAX', 'LD_PRELOAD', 'LD_LIBRARY_PATH',
  ]
  t.intercept(process, 'env', { value: { ...process.env, ...Object.fromEntries(hidden.map((name) => [name, secret])), KEPT: 'yes', LC_ALL: 'de_DE.UTF-8' } })
  const { stdout } = await sh('env')
  t.strictSame(stdout.split('\n').filter((line) => line.includes(secret)), [])
  t.match(stdout, /^KEPT=yes$/m)
  t.match(stdout, /^LC_ALL=C$/m)
})

t.test('a child has no stdin and a process group of its own, so a Ctrl-C for us is none for it', async (t) => {
  const { stdout } = await sh('cat; cut -d" " -f5 /proc/self/stat; echo $$')
  const [group, pid] = stdout.split('\n')
  t.equal(group, pid)
})
