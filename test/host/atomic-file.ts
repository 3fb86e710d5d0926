import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync, chmodSync, chownSync, closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, renameSync, statSync, symlinkSync, unlinkSync,
  writeFileSync, writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { readFileIfAny, removeLeftoverTemps, tightenMode, updateFile } from '../../src/host/atomic-file.js'
import { processIdentity } from '../../src/host/process-identity.js'
import { nodeCommand } from '../fixtures/node-command.js'
import { standIns } from '../fixtures/stand-ins.js'

const worker = nodeCommand(t, 'update-worker.ts')
const add = (line: string) => (current: Buffer | undefined): Buffer => Buffer.concat([current ?? Buffer.alloc(0), Buffer.from(`${line}\n`)])
const mode = (path: string): number => statSync(path).mode & 0o7777

t.test('a new file is private whatever the umask is', async (t) => {
  const path = join(t.testdir(), 'ecs.config')
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  t.match(await updateFile(path, add('A=1')), { written: true })
  t.equal(readFileSync(path, 'utf8'), 'A=1\n')
  t.equal(mode(path), 0o600)
})

t.test('an existing mode is kept but never wider than asked, and the owner stays', async (t) => {
  for (const [before, after] of [[0o644, 0o600], [0o600, 0o600], [0o440, 0o400], [0o755, 0o600]] as const) {
    const path = join(t.testdir({ file: '' }), 'file')
    if (process.getuid?.() === 0) chownSync(path, 1234, 5678)
    chmodSync(path, before)
    const { uid, gid } = statSync(path)
    await updateFile(path, add('A=1'))
    t.equal(mode(path), after, before.toString(8))
    t.match(statSync(path), { uid, gid })
  }
})

t.test('what is right already is not touched, and a mode alone that is too wide is put right', async (t) => {
  const path = join(t.testdir({ file: 'A=1\n' }), 'file')
  chmodSync(path, 0o600)
  const { ino } = statSync(path)
  t.match(await updateFile(path, () => Buffer.from('A=1\n')), { written: false })
  t.equal(statSync(path).ino, ino)
  chmodSync(path, 0o644)
  t.match(await updateFile(path, () => Buffer.from('A=1\n')), { written: true })
  t.equal(mode(path), 0o600)
})

t.test('a symlink is followed, not replaced: relative, absolute, chained, through a linked directory, dangling', async (t) => {
  const root = t.testdir({ real: { deep: {} }, etc: {} })
  symlinkSync(join(root, 'real/deep'), join(root, 'linked'))
  symlinkSync('../up.config', join(root, 'real/deep/through')) // the `..` of a link in real/deep, reached as linked/
  symlinkSync('ecs.config.2', join(root, 'etc/ecs.config'))
  symlinkSync(join(root, 'linked/through'), join(root, 'etc/ecs.config.2'))
  for (const round of ['1', '2']) {
    await updateFile(join(root, 'etc/ecs.config'), add(round))
    t.equal(readlinkSync(join(root, 'etc/ecs.config')), 'ecs.config.2')
    t.ok(lstatSync(join(root, 'real/deep/through')).isSymbolicLink())
    t.strictSame(readdirSync(join(root, 'real')).sort(), ['deep', 'up.config'], 'and no temp file is left')
  }
  t.equal(readFileSync(join(root, 'real/up.config'), 'utf8'), '1\n2\n')
  t.match(await readFileIfAny(join(root, 'etc/ecs.config')), { realPath: join(root, 'real/up.config'), mode: 0o600 })
})

t.test('a line that another program adds while ours is worked out is not lost', async (t) => {
  const path = join(t.testdir({ file: 'A=1\n' }), 'file')
  let calls = 0
  await updateFile(path, (current) => {
    if (calls++ === 0) appendFileSync(path, 'THEIRS=1\n')
    return add('OURS=1')(current)
  })
  t.equal(readFileSync(path, 'utf8'), 'A=1\nTHEIRS=1\nOURS=1\n')
})

t.test('a line that lands in the replaced file, through a descriptor opened before, is carried over', async (t) => {
  const path = join(t.testdir({ file: 'A=1\n' }), 'file')
  const theirs = openSync(path, 'a')
  t.teardown(() => closeSync(theirs))
  const { ino } = statSync(path)
  const append = (): void => {
    if (statSync(path).ino === ino) setImmediate(append)
    else writeSync(theirs, 'THEIRS=1\n')
  }
  append()
  const { bytes } = await updateFile(path, (current) => Buffer.from(`OURS=1\n${(current ?? '').toString().replace('OURS=1\n', '')}`))
  t.equal(readFileSync(path, 'utf8'), 'OURS=1\nA=1\nTHEIRS=1\n')
  t.equal(bytes.toString(), 'OURS=1\nA=1\nTHEIRS=1\n')
})

t.test('a file that another program replaces, makes, removes or links elsewhere meanwhile is looked at again', async (t) => {
  const cases: Record<string, [string | undefined, (path: string) => void, string]> = {
    replaced: ['A=1\n', (path) => { writeFileSync(`${path}.new`, 'A=2\n'); renameSync(`${path}.new`, path) }, 'A=2\nOURS=1\n'],
    made: [undefined, (path) => writeFileSync(path, 'A=2\n'), 'A=2\nOURS=1\n'],
    removed: ['A=1\n', (path) => unlinkSync(path), 'OURS=1\n'],
    linked: ['A=1\n', (path) => { renameSync(path, `${path}.moved`); appendFileSync(`${path}.moved`, 'A=2\n'); symlinkSync('file.moved', path) }, 'A=1\nA=2\nOURS=1\n'],
  }
  for (const [name, [before, meanwhile, after]] of Object.entries(cases)) {
    const path = join(t.testdir(before === undefined ? {} : { file: before }), 'file')
    let calls = 0
    await updateFile(path, (current) => {
      if (calls++ === 0) meanwhile(path)
      return add('OURS=1')(current)
    })
    t.equal(readFileSync(path, 'utf8'), after, name)
  }
})

t.test('a program that rewrites it without pause is reported, not fought', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file')
  let calls = 0
  const change = (current: Buffer | undefined): Buffer => {
    writeFileSync(path, String(calls++))
    return add('OURS=1')(current)
  }
  await t.rejects(updateFile(path, change), { code: 'E_ECS_CONFIG', message: /another program keeps changing it/ })
  t.equal(calls, 10)
  t.strictSame(readdirSync(join(path, '..')), ['file'])
})

t.test('lines that another process appends all the while survive', { timeout: 60_000 }, async (t) => {
  const path = join(t.testdir({ file: 'count=0\n' }), 'file')
  const child = spawn(...worker(path, '150'), { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  await once(child.stdout, 'data')
  let lines = 0
  let running = true
  void exit.then(() => { running = false })
  while (running) {
    appendFileSync(path, `theirs-${lines++}\n`)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40))
  }
  t.strictSame(await exit, [0, null])
  const kept = readFileSync(path, 'utf8').split('\n').filter((line) => line.startsWith('theirs-'))
  t.equal(new Set(kept).size, lines, `${lines} appended`)
  t.equal(kept.length, lines, 'and none twice')
})

t.test('killed at any moment, it leaves a whole file, and temp files that are recognised', { timeout: 60_000 }, async (t) => {
  const path = join(t.testdir({ file: 'count=0\n' }), 'file')
  const isWhole = (): boolean => {
    const [count, ours] = readFileSync(path, 'utf8').split('\n')
    return count === 'count=0' || ours === `ours=${count?.slice('count='.length).padEnd(200_000, 'x')}`
  }
  let leftovers = 0
  for (let kill = 0; kill < 25; kill++) {
    const child = spawn(...worker(path, '1000000'), { stdio: ['ignore', 'pipe', 'inherit'] })
    const exit = once(child, 'exit')
    await once(child.stdout, 'data')
    const until = performance.now() + Math.random() * 30
    while (performance.now() < until) if (!isWhole()) t.fail('a reader saw a torn file')
    child.kill('SIGKILL')
    await exit
    t.ok(isWhole())
    leftovers += readdirSync(join(path, '..')).length - 1
    await removeLeftoverTemps(path)
    t.strictSame(readdirSync(join(path, '..')), ['file'])
  }
  t.comment(`${leftovers} temp files were left and removed`)
})

t.test('temp files of living processes, and files that are none of ours, stay', async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  const [boot] = (await processIdentity()).split('.')
  const start = readFileSync(`/proc/${child.pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ')[19]
  const alive = `.ecs.config.ecs-regcred-${boot}.${child.pid}.${start}-0badcafe.tmp`
  const dead = `.ecs.config.ecs-regcred-${boot}.${child.pid}.1-0badcafe.tmp`
  const otherBoot = `.ecs.config.ecs-regcred-00000000.${process.pid}.1-0badcafe.tmp`
  const foreign = ['.ecs.config.swp', '.ecs.config.tmp', 'ecs.config', 'ecs.config.json', '.other.ecs-regcred-0.1.1-00000000.tmp']
  const directory = t.testdir(Object.fromEntries([alive, dead, otherBoot, ...foreign].map((name) => [name, ''])))
  t.equal(await removeLeftoverTemps(join(directory, 'ecs.config')), 2)
  t.strictSame(readdirSync(directory).sort(), [alive, ...foreign].sort())
  t.equal(await removeLeftoverTemps(join(directory, 'none', 'ecs.config')), 0)
})

t.test('each failure names errno, path and what to do, and leaves the old file and no temp file', async (t) => {
  const root = t.testdir({ file: 'A=1\n', directory: { x: '' }, loop: t.fixture('symlink', 'loop') })
  const cases: [string, RegExp, RegExp][] = [
    [join(root, 'file/ecs.config'), /ENOTDIR/, /namei -l/],
    [join(root, 'missing/ecs.config'), /ENOENT/, /is the ECS agent installed/],
    [join(root, 'directory'), /EISDIR/, /directory where the file should be/],
    [join(root, 'loop'), /ELOOP/, /circle/],
  ]
  for (const [path, errno, fix] of cases) {
    await t.rejects(updateFile(path, add('canary-5ecret')), { code: 'E_ECS_CONFIG', exitCode: 74, message: new RegExp(`^cannot write ${path}: .*${errno.source}`), details: { fix } })
  }
  await t.rejects(updateFile(join(root, 'loop'), add(''), { code: 'E_STATE' }), { code: 'E_STATE' })
  t.strictSame(readdirSync(root).sort(), ['directory', 'file', 'loop'])
})

t.test('a FIFO in its place does not hang us', async (t) => {
  const path = join(t.testdir(), 'fifo')
  if (spawnSync('mkfifo', [path]).status !== 0) throw new Error('mkfifo failed')
  await t.rejects(readFileIfAny(path), { code: 'E_ECS_CONFIG', message: /is not a regular file/ })
})

t.test('a disk that takes no more, and a process that may open no more files', async (t) => {
  const noFiles = (spare: number): [string, string] => [`ulimit -n 200; SPARE_FILES=${spare}; export SPARE_FILES`, 'EMFILE']
  for (const [limit, errno] of [['ulimit -f 8', 'EFBIG'], noFiles(0), noFiles(1), noFiles(2)] as const) {
    const path = join(t.testdir({ file: 'count=0\n' }), 'file')
    const { stdout, status, stderr, signal } = spawnSync('sh', ['-c', `${limit}; exec "$@"`, 'sh', ...worker(path, '1').flat()], { encoding: 'utf8' })
    t.match(stdout, `"code":"E_ECS_CONFIG","message":"cannot write ${path}: `)
    t.match(stdout, errno)
    t.equal(status, 74, `${signal} ${stderr}`)
    t.equal(readFileSync(path, 'utf8'), 'count=0\n')
    t.strictSame(readdirSync(join(path, '..')), ['file'])
  }
})

t.test('a change that throws leaves everything as it was, in its own words', async (t) => {
  const path = join(t.testdir({ file: 'A=1\n' }), 'file')
  await t.rejects(updateFile(path, () => { throw new TypeError('a bug') }), { name: 'TypeError', message: 'a bug' })
  t.strictSame(readdirSync(join(path, '..')), ['file'])
})

t.test('the SELinux label is copied before there is anything to read', async (t) => {
  const base = t.testdir({ root: { sys: { fs: { selinux: {} } } }, file: 'A=1\n' })
  const path = join(base, 'file')
  await t.test('where there is SELinux', async (t) => {
    const calls = standIns(t, ['chcon'], { chcon: '[ ! -s "$3" ] || echo "too late" >>"$FAKE_CALLS"' })
    await updateFile(path, add('B=1'), { root: join(base, 'root') })
    t.match(calls(), [new RegExp(`^chcon --reference=${path} -- .*/\\.file\\.ecs-regcred-.*\\.tmp$`)])
    t.equal(calls().length, 1)
  })
  await t.test('and where it fails, the directory’s own label has to do', async (t) => {
    standIns(t, ['chcon'], { chcon: 'exit 1' })
    await updateFile(path, add('C=1'), { root: join(base, 'root') })
    t.equal(readFileSync(path, 'utf8'), 'A=1\nB=1\nC=1\n')
  })
})

t.test('a mode that is too wide is tightened, and nothing else', async (t) => {
  const path = join(t.testdir({ file: 'A=1\n' }), 'file')
  chmodSync(path, 0o644)
  t.equal(await tightenMode(path, 0o600), true)
  t.equal(mode(path), 0o600)
  t.equal(await tightenMode(path, 0o600), false)
  t.equal(await tightenMode(`${path}.missing`, 0o600), false)
})

t.test('no file is an answer', async (t) => {
  t.equal(await readFileIfAny(join(t.testdir(), 'none')), undefined)
  t.equal(await readFileIfAny(join(t.testdir(), 'none/none')), undefined)
})
