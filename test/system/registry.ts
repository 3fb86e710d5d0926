/**
 * What it is all for: an image from a private registry is pulled, before and after its password changes. A real Docker daemon, a real docker-registry
 * with htpasswd, a real `docker login`; the entry that the ECS agent would choose goes to the daemon as the ECS agent sends it.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type AgentEntry, chooseEntry } from '../../src/core/ecs-matching.js'
import { httpRequest } from '../../src/http-request.js'
import { authOnDisk } from '../../src/pass/auth-on-disk.js'
import { freePort, testMachine } from '../fixtures/machine.js'

const never = new AbortController().signal

void t.test('an image of a private registry is pulled before and after its password changes', async (t) => {
  // Not t.testdir(): the path of a Unix socket holds 107 bytes at most.
  const dir = mkdtempSync(join(tmpdir(), 'regcred-docker-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const daemon = await startDaemon(t, dir)
  const registry = await startRegistry(t, dir)
  const image = `${registry.host}/team/app:v1`
  const machine = await testMachine(t, { ecsConfig: 'ECS_CLUSTER=test\n' })
  await machine.startEcsAgent()
  const docker = (args: readonly string[], input = '') => execFileSync('docker', ['-H', `unix://${daemon.socket}`, ...args], {
    input, encoding: 'utf8', env: { ...process.env, DOCKER_CONFIG: dirname(machine.dockerConfig) }, stdio: ['pipe', 'pipe', 'pipe'],
  })
  const login = (password: string): void => void docker(['login', '--username', 'ci', '--password-stdin', registry.host], password)
  const chosen = (): AgentEntry | undefined => chooseEntry(authOnDisk(Buffer.from(machine.file())).auth, image).entry

  registry.setPassword('first pässword/+"\\')
  login('first pässword/+"\\')
  pushImage(docker, dir, image)
  t.match(await daemon.pull(image, undefined), /no basic auth credentials|unauthorized/, 'without credentials there is nothing to be had')

  t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'restarted', registries: [registry.host] }, 'sync takes what docker login wrote')
  const first = chosen()
  t.match(first, { username: 'ci' })
  t.match(await daemon.pull(image, first), /Downloaded newer image|Image is up to date/)
  t.equal(await daemon.inspectStatus(image, first), 200)

  const service = machine.service()
  await service.next('service.ready')
  registry.setPassword('second-password')
  docker(['rmi', image])
  t.match(await daemon.pull(image, first), /unauthorized/, 'the password of before is worth nothing now')
  const verified = service.next('ecs-agent.verified')
  login('second-password')
  t.match(await verified, { trigger: 'file' })
  const second = chosen()
  t.match(await daemon.pull(image, second), /Downloaded newer image|Image is up to date/)
  t.equal(await daemon.inspectStatus(image, second), 200)
  t.equal(await daemon.inspectStatus(image, first), 401)

  const refused = service.next('credentials.refused')
  machine.login('mistyped-password', 'ci', registry.host)
  t.match(await refused, { code: 'E_REGISTRY_REFUSED', msg: /unauthorized|401/ })
  docker(['rmi', image])
  t.match(await daemon.pull(image, chosen()), /Downloaded newer image|Image is up to date/, 'what works stays')

  t.match(JSON.parse((await machine.run('probe', '--image', image, '--json')).stdout), { ok: true, registries: [{ registry: registry.host, verdict: 'accepted' }] })
  t.notMatch(service.output(), /pässword|second-password|mistyped-password/)
  await service.stop()
})

/** An image of one file, pushed and then forgotten, so that a pull has to ask the registry. */
function pushImage(docker: (args: readonly string[], input?: string) => string, dir: string, image: string): void {
  const archive = join(dir, 'image.tar')
  mkdirSync(join(dir, 'content'))
  writeFileSync(join(dir, 'content/hello'), 'hello\n')
  execFileSync('tar', ['-C', join(dir, 'content'), '-cf', archive, '.'])
  docker(['import', archive, image])
  docker(['push', image])
  docker(['rmi', image])
}

/** A daemon of our own, with nothing of the machine's network to change: no bridge, no firewall rules. */
async function startDaemon(t: Test, dir: string) {
  const socket = join(dir, 'docker.sock')
  const child = spawn('dockerd', [
    '--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec'), '--pidfile', join(dir, 'docker.pid'), '--host', `unix://${socket}`,
    '--bridge', 'none', '--iptables=false', '--ip6tables=false', '--storage-driver', 'vfs', '--group', 'root',
  ], { stdio: ['ignore', 'ignore', 'pipe'] })
  const log = collect(child)
  t.teardown(() => end(child, 'SIGTERM'))
  const call = (method: string, path: string, headers: Record<string, string> = {}) => httpRequest(`http://docker${path}`, { method, socketPath: socket, headers, timeoutMs: 30_000 }, never)
  await until(child, log, async () => existsSync(socket) && (await call('GET', '/_ping')).status === 200)
  // As the ECS agent: dockercfg entries become username and password (dockerauth.go), sent as base64url JSON, padded (docker_client.go).
  const headers = (entry: AgentEntry | undefined): Record<string, string> => entry === undefined ? {} : {
    'x-registry-auth': Buffer.from(JSON.stringify({ username: entry.username, password: entry.password.reveal() })).toString('base64').replaceAll('+', '-').replaceAll('/', '_'),
  }
  return {
    socket,
    /** @returns what the daemon said */
    pull: async (image: string, entry: AgentEntry | undefined): Promise<string> => {
      const [, name = '', tag = ''] = /^(.+):(.+)$/.exec(image) ?? []
      return (await call('POST', `/images/create?fromImage=${encodeURIComponent(name)}&tag=${tag}`, headers(entry))).body.toString()
    },
    inspectStatus: async (image: string, entry: AgentEntry | undefined) => (await call('GET', `/distribution/${image}/json`, headers(entry))).status,
  }
}

async function startRegistry(t: Test, dir: string) {
  const host = `127.0.0.1:${await freePort()}`
  const htpasswd = join(dir, 'htpasswd')
  const setPassword = (password: string): void => void execFileSync('htpasswd', ['-iBc', htpasswd, 'ci'], { input: password, stdio: ['pipe', 'ignore', 'ignore'] })
  setPassword('to be changed')
  writeFileSync(join(dir, 'registry.yml'), [
    'version: 0.1', `storage: { filesystem: { rootdirectory: ${dir}/registry } }`, 'log: { accesslog: { disabled: true } }',
    `http: { addr: "${host}", secret: test }`, `auth: { htpasswd: { realm: Registry, path: ${htpasswd} } }`, '',
  ].join('\n'))
  const child = spawn('docker-registry', ['serve', join(dir, 'registry.yml')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const log = collect(child)
  t.teardown(() => end(child, 'SIGKILL'))
  await until(child, log, async () => (await httpRequest(`http://${host}/v2/`, { timeoutMs: 2_000 }, never)).status === 401)
  return { host, setPassword }
}

function collect(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => { text += chunk.toString() })
  return () => text.split('\n').slice(-20).join('\n')
}

async function until(child: ChildProcess, log: () => string, ready: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && child.exitCode === null; await sleep(50)) {
    if (await ready().catch(() => false)) return
  }
  throw new Error(`${child.spawnfile} does not answer:\n${log()}`)
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}
