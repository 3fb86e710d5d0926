/**
 * A machine for the benchmarks in a temporary tree: an ecs.config, an ECS agent that answers on a Docker socket and by introspection, a systemctl that
 * tells when it was called, a Secrets Manager on loopback. All of it lives in this process: what is measured shares the machine with nothing else of ours.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { chmodSync, createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const REST_MS = 100
const REGISTRY = 'registry.example.com:5000'
const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:registry-AbCdEf'

/** `{"auths":{…}}` as `docker login` writes it. */
export function dockerConfig(password, registries = 1) {
  const entry = { auth: Buffer.from(`ci:${password}`).toString('base64') }
  const auths = Object.fromEntries(Array.from({ length: registries }, (_, n) => [n === 0 ? REGISTRY : `registry-${n}.example.com`, entry]))
  return JSON.stringify({ auths }, null, '\t')
}

/** @returns {Promise<Awaited<ReturnType<typeof build>>>} to be closed */
export async function standInMachine(options = {}) {
  // Short, because the path of a Unix socket holds 107 bytes at most; on a disk, because that is what an fsync costs something on; and where nobody else
  // makes files: the service watches each directory on the way to its source.
  const root = mkdtempSync(join(process.getuid() === 0 ? '/var/lib' : tmpdir(), 'regcred-bench-'))
  return build(root, options)
}

async function build(root, { source = 'file', registries = 1 }) {
  const events = new EventEmitter()
  const standIn = join(root, 'stand-in')
  for (const folder of ['etc/ecs', 'etc/regcred', 'bin', 'stand-in', 'var/run', 'var/lib/ecs-regcred']) mkdirSync(join(root, folder), { recursive: true })
  const ecsConfig = join(root, 'etc/ecs/ecs.config')
  const configJson = join(root, 'etc/regcred/config.json')
  const stateDir = join(root, 'var/lib/ecs-regcred')
  writeFileSync(ecsConfig, 'ECS_CLUSTER=bench\n# a line of somebody else\n')

  // The ECS agent: what it holds is what the file held at its last start.
  let holds = []
  const start = () => { holds = readFileSync(ecsConfig, 'utf8').split('\n').filter((line) => line.includes('=')) }
  start()
  const docker = createServer((_request, response) => answer(response, { State: { Running: true, ExitCode: 0, StartedAt: new Date().toISOString() }, Config: { Env: holds } }))
  const introspection = createServer((_request, response) => answer(response, {
    Cluster: 'bench', Version: 'Amazon ECS Agent - v1.105.1 (stand-in)', ContainerInstanceArn: 'arn:aws:ecs:eu-west-1:123456789012:container-instance/bench/0',
  }))
  await listen(docker, join(root, 'var/run/docker.sock'))
  await listen(introspection, 0, '127.0.0.1')

  // systemctl: a line in a pipe for each call. The clock is read here, so that it needs no program of its own for it.
  const pipe = join(standIn, 'calls')
  execFileSync('mkfifo', [pipe])
  writeFileSync(join(root, 'bin/systemctl'), `#!/bin/sh
echo "$*" >'${pipe}'
case $* in
  *restart*) [ ! -e '${standIn}/refuse' ] || { echo 'Failed to restart ecs.service: Connection timed out' >&2; exit 1; } ;;
  show*) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nResult=success\\nMainPID=%s\\nExecMainStatus=0\\nExecMainCode=0\\nExecMainStartTimestampMonotonic=1\\nActiveEnterTimestampMonotonic=1\\n' ${process.pid} ;;
esac
`)
  chmodSync(join(root, 'bin/systemctl'), 0o755)
  const calls = []
  // Open for reading and writing: a pipe with no writer left would end.
  const listener = createReadStream(pipe, { flags: 'r+' })
  listener.on('data', (chunk) => {
    const at = performance.now()
    for (const line of String(chunk).split('\n').filter(Boolean)) {
      calls.push(line)
      if (!line.includes('restart')) continue
      if (!existsSync(join(standIn, 'refuse'))) start()
      events.emit('restart', at)
    }
  })

  const secretsManager = await startSecretsManager(dockerConfig('first-password', registries), root)
  const put = (text) => {
    secretsManager.put(text)
    // A rename over it, as docker does.
    writeFileSync(`${configJson}.new`, text, { mode: 0o600 })
    renameSync(`${configJson}.new`, configJson)
  }
  const login = (password) => put(dockerConfig(password, registries))
  login('first-password')

  // ecs.config appears under its name by a rename alone; `next-pass` is written when a pass has ended.
  const configWatch = watch(join(root, 'etc/ecs'), (event, name) => {
    if (event === 'rename' && name === 'ecs.config') events.emit('renamed', performance.now())
  })
  let lastPass = ''
  let passedAt = -Infinity
  const stateWatch = watch(stateDir, (_event, name) => {
    if (name !== 'next-pass') return
    const text = readFileSync(join(stateDir, name), 'utf8')
    if (text === lastPass || !text.endsWith('\n')) return
    lastPass = text
    passedAt = performance.now()
    events.emit('pass', passedAt)
  })

  const environment = {
    PATH: `${join(root, 'bin')}:/usr/bin:/bin`, HOME: root, REGCRED_ROOT: root, REGCRED_INIT: 'systemd', REGCRED_PROBE: 'off',
    REGCRED_INTROSPECTION_URL: `http://127.0.0.1:${introspection.address().port}`,
    REGCRED_MIN_RESTART_GAP: '0s', REGCRED_SPLAY: '0s', REGCRED_INTERVAL: '1d',
    ...(source === 'file' ? { REGCRED_DOCKER_CONFIG: configJson } : {
      REGCRED_SECRET_ID: ARN, AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsManager.url, NODE_EXTRA_CA_CERTS: secretsManager.certificate, AWS_CA_BUNDLE: secretsManager.certificate, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'made-up', AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-1',
    }),
  }
  const children = new Set()
  return {
    root, ecsConfig, configJson, stateDir, environment, calls, secretsManager, put, login,
    /** Whether systemctl refuses to restart. */
    refuse: (on) => (on ? writeFileSync(join(standIn, 'refuse'), '') : rmSync(join(standIn, 'refuse'))),
    /** The time of the next `restart` (of the ECS agent asked), `renamed` (ecs.config replaced) or `pass` (ended), on this process's clock. */
    next: async (event, withinMs = 60_000) => (await once(events, event, { signal: AbortSignal.timeout(withinMs) }))[0],
    /**
     * Resolves when a pass has ended after `since` and none has followed it: a restart's pass watches the ECS agent, and one rename over a file may be
     * heard of twice. An event that comes before would be measured with the rest of those.
     */
    atRest: async (since = -Infinity) => {
      for (const end = performance.now() + 60_000; passedAt < since || passedAt === -Infinity || performance.now() - passedAt < REST_MS; await sleep(REST_MS / 4)) {
        if (performance.now() > end) throw new Error('the service does not come to rest')
      }
    },
    /** Starts the program; `ready` resolves with the milliseconds to `service.ready`. */
    start: (program, args, extra = {}) => {
      const began = performance.now()
      const child = spawn(program[0], [...program.slice(1), ...args], { env: { ...environment, ...extra }, stdio: ['ignore', 'pipe', 'pipe'] })
      children.add(child)
      let output = ''
      const exited = once(child, 'exit').then(([status]) => {
        children.delete(child)
        return { status, ms: performance.now() - began, output }
      })
      const line = (text) => new Promise((resolve, reject) => {
        const look = () => output.includes(text) && resolve(performance.now() - began)
        for (const stream of [child.stdout, child.stderr]) stream.on('data', look)
        void exited.then(() => reject(new Error(`it ended before ${text}:\n${output}`)))
        look()
      })
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output = (output + chunk).slice(-20_000) })
      const ready = line('"service.ready"')
      ready.catch(() => {})
      return { pid: child.pid, child, ready, line, exited, stop: async () => { child.kill('SIGTERM'); await exited } }
    },
    close: async () => {
      for (const child of children) child.kill('SIGKILL')
      configWatch.close()
      stateWatch.close()
      writeFileSync(pipe, 'end\n')
      listener.destroy()
      for (const server of [docker, introspection, secretsManager.server]) { server.close(); server.closeAllConnections() }
      rmSync(root, { recursive: true, force: true })
    },
  }
}

async function startSecretsManager(first, root) {
  // TLS, as it is there: half of what a poll costs.
  const [certificate, key] = [join(root, 'certificate.pem'), join(root, 'key.pem')]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  let text = first
  const calls = []
  const versionOf = () => createHash('sha256').update(text).digest('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5')
  const server = createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
    const action = String(request.headers['x-amz-target']).split('.').at(-1)
    calls.push(action)
    const version = versionOf()
    const common = { ARN, Name: 'registry', CreatedDate: 1.7e9 }
    request.resume().on('end', () => answer(response, action === 'DescribeSecret' ? { ...common, VersionIdsToStages: { [version]: ['AWSCURRENT'] } }
      : { ...common, VersionId: version, VersionStages: ['AWSCURRENT'], SecretString: text }, 'application/x-amz-json-1.1'))
  })
  await listen(server, 0, '127.0.0.1')
  return { server, calls, certificate, url: `https://127.0.0.1:${server.address().port}`, arn: ARN, put: (value) => { text = value } }
}

function answer(response, body, type = 'application/json') {
  response.writeHead(200, { 'content-type': type, connection: 'close' }).end(JSON.stringify(body))
}

function listen(server, ...where) {
  return new Promise((resolve, reject) => server.once('error', reject).listen(...where, resolve))
}
