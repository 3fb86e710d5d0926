import t from 'tap'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acquireLock, withLock } from '../../src/host/lock.js'
import { processIdentity } from '../../src/host/process-identity.js'
import { nodeCommand } from '../fixtures/node-command.js'

const never = new AbortController().signal
const worker = nodeCommand(t, 'lock-worker.ts')

function startWorker(directory: string, rounds: number): ChildProcess {
  return spawn(...worker(directory, String(rounds)), { stdio: ['ignore', 'ignore', 'inherit'] })
}

t.test('many processes add to one counter, some are killed in the middle, and no two are ever inside at once', { timeout: 120_000 }, async (t) => {
  const directory = t.testdir({ counter: '0', done: '' })
  const done = (): number => readFileSync(join(directory, 'done'), 'utf8').split('\n').length - 1
  const steady = [startWorker(directory, 60), startWorker(directory, 60), startWorker(directory, 60)]
  const ended = Promise.all(steady.map((child) => once(child, 'exit')))
  let finished = false
  void ended.then(() => { finished = true })

  // The killed die at random places of the protocol: at a claim, inside, at the release.
  let kills = 0
  while (!finished) {
    const victim = startWorker(directory, 1_000_000)
    const before = done()
    // Alive and taking part: some work was done since it started, by it or by the others.
    while (!finished && done() < before + 8) await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 8))
    victim.kill('SIGKILL')
    await once(victim, 'exit')
    kills++
  }
  for (const [code] of await ended) t.equal(code, 0)
  t.ok(kills > 3, `${kills} were killed`)
  t.notOk(existsSync(join(directory, 'broken')), 'nobody met another inside')
  // A victim killed between its two writes has counted and not said so.
  const counted = Number(readFileSync(join(directory, 'counter'), 'utf8'))
  t.ok(counted >= done() && counted - done() <= kills, `${counted} counted, ${done()} done, ${kills} killed`)
  await withLock(directory, 1000, async () => {}, never)
  t.strictSame(readdirSync(join(directory, 'lock')), [], 'no claim is left, those of the killed included')
})

t.test('a second holder is told who holds it and for how long', async (t) => {
  const directory = t.testdir()
  const release = await acquireLock(directory, 0, never)
  await t.rejects(acquireLock(directory, 0, never), {
    code: 'E_LOCKED', message: `another pass is under way: process ${process.pid} has held ${directory}/lock for 0 s`, details: { fix: /ps -o/ },
  })
  await t.rejects(acquireLock(directory, 100, never), { code: 'E_LOCKED', exitCode: 75, message: /after waiting 0.1 s for it/ })
  await release()
  await (await acquireLock(directory, 0, never))()
})

t.test('it waits its turn', async (t) => {
  const directory = t.testdir()
  const order: string[] = []
  const release = await acquireLock(directory, 0, never)
  const second = withLock(directory, 5000, async () => { order.push('second') }, never)
  order.push('first')
  await release()
  await second
  t.strictSame(order, ['first', 'second'])
})

t.test('claims of the dead, of another boot and of a pid used again do not count', async (t) => {
  const [boot, pid, start] = (await processIdentity()).split('.')
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' })
  await once(child, 'exit')
  const directory = t.testdir({
    lock: {
      [`${boot}.${child.pid}.1.0`]: '',
      [`0123456789abcdef0123456789abcdef.${pid}.${start}.0`]: '',
      [`${boot}.${pid}.${Number(start) - 1}.0`]: '',
      'not-a-claim': '',
    },
  })
  await withLock(directory, 0, async () => t.equal(readdirSync(join(directory, 'lock')).length, 1), never)
})

t.test('a zombie holds nothing', async (t) => {
  // The parent never asks for its child's end, so the child stays a zombie while the parent lives.
  const parent = spawn('sh', ['-c', 'sh -c "echo \\$\\$" & exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => parent.kill('SIGKILL'))
  const [line] = await once(parent.stdout!, 'data')
  const pid = Number(String(line))
  const stat = (): string[] => readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ')
  while (stat()[0] !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5))
  const [boot] = (await processIdentity()).split('.')
  const directory = t.testdir({ lock: { [`${boot}.${pid}.${stat()[19]}.0`]: '' } })
  await withLock(directory, 0, async () => {}, never)
  t.pass('the lock was given')
})

t.test('work that throws gives the lock back', async (t) => {
  const directory = t.testdir()
  await t.rejects(withLock(directory, 0, async () => { throw new Error('in the work') }, never), { message: 'in the work' })
  await withLock(directory, 0, async () => {}, never)
})

t.test('a shutdown ends the wait and leaves no claim', async (t) => {
  const directory = t.testdir()
  const release = await acquireLock(directory, 0, never)
  const shutdown = new AbortController()
  const waiting = acquireLock(directory, 60_000, shutdown.signal)
  shutdown.abort(new Error('shutdown'))
  await t.rejects(waiting, { message: 'shutdown' })
  t.equal(readdirSync(join(directory, 'lock')).length, 1)
  await release()
})

t.test('the directory is its own and private', async (t) => {
  const directory = join(t.testdir(), 'state')
  await withLock(directory, 0, async () => {}, never)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  t.equal(statSync(join(directory, 'lock')).mode & 0o777, 0o700)
})

t.test('a state directory that cannot be made is told with its path', async (t) => {
  const directory = t.testdir({ file: '' })
  writeFileSync(join(directory, 'file'), '')
  await t.rejects(withLock(join(directory, 'file', 'state'), 0, async () => {}, never), { code: 'E_STATE', message: /file\/state\/lock.*ENOTDIR/ })
})
