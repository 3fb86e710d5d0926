/**
 * The same measurements beside what one would use instead. A peer is one entry: how it is had, and how it is started on a secret so that it polls at
 * SIGHUP. It is given a machine with the stand-ins' environment.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readChildrenCpuMs, readMemory, readWork } from './process.mjs'
import { standInMachine } from './stand-ins.mjs'

const CACHE = process.env.ECS_REGCRED_CACHE ?? '/var/tmp/ecs-regcred-cache'
const AWSCLI_VERSION = '1.46.3'

const PEERS = [
  { name: 'ecs-regcred, release', isHere: (programs) => programs.release !== undefined, words: (_machine, programs) => [...programs.release, 'run'] },
  {
    name: `shell loop: aws CLI ${AWSCLI_VERSION} (pip) and jq`,
    isHere: () => {
      const venv = join(CACHE, `awscli-${AWSCLI_VERSION}`)
      if (!existsSync(join(venv, 'bin/aws'))) {
        execFileSync('python3', ['-m', 'venv', venv])
        execFileSync(join(venv, 'bin/pip'), ['--quiet', 'install', `awscli==${AWSCLI_VERSION}`])
      }
      return existsSync('/usr/bin/jq')
    },
    words: (machine) => {
      const loop = join(machine.root, 'loop.sh')
      writeFileSync(loop, SHELL_LOOP)
      return ['/bin/sh', loop, machine.ecsConfig]
    },
    path: join(CACHE, `awscli-${AWSCLI_VERSION}`, 'bin'),
  },
]

/** Written as one would: it compares, replaces by rename, keeps the other lines, restarts after a change. */
const SHELL_LOOP = `set -u
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
`

export async function peers({ programs, brief, report }) {
  const repetitions = brief ? 2 : 20
  for (const peer of PEERS) {
    if (!peer.isHere(programs)) continue
    const machine = await standInMachine({ source: 'secret' })
    try {
      const PATH = `${join(machine.root, 'bin')}:${peer.path ?? ''}:/usr/bin:/bin`
      let [renamed, restarted] = [machine.next('renamed'), machine.next('restart')]
      const began = performance.now()
      const service = machine.start(peer.words(machine, programs), [], { PATH })
      report(`${peer.name}: start to the first file`, 'ms', [await renamed - began])
      await restarted
      await quiet(service.pid)
      const tree = family(service.pid).map(readMemory)
      report(`${peer.name}: private memory, idle`, 'MiB', [sum(tree, 'private')])
      report(`${peer.name}: RSS, idle`, 'MiB', [sum(tree, 'rss')])

      const [cpu, wake] = [[], []]
      for (let n = 0; n < repetitions; n++) {
        let before = cpuMs(service.pid)
        service.child.kill('SIGHUP')
        await quiet(service.pid)
        cpu.push(cpuMs(service.pid) - before)
        machine.login(`password-${n}`)
        ;[renamed, restarted] = [machine.next('renamed'), machine.next('restart')]
        const sent = performance.now()
        service.child.kill('SIGHUP')
        wake.push(await renamed - sent)
        await restarted
        await quiet(service.pid)
      }
      report(`${peer.name}: CPU of a poll that finds nothing new`, 'ms', cpu)
      report(`${peer.name}: SIGHUP to the file`, 'ms', wake)

      const good = readFileSync(machine.ecsConfig, 'utf8')
      machine.secretsManager.put('{"auths":{"registry.example.com:5000":')
      service.child.kill('SIGHUP')
      await quiet(service.pid)
      const kept = readFileSync(machine.ecsConfig, 'utf8') === good
      machine.login('password-for-a-refused-restart')
      machine.refuse(true)
      restarted = machine.next('restart')
      service.child.kill('SIGHUP')
      await restarted
      await quiet(service.pid)
      machine.refuse(false)
      const again = machine.next('restart', 10_000).then(() => true, () => false)
      service.child.kill('SIGHUP')
      report(`${peer.name}: a document cut in half leaves the file as it is (1: yes)`, '', [Number(kept)])
      report(`${peer.name}: a restart that was refused is asked for again (1: yes)`, '', [Number(await again)])
      service.child.kill('SIGKILL')
    } finally {
      await machine.close()
    }
  }
}

const sum = (list, name) => list.reduce((total, each) => total + each[name], 0)
const cpuMs = (pid) => family(pid).reduce((total, each) => total + readWork(each).cpuMs + readChildrenCpuMs(each), 0)

/** The process and what it has started, less the `sleep` of a shell, which is small but a process. */
function family(pid) {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number))
  return [pid, ...children.flatMap(family)]
}

/** Until nothing of it has run for a while. */
async function quiet(pid) {
  for (let last = -1, still = 0; still < 4; await sleep(100)) {
    let work = last
    try { work = cpuMs(pid) } catch { /* a child that ended just then */ }
    still = work - last < 1 ? still + 1 : 0
    last = work
  }
}
