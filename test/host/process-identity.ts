import t from 'tap'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { isRunning, monotonicUs, processIdentity, readProcessStat, readStartedAtUs } from '../../src/host/process-identity.js'

t.test('this process is told from one of another boot, of another start, and from one that ended', async (t) => {
  const [boot, pid, start] = (await processIdentity()).split('.')
  t.equal(await isRunning(`${boot}.${pid}.${start}`), true)
  t.equal(await isRunning(`${boot}.${pid}.${start}.7`), true, 'with something behind it')
  t.equal(await isRunning(`${boot}.${pid}.${Number(start) + 1}`), false)
  t.equal(await isRunning(`0.${pid}.${start}`), false)
  for (const nonsense of ['', boot ?? '', `${boot}.-1.1`, `${boot}.x.1`]) t.equal(await isRunning(nonsense), false, nonsense)

  const child = spawn('sleep', ['60'])
  const stat = await readProcessStat(child.pid ?? 0)
  const identity = `${boot}.${child.pid}.${stat?.startTicks}`
  t.equal(await isRunning(identity), true)
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.equal(await isRunning(identity), false)
})

t.test('a name with brackets and blanks does not confuse the reading of a process', async (t) => {
  const child = spawn(process.execPath, ['-e', 'process.title = ") Z 1 (x) "; console.log(); setInterval(() => {}, 1000)'])
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  t.match(await readProcessStat(child.pid ?? 0), { state: /^[RS]$/, startTicks: Number })
})

t.test('a start lies between what was before and after it on the monotonic clock, to the kernel’s 10 ms', async (t) => {
  const before = monotonicUs()
  const child = spawn('sleep', ['60'])
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const after = monotonicUs()
  const started = await readStartedAtUs(child.pid ?? 0)
  t.ok(started !== undefined && started > before - 60_000 && started < after + 60_000, `${before} < ${started} < ${after}`)
  t.equal(await readStartedAtUs(2 ** 22 + 1), undefined)
})
