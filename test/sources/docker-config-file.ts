import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, readFile, rename, rm, symlink, truncate, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { ServiceError } from '../../src/errors.js'
import { dockerConfigFileSource } from '../../src/sources/docker-config-file.js'

// Its bounded waits add up, and the machine may be busy.
t.setTimeout(120_000)

const CANARY = 'canary-7Fq2-password'
const document = (auth = CANARY): string => JSON.stringify({ auths: { 'registry.example.com': { auth } } })
const signal = (): AbortSignal => AbortSignal.timeout(15_000)

/** Counts the wakes of a watch on `path`, and waits for the next one. */
async function watching(t: Test, path: string) {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  let wakes = 0
  let waiting: (() => void)[] = []
  await dockerConfigFileSource(path).watch(() => {
    wakes++
    for (const done of waiting.splice(0)) done()
  }, stop.signal)
  return {
    stop,
    wakes: () => wakes,
    /** Does `act`, then waits for a wake that follows it. */
    async after(act: () => Promise<unknown>): Promise<void> {
      const woken = new Promise<void>((done) => waiting.push(done))
      await act()
      await Promise.race([woken, new Promise((_, reject) => signal().addEventListener('abort', () => reject(new Error('no wake'))))])
    },
  }
}

async function text(path: string): Promise<string> {
  const { documents } = await dockerConfigFileSource(path).read(undefined, signal())
  return Buffer.from(documents?.[0]?.content.reveal() ?? []).toString()
}

/** What docker does: `config.json` plus digits in the same directory, then a rename. */
async function dockerLogin(path: string, content: string): Promise<void> {
  await writeFile(`${path}2871390`, content)
  await rename(`${path}2871390`, path)
}

t.test('a file is read as it stands, named by its absolute path', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  const source = dockerConfigFileSource(path)
  t.equal(source.kind, 'file')
  t.equal(source.label, path)
  const { documents, version } = await source.read(undefined, signal())
  t.equal(version, undefined, 'whoever parses it fingerprints what it means')
  t.equal(documents?.[0]?.source, path)
  t.equal(Buffer.from(documents?.[0]?.content.reveal() ?? []).toString(), document())
  t.notMatch(JSON.stringify(documents), CANARY)
})

t.test("docker's temporary file and rename wake, again and again", async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  const watch = await watching(t, path)
  for (const round of ['one', 'two', 'three']) {
    await watch.after(() => dockerLogin(path, document(round)))
    t.equal(await text(path), document(round))
  }
})

t.test('a file written in place wakes, each time, however close together', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  const watch = await watching(t, path)
  // Far closer than the 50 ms within which chokidar's own `change` events are dropped.
  for (let round = 0; round < 20; round++) await watch.after(() => writeFile(path, document(String(round))))
  t.equal(await text(path), document('19'))
})

t.test('a file that is removed, and comes back, wakes both times', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  const watch = await watching(t, path)
  await watch.after(() => unlink(path))
  await watch.after(() => writeFile(path, document('back')))
  t.equal(await text(path), document('back'))
})

t.test('a file in a directory that does not exist yet, nor the one above, wakes when it appears', async (t) => {
  const root = t.testdir({})
  const path = join(root, 'home', 'operator', '.docker', 'config.json')
  const watch = await watching(t, path)
  await watch.after(() => mkdir(join(root, 'home')))
  await watch.after(() => mkdir(join(root, 'home', 'operator', '.docker'), { recursive: true }))
  await watch.after(() => dockerLogin(path, document('first')))
  t.equal(await text(path), document('first'))
  await watch.after(() => dockerLogin(path, document('second')))
})

t.test('directories and file that appear at once wake', async (t) => {
  const root = t.testdir({ staged: { '.docker': { 'config.json': document() } } })
  const path = join(root, 'home', '.docker', 'config.json')
  const watch = await watching(t, path)
  await watch.after(() => rename(join(root, 'staged'), join(root, 'home')))
  t.equal(await text(path), document())
  await watch.after(() => writeFile(path, document('later')))
})

t.test('a directory replaced by another one wakes, and the new one is watched', async (t) => {
  const root = t.testdir({ docker: { 'config.json': document('old') }, next: { 'config.json': document('new') } })
  const path = join(root, 'docker', 'config.json')
  const watch = await watching(t, path)
  await watch.after(async () => {
    await rename(join(root, 'docker'), join(root, 'was'))
    await rename(join(root, 'next'), join(root, 'docker'))
  })
  t.equal(await text(path), document('new'))
  await settle(watch)
  await watch.after(() => writeFile(path, document('newer')))
  await watch.after(() => dockerLogin(path, document('newest')))
})

t.test('a directory removed and made again wakes, and is watched again', async (t) => {
  const root = t.testdir({ docker: { 'config.json': document() } })
  const path = join(root, 'docker', 'config.json')
  const watch = await watching(t, path)
  for (const round of ['one', 'two', 'three']) {
    await watch.after(() => rm(join(root, 'docker'), { recursive: true }))
    await watch.after(() => mkdir(join(root, 'docker')))
    await watch.after(() => dockerLogin(path, document(round)))
    t.equal(await text(path), document(round))
  }
})

t.test('a directory above, replaced, wakes', async (t) => {
  const root = t.testdir({ a: { b: { docker: { 'config.json': document('old') } } }, other: { b: { docker: { 'config.json': document('new') } } } })
  const watch = await watching(t, join(root, 'a/b/docker/config.json'))
  await watch.after(() => rename(join(root, 'a'), join(root, 'was')))
  await watch.after(() => rename(join(root, 'other'), join(root, 'a')))
  await settle(watch)
  await watch.after(() => writeFile(join(root, 'a/b/docker/config.json'), document('newer')))
})

t.test('a symlinked file wakes when its target is written, replaced, or the link pointed elsewhere', async (t) => {
  const root = t.testdir({ docker: {}, real: { 'creds.json': document() }, elsewhere: { 'creds.json': document('elsewhere') } })
  const path = join(root, 'docker', 'config.json')
  await symlink('../real/creds.json', path)
  const watch = await watching(t, path)
  await watch.after(() => writeFile(join(root, 'real/creds.json'), document('in place')))
  await watch.after(() => dockerLogin(join(root, 'real/creds.json'), document('replaced')))
  t.equal(await text(path), document('replaced'))
  await watch.after(async () => {
    await symlink(join(root, 'elsewhere/creds.json'), join(root, 'docker/next'))
    await rename(join(root, 'docker/next'), path)
  })
  t.equal(await text(path), document('elsewhere'))
  await settle(watch)
  await watch.after(() => dockerLogin(join(root, 'elsewhere/creds.json'), document('and on')))
})

t.test('a link pointed at another file of the same directory is followed there', async (t) => {
  const root = t.testdir({ 'one.json': document('one'), 'two.json': document('two') })
  const path = join(root, 'config.json')
  await symlink('one.json', path)
  const watch = await watching(t, path)
  await watch.after(async () => {
    await symlink('two.json', join(root, 'next'))
    await rename(join(root, 'next'), path)
  })
  await settle(watch)
  await watch.after(() => dockerLogin(join(root, 'two.json'), document('three')))
  t.equal(await text(path), document('three'))
})

t.test('a Kubernetes volume, whose ..data link is swapped, wakes', async (t) => {
  const root = t.testdir({ volume: { '..2026_01': { 'config.json': document('one') } } })
  const volume = join(root, 'volume')
  const path = join(volume, 'config.json')
  await symlink('..2026_01', join(volume, '..data'))
  await symlink('..data/config.json', path)
  const watch = await watching(t, path)
  for (const round of ['..2026_02', '..2026_03']) {
    await watch.after(async () => {
      await mkdir(join(volume, round))
      await writeFile(join(volume, round, 'config.json'), document(round))
      await symlink(round, join(volume, '..data_tmp'))
      await rename(join(volume, '..data_tmp'), join(volume, '..data'))
    })
    t.equal(await text(path), document(round))
    await settle(watch)
  }
})

t.test('a dangling link, and links in a circle, are watched until they are mended', async (t) => {
  const root = t.testdir({ docker: {} })
  const path = join(root, 'docker', 'config.json')
  await symlink('config.json', path)
  await t.rejects(dockerConfigFileSource(path).read(undefined, signal()), { code: 'E_SOURCE_FILE', message: /circle/ })
  const watch = await watching(t, path)
  await unlink(path)
  await symlink('../later/config.json', path)
  await settle(watch)
  await watch.after(() => mkdir(join(root, 'later')))
  await watch.after(() => writeFile(join(root, 'later/config.json'), document()))
  t.equal(await text(path), document())
})

t.test('a bind-mounted file wakes when it is written where it comes from', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const root = t.testdir({ docker: { 'config.json': '' }, host: { 'config.json': document() } })
  const script = `
    import { dockerConfigFileSource } from ${JSON.stringify(new URL('../../src/sources/docker-config-file.ts', import.meta.url).href)}
    await dockerConfigFileSource(process.argv[1]).watch(() => { console.log('woken'); process.exit(0) }, new AbortController().signal)
    console.log('watching')
    setTimeout(() => process.exit(1), 15000)`
  const child = spawn('unshare', ['-m', 'sh', '-c', 'mount --bind "$1" "$2" && shift 2 && exec "$@"', 'sh', join(root, 'host/config.json'), join(root, 'docker/config.json'),
    process.execPath, ...process.execArgv, '--input-type=module', '-e', script, join(root, 'docker/config.json')], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (output === 'watching\n') void writeFile(join(root, 'host/config.json'), document('changed'))
  })
  const [status] = await once(child, 'close') as [number]
  t.equal(status, 0)
  t.equal(output, 'watching\nwoken\n')
})

t.test('other files in the directory do not wake, nor does reading', async (t) => {
  const root = t.testdir({ 'config.json': document() })
  const path = join(root, 'config.json')
  const watch = await watching(t, path)
  await writeFile(join(root, 'daemon.json'), '{}')
  await rename(join(root, 'daemon.json'), join(root, 'config.json.bak'))
  await mkdir(join(root, 'contexts'))
  await writeFile(join(root, 'contexts', 'config.json'), '{}')
  await readFile(path)
  t.equal(await text(path), document())
  // inotify keeps its order: whatever those caused would have come before this.
  await watch.after(() => utimes(path, new Date(), new Date()))
  t.equal(watch.wakes() <= 2, true, `${watch.wakes()} wakes: the directory's and the file's own of the last touch`)
})

t.test('an aborted watch holds nothing: no wake comes, and the process could end', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  const watch = await watching(t, path)
  const witness = await watching(t, path)
  watch.stop.abort()
  await witness.after(() => writeFile(path, document('after')))
  t.equal(watch.wakes(), 0)
  const script = `
    import { dockerConfigFileSource } from ${JSON.stringify(new URL('../../src/sources/docker-config-file.ts', import.meta.url).href)}
    const stop = new AbortController()
    await dockerConfigFileSource(process.argv[1]).watch(() => {}, stop.signal)
    stop.abort()`
  // Ends by itself, or the time-out fails it.
  await promisify(execFile)(process.execPath, [...process.execArgv, '--input-type=module', '-e', script, path], { timeout: 20_000 })
})

t.test('a watch on an aborted signal resolves', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  await dockerConfigFileSource(path).watch(() => t.fail('woken'), AbortSignal.abort())
})

t.test('a half-written document is waited for, and the whole one returned', async (t) => {
  const path = join(t.testdir({ 'config.json': document().slice(0, 30) }), 'config.json')
  const begun = performance.now()
  const reading = text(path)
  await appendFile(path, document().slice(30, 40))
  // By now the first look has seen a half.
  await t.rejects(dockerConfigFileSource(join(path, 'x')).read(undefined, signal()))
  await appendFile(path, document().slice(40))
  t.equal(await reading, document())
  t.ok(performance.now() - begun < 900, 'the change woke it, not the second it would wait at most')
})

t.test('a document truncated to be rewritten is waited for, each time it is read', async (t) => {
  const path = join(t.testdir({ 'config.json': document() }), 'config.json')
  for (let round = 0; round < 5; round++) {
    await truncate(path)
    const reading = text(path)
    await writeFile(path, document(String(round)))
    t.equal(await reading, document(String(round)))
  }
})

t.test('a document that stays half is returned as it is, a second after its last write', async (t) => {
  const path = join(t.testdir({ 'config.json': document().slice(0, 30) }), 'config.json')
  const begun = performance.now()
  t.equal(await text(path), document().slice(0, 30))
  t.ok(performance.now() - begun < 4_000)
  await utimes(path, new Date(), new Date(Date.now() - 60_000))
  const again = performance.now()
  t.equal(await text(path), document().slice(0, 30))
  t.ok(performance.now() - again < 500, 'an old one is not waited for')
})

t.test('a whole document is returned at once, with a byte order mark too', async (t) => {
  const path = join(t.testdir({ 'config.json': `\uFEFF${document()}` }), 'config.json')
  const begun = performance.now()
  t.equal(await text(path), `\uFEFF${document()}`)
  t.ok(performance.now() - begun < 500)
})

t.test('waiting for the rest of a document ends with the signal', async (t) => {
  const path = join(t.testdir({ 'config.json': '{' }), 'config.json')
  await utimes(path, new Date(), new Date(Date.now() + 3_600_000))
  await t.rejects(dockerConfigFileSource(path).read(undefined, AbortSignal.timeout(50)), { name: 'TimeoutError' })
})

t.test('a file that cannot be read is an error that says what to do, and quotes nothing', async (t) => {
  const root = t.testdir({ directory: {}, 'plain.json': document(), 'big.json': `"${CANARY}${'x'.repeat(1024 * 1024)}"` })
  const failure = async (path: string): Promise<ServiceError> => {
    const error: unknown = await dockerConfigFileSource(path).read(undefined, signal()).then(() => t.fail('read'), (failed: unknown) => failed)
    t.type(error, ServiceError)
    t.notMatch(JSON.stringify(error), CANARY)
    return error as ServiceError
  }
  const missing = await failure(join(root, 'missing/config.json'))
  t.equal(missing.code, 'E_NO_SOURCE_FILE')
  t.match(missing.details.fix, /docker login registry\.example\.com.*root.*--secret-id/)
  t.match(await failure(join(root, 'directory')), { code: 'E_SOURCE_FILE', message: /it is a directory/ })
  t.match(await failure(join(root, 'plain.json/config.json')), { code: 'E_SOURCE_FILE', message: /not a directory/ })
  t.match(await failure(join(root, 'big.json')), { code: 'E_TOO_BIG' })
  await promisify(execFile)('mkfifo', [join(root, 'pipe')])
  t.match(await failure(join(root, 'pipe')), { code: 'E_SOURCE_FILE', message: /not a regular file/, details: { fix: String } })
})

t.test('a file that this user may not read is an error, and is watched all the same', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const root = t.testdir({ open: { 'config.json': document() }, closed: { docker: { 'config.json': document() } } })
  const { chmod } = await import('node:fs/promises')
  await chmod(join(root, 'open/config.json'), 0o600)
  await chmod(join(root, 'closed'), 0o711)
  const script = `
    import { dockerConfigFileSource } from ${JSON.stringify(new URL('../../src/sources/docker-config-file.ts', import.meta.url).href)}
    process.setuid(65534)
    const stop = new AbortController()
    for (const path of process.argv.slice(1)) {
      const source = dockerConfigFileSource(path)
      await source.watch(() => {}, stop.signal)
      await source.read(undefined, stop.signal).then(() => console.log('read'), (error) => console.log(error.code, error.details.fix))
    }
    stop.abort()`
  const { stdout } = await promisify(execFile)(process.execPath,
    [...process.execArgv, '--input-type=module', '-e', script, join(root, 'open/config.json'), join(root, 'closed/docker/config.json')], { timeout: 20_000 })
  t.equal(stdout, 'E_SOURCE_FILE run as root, or let this user read the file and enter its directories\nread\n')
})

/** The watch has followed its path to where it leads now: a write there wakes. */
async function settle(watch: { wakes: () => number }): Promise<void> {
  for (let last = -1; last !== watch.wakes(); ) {
    last = watch.wakes()
    await new Promise((done) => setTimeout(done, 100))
  }
}
