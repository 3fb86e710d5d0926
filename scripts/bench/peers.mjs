/**
 * The same measurements beside what one would use instead. A peer is one entry: how it is had, what it follows, and how it is started there. Each is driven
 * alike: what it follows is changed, it is sent SIGHUP where it does not watch, and what it does to ecs.config and to systemctl is timed.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readChildrenCpuMs, readMemory, readWork } from './process.mjs'
import { standInMachine } from './stand-ins.mjs'

const CACHE = process.env.ECS_REGCRED_CACHE ?? '/var/tmp/ecs-regcred-cache'
const AWSCLI = { version: '1.46.3', venv: join(CACHE, 'awscli-1.46.3') }
const CONSUL_TEMPLATE = { version: 'v0.41.1', bin: join(CACHE, 'consul-template-v0.41.1') }

const OURS = { isHere: ({ programs }) => programs.release !== undefined, words: (_machine, programs) => [...programs.release, 'run'] }
const PEERS = [
  { name: 'ecs-regcred, a secret', source: 'secret', ...OURS },
  { name: `shell loop of aws CLI ${AWSCLI.version} and jq, a secret`, source: 'secret', isHere: installAwsCli, words: shellLoop, path: join(AWSCLI.venv, 'bin') },
  { name: 'ecs-regcred, a file', source: 'file', watches: true, ...OURS },
  { name: `consul-template ${CONSUL_TEMPLATE.version}, a file`, source: 'file', watches: true, isHere: installConsulTemplate, words: consulTemplate },
]

function installAwsCli() {
  if (!existsSync(join(AWSCLI.venv, 'bin/aws'))) {
    execFileSync('python3', ['-m', 'venv', AWSCLI.venv])
    execFileSync(join(AWSCLI.venv, 'bin/pip'), ['--quiet', 'install', `awscli==${AWSCLI.version}`])
  }
  return existsSync('/usr/bin/jq')
}

/** From Go's modules: a minute of compiling, so only where Go is here and there is time. */
function installConsulTemplate({ brief }) {
  const isThere = existsSync(join(CONSUL_TEMPLATE.bin, 'consul-template'))
  if (isThere || brief || spawnSync('go', ['version']).status !== 0) return isThere
  execFileSync('go', ['install', `github.com/hashicorp/consul-template@${CONSUL_TEMPLATE.version}`], { env: { ...process.env, GOBIN: CONSUL_TEMPLATE.bin }, stdio: ['ignore', 'ignore', 'inherit'] })
  return true
}

/** Written as one would: it compares, replaces by rename, keeps the other lines, restarts after a change. */
function shellLoop({ root, ecsConfig }) {
  const loop = join(root, 'loop.sh')
  writeFileSync(loop, `set -u
file=$1
trap : HUP
while :; do
  if secret=$(aws secretsmanager get-secret-value --endpoint-url "$AWS_ENDPOINT_URL_SECRETS_MANAGER" --secret-id "$REGCRED_SECRET_ID" --query SecretString --output text); then
    auth=$(printf '%s' "$secret" | jq -c .auths)
    { grep -v '^ECS_ENGINE_AUTH' "$file"; echo ECS_ENGINE_AUTH_TYPE=dockercfg; printf 'ECS_ENGINE_AUTH_DATA=%s\\n' "$auth"; } >"$file.new"
    if cmp -s "$file" "$file.new"; then rm "$file.new"; else mv "$file.new" "$file"; systemctl --no-block restart ecs; fi
  fi
  sleep 86400 &
  wait $!
  kill $! 2>/dev/null
done
`)
  return ['/bin/sh', loop, ecsConfig]
}

/** The other lines stand in the template, since it writes whole files. */
function consulTemplate({ root, ecsConfig, configJson }) {
  const template = join(root, 'ecs.config.ctmpl')
  writeFileSync(template, `ECS_CLUSTER=bench
# a line of somebody else
ECS_ENGINE_AUTH_TYPE=dockercfg
ECS_ENGINE_AUTH_DATA={{ with file "${configJson}" | parseJSON }}{{ .auths | toJSON }}{{ end }}
`)
  return [join(CONSUL_TEMPLATE.bin, 'consul-template'), '-template', `${template}:${ecsConfig}:systemctl --no-block restart ecs`]
}

export async function peers({ programs, brief, compare }) {
  for (const peer of PEERS) if (peer.isHere({ programs, brief })) await measure(peer, programs, brief ? 2 : 20, (...figure) => compare(peer.name, ...figure))
}

async function measure(peer, programs, repetitions, report) {
  const firsts = []
  for (let n = 0; n < repetitions / 2; n++) {
    const machine = await standInMachine({ source: peer.source })
    try {
      const { service, firstMs } = await startPeer(peer, programs, machine)
      firsts.push(firstMs)
      end(service)
    } finally {
      await machine.close()
    }
  }
  report('start to the first file', 'ms', firsts)

  const machine = await standInMachine({ source: peer.source })
  try {
    let { service, start } = await startPeer(peer, programs, machine)
    let renamed, restarted
    await quiet(service)
    const tree = family(service.pid).map(readMemory)
    report('private memory, idle', 'MiB', [sum(tree, 'private')])
    report('RSS, idle', 'MiB', [sum(tree, 'rss')])

    const [cpu, wake] = [[], []]
    for (let n = 0; n < repetitions; n++) {
      const before = cpuMs(service.pid)
      service.child.kill('SIGHUP')
      await quiet(service)
      cpu.push(cpuMs(service.pid) - before)
      ;[renamed, restarted] = [machine.next('renamed'), machine.next('restart')]
      machine.login(`password-${n}`)
      const changed = performance.now()
      if (!peer.watches) service.child.kill('SIGHUP')
      wake.push(await renamed - changed)
      await restarted
      await quiet(service)
    }
    report('CPU of a look that finds nothing new', 'ms', cpu)
    report('a change, or SIGHUP where it does not watch, to the file', 'ms', wake)

    // One that has ended is started again, as systemd does.
    let hasEnded = false
    const look = async () => {
      service.child.kill('SIGHUP')
      await quiet(service, LONG)
      if (service.child.exitCode === null) return
      hasEnded = true
      service = start()
      await quiet(service, LONG)
    }
    const good = readFileSync(machine.ecsConfig, 'utf8')
    machine.put('{"auths":{"registry.example.com:5000":')
    await quiet(service, LONG)
    await look()
    report('a document cut in half: the file stays as it is', '', [readFileSync(machine.ecsConfig, 'utf8') === good ? 'yes' : 'no'])
    report('… and the program goes on', '', [hasEnded ? 'no' : 'yes'])

    machine.refuse(true)
    restarted = machine.next('restart')
    machine.login('password-for-a-refused-restart')
    await look()
    await restarted
    machine.refuse(false)
    const again = machine.next('restart', 10_000).then(() => true, () => false)
    await look()
    report('a restart that was refused is asked for again', '', [await again ? 'yes' : 'no'])
    end(service)
  } finally {
    await machine.close()
  }
}

async function startPeer(peer, programs, machine) {
  const PATH = `${join(machine.root, 'bin')}:${peer.path ?? ''}:/usr/bin:/bin`
  const start = () => machine.start(peer.words(machine, programs), [], { PATH })
  const [renamed, restarted] = [machine.next('renamed'), machine.next('restart')]
  const began = performance.now()
  const service = start()
  const firstMs = await renamed - began
  await restarted
  return { service, start, firstMs }
}

const sum = (list, name) => list.reduce((total, each) => total + each[name], 0)
const cpuMs = (pid) => family(pid).reduce((total, each) => total + readWork(each).cpuMs + readChildrenCpuMs(each), 0)

/** The process and what it has started; nothing where it has ended meanwhile. */
function family(pid) {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number))
    return [pid, ...children.flatMap(family)]
  } catch {
    return []
  }
}

/** Tenths of a second. What polls a file every two seconds has looked by then. */
const LONG = 30

/** With the `sleep` of a shell, which would outlive it. */
function end({ pid, child }) {
  if (child.exitCode === null) for (const each of family(pid)) try { process.kill(each, 'SIGKILL') } catch { /* ended meanwhile */ }
}

/** Until nothing of it has run for that long, or it has ended. */
async function quiet({ pid, child }, tenths = 4) {
  for (let last = -1, still = 0; still < tenths && child.exitCode === null; await sleep(100)) {
    let work = last
    try { work = cpuMs(pid) } catch { /* a child that ended just then */ }
    still = work - last < 1 ? still + 1 : 0
    last = work
  }
}
