import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { run } from '../../src/cli/index.js'
import { basic, basicRegistry, serve, serveRaw } from '../fixtures/registry/server.js'

const canary = 'c4n4ry-p4ssw0rd'
const auth = (password = canary, username = 'ci'): { auth: string } => ({ auth: Buffer.from(`${username}:${password}`).toString('base64') })
const ecsConfig = (entries: object): string => `ECS_CLUSTER=c\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${JSON.stringify(entries)}\n`

/** Runs `probe` on a machine whose ecs.config is `config`; nothing it prints may hold the password. */
async function probe(
  t: Test, config: string | undefined, args: readonly string[],
  { tty = false, columns = 100, environment = {}, stdin = '', signal = new AbortController().signal }: { tty?: boolean; columns?: number; environment?: NodeJS.ProcessEnv; stdin?: string; signal?: AbortSignal } = {},
): Promise<{ status: number; stdout: string; stderr: string }> {
  const root = t.testdir({ etc: { ecs: config === undefined ? {} : { 'ecs.config': config } } })
  const [stdout, stderr] = [Object.assign(new PassThrough(), { isTTY: tty, columns }), new PassThrough()]
  const input = new PassThrough()
  input.end(stdin)
  const status = await run(['probe', ...args], { environment: { REGCRED_ROOT: root, HOME: root, ...environment }, stdin: input, stdout, stderr, signal })
  stdout.end()
  stderr.end()
  const outputs = { stdout: await text(stdout), stderr: await text(stderr) }
  for (const secret of [canary, basic('ci', canary).slice(6)]) t.notMatch(JSON.stringify(outputs), secret)
  return { status, ...outputs }
}

t.test('every registry of ecs.config, the boundary keys of one path as one', async (t) => {
  const { host, requests } = await serve(t, basicRegistry('ci', canary))
  const { status, stdout } = await probe(t, ecsConfig({ [host]: auth(), [`${host}/team/`]: auth(), [`${host}/team:`]: auth(), [`${host}/team@`]: auth() }), ['--json'])
  t.equal(status, 0)
  t.match(JSON.parse(stdout), { ok: true, registries: [{ registry: host, verdict: 'accepted', reason: String }, { registry: `${host}/team`, verdict: 'accepted' }] })
  t.equal(JSON.parse(stdout).registries.length, 2)
  t.equal(requests.length, 4)
})

t.test('77 where one refuses, 69 where one cannot be asked, and 77 where both happen', async (t) => {
  const good = (await serve(t, basicRegistry('ci', canary))).host
  const bad = (await serve(t, basicRegistry('ci', 'another'))).host
  const away = await serveRaw(t, (socket) => socket.destroy())
  t.equal((await probe(t, ecsConfig({ [good]: auth(), [bad]: auth() }), [])).status, 77)
  t.equal((await probe(t, ecsConfig({ [good]: auth(), [away]: auth() }), [])).status, 69)
  const { status, stdout } = await probe(t, ecsConfig({ [good]: auth(), [bad]: auth(), [away]: auth() }), [])
  t.equal(status, 77)
  const lines = Object.fromEntries(stdout.trimEnd().split('\n').map((line) => [line.split(' ')[0], line]))
  t.match(lines, { [good]: /accepted {2}the registry accepts/, [bad]: /refused {3}.*401/, [away]: /unknown {3}the connection/ })
  t.notMatch(stdout, '\u001b', 'no colour in a file')
})

t.test('only the registries named, by any of their names', async (t) => {
  const { host, requests } = await serve(t, basicRegistry('ci', canary))
  const other = await serve(t, basicRegistry('ci', canary))
  const config = ecsConfig({ [host]: auth(), [other.host]: auth() })
  const { status, stdout } = await probe(t, config, [`https://${host}/v2/`, host, '--json'])
  t.strictSame([status, JSON.parse(stdout).registries.length, requests.length, other.requests.length], [0, 1, 2, 0])
  const path = await probe(t, config, [`${host}/team/app`, '--json'])
  t.match(JSON.parse(path.stdout), { registries: [{ registry: `${host}/team/app`, verdict: 'accepted' }] }, 'with the entry that the ECS agent would use there')
  const missing = await probe(t, config, ['other.example.com', 'docker.io'])
  t.equal(missing.status, 69)
  t.match(missing.stdout, /other\.example\.com +unknown .*ecs\.config holds no entry for it, so pulls from it are anonymous/)
  t.match(missing.stdout, /index\.docker\.io\/v1\/ +unknown .*holds no entry/)
  t.match(await probe(t, config, ['not a registry']), { status: 64, stderr: /space/ })
  t.match(await probe(t, config, [`ci:${canary}@r.example.com`]), { status: 64 })
})

t.test('an image: its manifest with the entry that the ECS agent would use', async (t) => {
  const { host, requests } = await serve(t, (request) => {
    const reply = basicRegistry('ci', canary)(request)
    return reply.status === 200 && request.path.includes('/gone/') ? { status: 404 } : reply
  })
  const { status, stdout } = await probe(t, ecsConfig({ [host]: auth() }), ['--image', `${host}/app:1`, '--image', `${host}/gone:2`, '--json'])
  t.equal(status, 77)
  t.match(JSON.parse(stdout), { ok: false, registries: [{ registry: host, verdict: 'accepted' }], images: [{ image: `${host}/app:1`, verdict: 'accepted' }, { image: `${host}/gone:2`, verdict: 'refused', class: 'not-found' }] })
  t.strictSame(requests.filter(({ method }) => method === 'HEAD').map(({ path }) => path).sort(), ['/v2/app/manifests/1', '/v2/gone/manifests/2'])
  t.match(await probe(t, ecsConfig({ [host]: auth() }), ['--image', `${host}/app:1`]), { status: 0, stdout: /\/app:1 +accepted +the image is there/ })
})

t.test('entries that Docker would not log in with', async (t) => {
  const docker = (entries: object): string => `ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA=${JSON.stringify(entries)}\n`
  const { status, stdout } = await probe(t, docker({ 'a.example.com': auth(), 'b.example.com': { identitytoken: canary } }), [])
  t.equal(status, 69)
  t.match(stdout, /a\.example\.com +unknown .*nothing that Docker would log in with/)
  t.match(stdout, /b\.example\.com +unknown .*token instead of a password/)
})

t.test('an ecs.config that is missing, or holds nothing, says what to do', async (t) => {
  t.match(await probe(t, undefined, []), { status: 74, stderr: /cannot read .*ecs\.config: ENOENT\n.*fix: .*--from/ })
  t.match(await probe(t, 'ECS_CLUSTER=c\n', []), { status: 65, stderr: /holds no registry credential.*\n.*fix: ecs-regcred sync/ })
  t.match(await probe(t, ecsConfig({ auths: { 'r.example.com': auth() } }), []), { status: 65, stderr: /Malformed auth data for registry auths/ }, "with the ECS agent's own words")
  const json = await probe(t, undefined, ['--json'])
  t.match(JSON.parse(json.stdout), { ok: false, code: 'E_ECS_CONFIG' })
})

/** Outside the test's own directory, which is the machine. */
function fileOf(t: Test, content: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'probe-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'file'), content)
  return join(dir, 'file')
}

t.test('another ecs.config, or a document as it would be rendered', async (t) => {
  const { host } = await serve(t, basicRegistry('ci', canary))
  const config = ecsConfig({ [host]: auth() })
  t.match(await probe(t, undefined, ['--from', fileOf(t, config)]), { status: 0, stdout: /accepted/ })
  const document = JSON.stringify({ auths: { [host]: { username: 'ci', password: canary } } })
  t.match(await probe(t, undefined, ['--document', '-'], { stdin: document }), { status: 0, stdout: /accepted/ })
  t.match(await probe(t, undefined, ['--document', '-'], { stdin: `{"auths": ${canary}` }), { status: 65 })
  t.match(await probe(t, undefined, ['--document', '-', '--from', 'x']), { status: 64 })
})

t.test('on a terminal: colour and lines that fit', async (t) => {
  const { host } = await serve(t, basicRegistry('ci', 'another'))
  const config = ecsConfig({ [host]: auth() })
  const wide = await probe(t, config, [], { tty: true })
  t.match(wide.stdout, /\u001b\[31mrefused\u001b\[0m/)
  const narrow = await probe(t, config, [], { tty: true, columns: 40, environment: { NO_COLOR: '1' } })
  t.notMatch(narrow.stdout, '\u001b')
  t.match(narrow.stdout, new RegExp(`^refused {3}${host}\n {2}\\S`))
  t.ok(narrow.stdout.split('\n').every((line) => line.length <= 40))
  t.notMatch((await probe(t, config, [], { tty: true, environment: { TERM: 'dumb' } })).stdout, '\u001b')
})

t.test('Ctrl-C ends it as an interruption: 75', async (t) => {
  const stopping = new AbortController()
  const host = await serveRaw(t, () => stopping.abort())
  t.match(await probe(t, ecsConfig({ [host]: auth() }), ['--json'], { signal: stopping.signal }), { status: 75, stdout: /^\{"ok":false,"code":"E_INTERRUPTED","message":"interrupted"/, stderr: '' })
})

t.test('a dozen registries are asked without a word of Node', async (t) => {
  const warned: string[] = []
  const onWarning = ({ name }: Error): unknown => warned.push(name)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const hosts = await Promise.all(Array.from({ length: 12 }, () => serve(t, basicRegistry('ci', canary))))
  t.equal((await probe(t, ecsConfig(Object.fromEntries(hosts.map(({ host }) => [host, auth()]))), [])).status, 0)
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(warned.includes('MaxListenersExceededWarning'))
})

t.test('a time-out of its own', async (t) => {
  const host = await serveRaw(t, () => undefined)
  t.match(await probe(t, ecsConfig({ [host]: auth() }), ['--timeout', '100ms']), { status: 69, stdout: /within 0\.1 s/ })
  t.match(await probe(t, ecsConfig({ [host]: auth() }), ['--timeout', 'soon']), { status: 64, stderr: /--timeout takes a duration/ })
  t.equal((await probe(t, ecsConfig({ [host]: auth() }), ['--timeout', '0'])).status, 64)
})
