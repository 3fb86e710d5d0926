/**
 * The change as a transaction: whatever kills, starves or refuses the service, ecs.config is a whole old or a whole new one at every instant, and the
 * next start brings the last change into the ECS agent with nothing owed and nothing left behind.
 *
 * scripts/torture runs the same for longer, by REGCRED_TEST_KILLS and the like.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LogLine } from '../fixtures/machine.js'
import { attach, type Call } from './fixtures/strace.js'
import { rotatingMachine, type Service, within } from './fixtures/rotations.js'

const number = (name: string, fallback: number): number => Number(process.env[name] ?? fallback)
const KILLS = number('REGCRED_TEST_KILLS', 200)
const FAULTS = number('REGCRED_TEST_FAULTS', 60)
const ROTATIONS = number('REGCRED_TEST_ROTATIONS', 100)
const SECONDS = number('REGCRED_TEST_SECONDS', 150)

for (const docker of [true, false]) void t.test(`kill -9 at random moments of rotations, ${docker ? 'with' : 'without'} a Docker socket`, async (t) => {
  const rig = await rotatingMachine(t, { docker })
  const reader = rig.reader()
  await reader.reading
  rig.change()
  let service = rig.start()
  await rig.converged(t, service)
  // How long a rotation takes here and now, so that the moments are spread over all of it.
  const started = performance.now()
  rig.change()
  await within(60_000, service, service.next('ecs-agent.verified'))
  const windowMs = (performance.now() - started) * 1.2

  const deadline = performance.now() + SECONDS * 500
  const heldAfterKill = { old: 0, new: 0 }
  let kills = 0
  for (; kills < KILLS / 2 && performance.now() < deadline; kills++) {
    await rig.converged(t, service)
    rig.change()
    await sleep(Math.random() * windowMs)
    service.child.kill('SIGKILL')
    await service.exit
    heldAfterKill[rig.held() === rig.changes() ? 'new' : 'old']++
    service = rig.start()
  }
  await rig.converged(t, service)
  rig.assertSecret(t, service)
  t.equal(await service.stop(), 0)
  const { reads, contents, wrong } = await reader.stop()
  t.strictSame(wrong, [], 'the parallel reader saw whole files only')
  t.ok(rig.machine.restarts() <= rig.changes() + kills, 'a kill costs one more restart at most')
  t.ok(heldAfterKill.old > 0 && heldAfterKill.new > 0, 'the kills came on both sides of the rename')
  t.ok(kills >= Math.min(KILLS / 2, 20), 'enough of them in the time that there was')
  t.comment(`${kills} kills within rotations of ${Math.round(windowMs / 1.2)} ms: the file was old after ${heldAfterKill.old}, new after ${heldAfterKill.new}; ${rig.machine.restarts()} restarts for ${rig.changes()} changes; ${reads} reads saw ${contents} contents, all whole`)
})

for (const docker of [true, false]) void t.test(`kill -9 at every system call that writes ecs.config, the state and the lock, ${docker ? 'with' : 'without'} a Docker socket`, async (t) => {
  const rig = await rotatingMachine(t, { docker })
  const reader = rig.reader()
  await reader.reading
  rig.change()
  let service = rig.start()
  await rig.converged(t, service)
  const points = await writingCalls(t, rig, service)
  for (const name of ['openat', 'write', 'fsync', 'rename', 'unlink'] as const) t.ok(points.some((call) => call.name === name), `there is a ${name} to kill at`)

  let missed = 0
  for (const { thread, name, ordinal, line } of points) {
    await rig.converged(t, service)
    const strace = await attach(t, rig.fileThreads(service)[thread], `${name}:signal=KILL:when=${ordinal}`)
    const verified = service.next('ecs-agent.verified')
    rig.change()
    // The calls after the last event belong to it too. Those that only a late wake-up makes may be missed.
    const survived = await verified.then(() => rig.converged(t, service)).then(() => true, () => false)
    if (survived) {
      missed++
      service.child.kill('SIGKILL')
    }
    await service.exit
    await strace.detach()
    t.doesNotThrow(rig.held, `${thread}, ${name} ${ordinal}: ${where(line)}`)
    service = rig.start()
  }
  await rig.converged(t, service)
  t.ok(missed <= points.length / 5, `${points.length - missed} of ${points.length} kills met their call`)
  t.equal(await service.stop(), 0)
  t.strictSame((await reader.stop()).wrong, [], 'the parallel reader saw whole files only')
})

void t.test('a call that fails as on a disk that is full, read-only, forbidden or broken, or without a file descriptor to spare', async (t) => {
  const rig = await rotatingMachine(t)
  const reader = rig.reader()
  await reader.reading
  rig.change()
  let service = rig.start()
  await rig.converged(t, service)
  const points = await writingCalls(t, rig, service)
  const faults: Record<string, readonly string[]> = {
    openat: ['EROFS', 'EACCES', 'EMFILE'], fsync: ['EIO', 'ENOSPC'], rename: ['EACCES', 'ENOSPC', 'EIO'], fchmod: ['EROFS'], unlink: ['EIO'],
  }
  const said = new Map<string, string>()
  for (const { thread, name, ordinal, line } of points) {
    for (const errno of faults[name] ?? []) {
      // The service looks at other files between these, so that the n-th call may be another one now and then.
      for (let attempt = 1; attempt <= 5; attempt++) {
        await rig.converged(t, service)
        const before = rig.changes()
        const strace = await attach(t, rig.fileThreads(service)[thread], `${name}:error=${errno}:when=${ordinal}`)
        const from = service.lines.length
        const verified = service.next('ecs-agent.verified')
        rig.change()
        // It is over at once, so the service's own next try brings it in.
        await within(60_000, service, verified)
        await rig.converged(t, service)
        await strace.detach()
        const errors = service.lines.slice(from).filter(({ level }) => level === 'error')
        const what = `${errno} at ${name} ${ordinal} of ${thread} (${where(line)})`
        t.ok(errors.every(({ code, fix }) => ['E_ECS_CONFIG', 'E_STATE', 'E_SOURCE_FILE'].includes(String(code)) && fix !== undefined), `${what}: a clear error with its fix, or none needed`, { errors, hit: strace.hit() })
        t.equal(rig.changes(), before + 1)
        if (fileOf(strace.hit() ?? '') !== fileOf(line)) continue
        if (/\/etc\/ecs\//.test(line) && name !== 'unlink') t.ok(errors.some(({ msg }) => msg.includes(errno)), `${what}: it says so`, { errors })
        for (const { msg } of errors) said.set(errno, msg)
        break
      }
    }
  }
  await rig.converged(t, service)
  t.strictSame([...said.keys()].sort(), ['EACCES', 'EIO', 'EMFILE', 'ENOSPC', 'EROFS'], 'each was met and told')
  for (const message of said.values()) t.comment(message)
  rig.assertSecret(t, service)
  t.equal(await service.stop(), 0)
  t.strictSame((await reader.stop()).wrong, [], 'the parallel reader saw whole files only')
})

void t.test('any call that fails, at any moment, is told with its fix, and is not the end', async (t) => {
  const rig = await rotatingMachine(t)
  const reader = rig.reader()
  await reader.reading
  rig.change()
  const service = rig.start()
  await rig.converged(t, service)
  const faults = [
    'openat:EMFILE', 'openat:EACCES', 'statx:EIO', 'fstat:EIO', 'getdents64:EIO', 'readlink:EIO', 'pread64:EIO', 'mkdir:EACCES', 'fchmod:EPERM', 'fsync:EIO', 'rename:EIO', 'unlink:EIO',
    'inotify_add_watch:ENOSPC', 'socket:EMFILE', 'connect:ECONNREFUSED', 'pipe2:EMFILE', 'socketpair:EMFILE', 'clone:ENOMEM', 'clone:EAGAIN', 'clone3:EAGAIN', 'vfork:EAGAIN',
  ]
  const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T
  const deadline = performance.now() + SECONDS * 1000
  let met = 0
  let rounds = 0
  for (; rounds < FAULTS && performance.now() < deadline; rounds++) {
    const [name, errno] = pick(faults).split(':')
    const first = 1 + Math.floor(Math.random() ** 2 * 15)
    const inject = `${name}:error=${errno}:when=${first}${pick(['', `..${first + 4}`])}`
    const thread = pick(['main', 'worker'] as const)
    const strace = await attach(t, rig.fileThreads(service)[thread], inject)
    const from = service.lines.length
    rig.change()
    await rig.converged(t, service)
    await strace.detach()
    if (strace.hit() !== undefined) met++
    for (const line of service.lines.slice(from)) {
      if (line.level === 'error') t.match(line, { code: /^E_(?!BUG)/, fix: String }, `${thread}, ${inject}: ${strace.hit()}`)
    }
  }
  t.ok(met >= rounds / 10, `${met} of ${rounds} faults met a call`)
  t.comment(`${met} of ${rounds} faults met a call`)
  rig.assertSecret(t, service)
  t.equal(await service.stop(), 0)
  t.strictSame((await reader.stop()).wrong, [], 'the parallel reader saw whole files only')
})

void t.test('a service that may open nothing more says so, stays, and recovers', async (t) => {
  const rig = await rotatingMachine(t)
  rig.change()
  const service = rig.start()
  await rig.converged(t, service)
  const limit = (files: string): unknown => execFileSync('prlimit', ['--pid', String(service.child.pid), `--nofile=${files}:`])
  limit('3')
  rig.change()
  // Regression: looking at its own memory after a pass takes a file descriptor too, and the service ended there.
  for (let look = 0; look < 3; look++) {
    const told = Promise.race(['source.failed', 'pass.failed'].map((event) => service.next(event, ({ msg }) => /EMFILE/.test(String(msg)))))
    service.child.kill('SIGHUP')
    t.match(await within(60_000, service, told), { level: 'error', fix: 'raise LimitNOFILE= of the unit' })
  }
  limit('1024')
  await rig.converged(t, service)
  t.equal(await service.stop(), 0)
})

void t.test('a file system that is really full, or read-only', async (t) => {
  for (const folder of ['etc/ecs', 'var/lib/ecs-regcred']) {
    const rig = await rotatingMachine(t)
    const { machine } = rig
    const place = join(machine.root, folder)
    execFileSync('mkdir', ['-p', place])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place])
    t.teardown(() => void execFileSync('umount', ['--lazy', place]))
    if (folder === 'etc/ecs') writeFileSync(machine.ecsConfig, rig.content(0))
    rig.change()
    const service = rig.start()
    await rig.converged(t, service)
    const filler = join(place, 'filler')
    const faults = {
      ENOSPC: { begin: () => spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' }), end: () => rmSync(filler) },
      EROFS: { begin: () => execFileSync('mount', ['-o', 'remount,ro', place]), end: () => execFileSync('mount', ['-o', 'remount,rw', place]) },
    }
    for (const [errno, { begin, end }] of Object.entries(faults)) {
      begin()
      const from = service.lines.length
      const failed = service.next('pass.failed').catch(() => undefined)
      const told = Promise.race([failed, service.next('ecs-config.failed')])
      rig.change()
      const line = await within(60_000, service, told as Promise<LogLine>)
      t.match(line, { level: 'error', code: folder === 'etc/ecs' ? 'E_ECS_CONFIG' : 'E_STATE', fix: String, msg: new RegExp(`${folder}.*\\(${errno}, \\w+\\)`) }, `${errno} in ${folder}`)
      t.equal(rig.held(), rig.changes() - 1, 'the old file is intact')
      // Regression: the state held the new version as written, and the ECS agent, which holds what the file holds, was verified with it.
      t.notOk(service.lines.slice(from).some(({ event }) => event === 'ecs-agent.verified'), 'nothing is called a success')
      const sync = await machine.run('sync', '--boot', '--timeout', '1s', '--json')
      t.equal(sync.status, 74)
      t.match(JSON.parse(sync.stdout), { ok: false, code: line['code'] })
      end()
      await rig.converged(t, service)
    }
    rig.assertSecret(t, service)
    await service.stop()
  }
})

void t.test('ten thousand events within a second are one restart', async (t) => {
  const rig = await rotatingMachine(t)
  rig.change()
  const service = rig.start()
  await rig.converged(t, service)
  const before = rig.machine.restarts()
  const verified = service.next('ecs-agent.verified')
  rig.change()
  const started = performance.now()
  for (let i = 0; i < 5000; i++) {
    utimesSync(rig.machine.dockerConfig, new Date(), new Date())
    service.child.kill('SIGHUP')
  }
  const tookMs = performance.now() - started
  await within(60_000, service, verified)
  await rig.converged(t, service)
  t.equal(rig.machine.restarts(), before + 1)
  t.comment(`10,000 events within ${Math.round(tookMs)} ms`)
  await service.stop()
})

void t.test('rotations with a restart that fails every third time', async (t) => {
  const rig = await rotatingMachine(t)
  rig.change()
  const service = rig.start()
  await rig.converged(t, service)
  writeFileSync(join(rig.machine.standIn, 'fail-every'), '3')
  const before = { restarts: rig.machine.restarts(), changes: rig.changes() }
  const deadline = performance.now() + SECONDS * 1000
  for (let i = 0; i < ROTATIONS && performance.now() < deadline; i++) {
    const outcome = Promise.race([service.next('ecs-agent.verified'), service.next('restart.failed')])
    rig.change()
    const { event } = await within(60_000, service, outcome)
    // Half of the failed ones are overtaken by the next change, half are tried again first.
    if (event === 'restart.failed' && i % 2 === 0) {
      const verified = service.next('ecs-agent.verified')
      service.child.kill('SIGHUP')
      await within(60_000, service, verified)
    }
  }
  await rig.converged(t, service)
  const failures = service.lines.filter(({ event }) => event === 'restart.failed').length
  const changes = rig.changes() - before.changes
  const restarts = rig.machine.restarts() - before.restarts
  t.ok(restarts <= changes + failures, `${changes} changes and ${failures} failures cost ${restarts} restarts`)
  t.ok(failures >= Math.floor(restarts / 3), 'every third failed')
  t.ok(changes >= Math.min(ROTATIONS, 30), 'enough of them in the time that there was')
  t.comment(`${changes} rotations, ${failures} failed restarts, ${restarts} restarts asked for`)
  rig.assertSecret(t, service)
  await service.stop()
})

/** The calls of one rotation that change a file of ours, each by kind and ordinal. */
type Point = Call & { readonly thread: 'main' | 'worker' }

async function writingCalls(t: Test, rig: Awaited<ReturnType<typeof rotatingMachine>>, service: Service): Promise<Point[]> {
  const threads = Object.entries(rig.fileThreads(service)) as ['main' | 'worker', number][]
  const straces = await Promise.all(threads.map(async ([thread, tid]) => ({ thread, strace: await attach(t, tid) })))
  const verified = service.next('ecs-agent.verified')
  rig.change()
  await within(60_000, service, verified)
  await rig.converged(t, service)
  const ours = (line: string): boolean => /\/etc\/ecs|\/var\/lib\/ecs-regcred/.test(line)
  const points: Point[] = []
  for (const { thread, strace } of straces) {
    await strace.detach()
    // To the end of the pass that applied it: how many follow that find nothing to do is chance. A pass ends with giving its lock back.
    const written = strace.calls.findIndex(({ name, line }) => (name === 'rename' || name === 'fsync') && line.includes('ecs.config'))
    const end = strace.calls.findIndex(({ name, line }, index) => index > written && (thread === 'main' ? name === 'rename' && line.includes('next-pass') : name === 'unlink' && line.includes('/lock/')))
    points.push(...strace.calls.slice(0, end < 0 ? undefined : end + 1).filter(({ name, line }) => ours(line) && !(name === 'openat' && line.includes('O_RDONLY'))).map((call) => ({ ...call, thread })))
  }
  return points
}

/** The file of a call, without what differs from time to time. */
function fileOf(line: string): string {
  return where(line).replace(/[0-9a-f]{8,}|\d+/g, '').replace(/\) += .*/, '').replace(/<unfinished.*/, '')
}

function where(line: string): string {
  return line.replace(/[^"<]*\/(etc\/ecs|var\/lib\/ecs-regcred)\//g, '$1/').replace(/\.ecs-regcred-\S+\.tmp/g, '.tmp').slice(0, 120)
}
