import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createNetwork, installStandInEcs, makeRoot, overlayRoot } from './fixtures/nspawn.js'
import { buildRelease, repository, tarballName } from './fixtures/release.js'

/** Every stanza of Upstart 0.6.5 (init(5) of that version). What is not here stops Amazon Linux 1 from loading the job at all. */
const STANZAS = ['description', 'author', 'version', 'emits', 'start on', 'stop on', 'expect', 'task', 'respawn', 'respawn limit', 'instance', 'env', 'export', 'exec', 'script',
  'pre-start', 'post-start', 'pre-stop', 'post-stop', 'normal exit', 'kill timeout', 'console', 'umask', 'nice', 'oom', 'limit', 'chroot', 'chdir']

t.test('the job has no stanza that Upstart 0.6.5 does not know', async (t) => {
  const { stanzas } = parseJob(readFileSync(join(repository, 'upstart/ecs-regcred.conf'), 'utf8'))
  t.ok(stanzas.length >= 10)
  for (const stanza of stanzas) t.ok(STANZAS.some((known) => stanza === known || stanza.startsWith(`${known} `)), stanza)
  // `console` is known, `console log` came with 1.4.
  for (const stanza of stanzas) t.notMatch(stanza, /^console log/, stanza)
})

t.test('the job: held to what it promises', async (t) => {
  const { stanzas } = parseJob(readFileSync(join(repository, 'upstart/ecs-regcred.conf'), 'utf8'))
  t.ok(stanzas.includes('start on starting ecs'), 'which holds ecs back until the file is written')
  t.ok(stanzas.includes('respawn limit 10 60'))
  t.ok(stanzas.includes('normal exit 0 64 78'), 'what another start cannot mend is not tried again')
  t.ok(stanzas.includes('limit core 0 0'))
})

t.test("Amazon Linux 1's user data, the boot write, the service and a reload, on a machine whose initctl answers as 0.6.5 does", async (t) => {
  const { root, inRoot, secretFile, network } = await upstartMachine(t)
  const checksum = readFileSync(join(buildRelease('x64'), `${tarballName('x64')}.sha256`), 'utf8').slice(0, 64)
  const userData = readFileSync(join(repository, 'scripts/user-data/amazon-linux-1.sh'), 'utf8')
    .replace(/^from=.*$/m, 'from=http://127.0.0.1:8080')
    .replace(/^x64=.*$/m, `x64=${checksum}`)
    .replace(/^settings=.*$/m, "settings='--probe off --splay 0s --min-restart-gap 0s --env AWS_REGION=us-east-1 --env AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:8080 --env AWS_ACCESS_KEY_ID=test --env AWS_SECRET_ACCESS_KEY=test'")
  writeFileSync(join(root, 'root/user-data'), userData)

  // Regression: initctl is in sbin, which cron's PATH and some agents' leave out.
  const installed = await inRoot('PATH=/bin:/usr/bin sh /root/user-data')
  t.equal(installed.exitCode, 0, installed.all)
  t.match(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), /ECS_CLUSTER=my-cluster\n[^]*ECS_ENGINE_AUTH_TYPE=dockercfg\n/)
  t.equal(statSync(join(root, 'etc/init/ecs-regcred.conf')).mode & 0o777, 0o644)
  t.ok(existsSync(join(root, 'etc/logrotate.d/ecs-regcred')))
  t.notOk(existsSync(join(root, 'etc/systemd/system/ecs-regcred.service')))
  const calls = readFileSync(join(root, 'tmp/calls'), 'utf8')
  t.match(calls, /^start --no-wait ecs-regcred$/m, 'started without waiting, which would be a deadlock in user data')
  t.notMatch(calls, /restart/)

  const job = parseJob(readFileSync(join(root, 'etc/init/ecs-regcred.conf'), 'utf8'))
  writeFileSync(secretFile, secret('second'))
  writeFileSync(join(root, 'tmp/pre-start'), job.preStart)
  t.equal((await inRoot('sh -e /tmp/pre-start')).exitCode, 0)
  t.match(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), base64('second'), 'pre-start writes what the source holds now')
  rmSync(secretFile)
  writeFileSync(join(root, 'tmp/pre-start'), job.preStart.replace('--timeout 60s', '--timeout 1s'))
  t.equal((await inRoot('sh -e /tmp/pre-start')).exitCode, 0, 'a source that is away does not keep ecs from starting')
  // Regression: nothing bounded a program that hangs, and Upstart holds ecs back for as long.
  const command = join(root, 'usr/bin/ecs-regcred')
  renameSync(command, `${command}.real`)
  writeFileSync(command, '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 })
  writeFileSync(join(root, 'tmp/pre-start'), job.preStart.replace(/^( *timeout .*) 90 /m, '$1 1 '))
  const began = Date.now()
  t.equal((await inRoot('sh -e /tmp/pre-start')).exitCode, 0)
  t.ok(Date.now() - began < 30_000, 'nor does one that hangs')
  renameSync(`${command}.real`, command)

  writeFileSync(secretFile, secret('second'))
  // Upstart gives a command with redirections to a shell, which then is the process (init/job_process.c).
  const service = network.spawn(['chroot', root, 'sh', '-e', '-c', `exec ${job.exec}`])
  const log = join(root, 'var/log/ecs-regcred.log')
  await lineIn(log, '"trigger":"start".*"event":"ecs-agent.verified"')
  t.equal(statSync(log).mode & 0o022, 0, 'nobody else writes the log')
  writeFileSync(secretFile, secret('third'))
  service.kill('SIGHUP') // initctl reload
  await lineIn(log, '"trigger":"signal".*"event":"ecs-config.written"')
  t.match(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), base64('third'))
  await lineIn(log, '"trigger":"signal".*"event":"ecs-agent.verified"')
  t.match(readFileSync(join(root, 'tmp/calls'), 'utf8'), /^stop ecs\n(status ecs\n)*start ecs$/m)
  t.notMatch(readFileSync(join(root, 'tmp/calls'), 'utf8'), /^restart/m)
  service.kill('SIGKILL')
  await service

  const gone = await inRoot('sh /opt/ecs-regcred/current/install.sh --uninstall; ls -d /etc/init/ecs-regcred.conf /etc/logrotate.d/ecs-regcred /opt/ecs-regcred 2>/dev/null')
  t.notMatch(gone.stdout, /^\//m)
  t.match(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), base64('third'))
})

const secret = (password: string): string => JSON.stringify({ username: 'ci', password, registry: 'registry.example.com' })
const base64 = (password: string): string => Buffer.from(`ci:${password}`).toString('base64')

/** A tree with Upstart's files, not booted, and an initctl that keeps the state of two jobs in files. */
async function upstartMachine(t: Test) {
  const { path: root, dispose } = await overlayRoot(makeRoot('machine'))
  t.teardown(dispose)
  const network = await createNetwork()
  t.teardown(network.dispose)
  execFileSync('mount', ['-t', 'proc', 'proc', join(root, 'proc')])
  mkdirSync(join(root, 'etc/ecs'), { recursive: true })
  mkdirSync(join(root, 'etc/init'), { recursive: true })
  writeFileSync(join(root, 'etc/ecs/ecs.config'), '')
  writeFileSync(join(root, 'etc/init/ecs.conf'), 'description "Amazon EC2 Container Service"\n')
  installStandInEcs(root, { enabled: false })
  rmSync(join(root, 'etc/systemd/system/ecs.service'))
  // The words of 0.6.5 (initctl.c). `ecs` is the stand-in; of our own job the test plays Upstart's part.
  writeFileSync(join(root, 'sbin/initctl'), `#!/bin/sh
echo "$*" >>/tmp/calls
command=$1
shift
[ "\${1-}" != --no-wait ] || shift
job=\${1-}
case $command in
  status) if [ -e "/tmp/$job.pid" ]; then echo "$job start/running, process $(cat "/tmp/$job.pid")"; else echo "$job stop/waiting"; fi ;;
  start)
    [ ! -e "/tmp/$job.pid" ] || { echo "initctl: Job is already running: $job" >&2; exit 1; }
    if [ "$job" = ecs ]; then
      setsid /usr/libexec/stand-in-ecs-agent/node /usr/libexec/stand-in-ecs-agent/ecs-agent.mjs --docker-socket /var/run/docker.sock >/dev/null 2>&1 </dev/null &
      echo $! >/tmp/ecs.pid
    else
      echo 1 >"/tmp/$job.pid"
    fi
    echo "$job start/running, process $(cat "/tmp/$job.pid")"
    ;;
  stop)
    [ -e "/tmp/$job.pid" ] || { echo "initctl: Unknown instance: " >&2; exit 1; }
    [ "$job" != ecs ] || kill "$(cat /tmp/ecs.pid)"
    rm "/tmp/$job.pid"
    echo "$job stop/waiting"
    ;;
esac
`)
  chmodSync(join(root, 'sbin/initctl'), 0o755)
  for (const name of ['start', 'stop', 'status']) {
    writeFileSync(join(root, 'sbin', name), `#!/bin/sh\nexec /sbin/initctl ${name} "$@"\n`)
    chmodSync(join(root, 'sbin', name), 0o755)
  }
  rmSync(join(root, 'usr/bin/systemctl'))

  const dir = mkdtempSync(join(tmpdir(), 'regcred-serve-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  execFileSync('cp', [join(buildRelease('x64'), tarballName('x64')), dir])
  const secretFile = join(dir, 'secret')
  writeFileSync(secretFile, secret('first'))
  const server = network.spawn([process.execPath, join(repository, 'test/system/fixtures/secrets-manager.mjs'), '--secret-file', secretFile, '--port', '8080', '--directory', dir])
  await new Promise<void>((resolve) => server.all.once('data', () => resolve()))
  const inRoot = (script: string) =>
    network.spawn(['chroot', root, 'env', '-i', 'PATH=/sbin:/usr/sbin:/bin:/usr/bin', 'HOME=/root', 'sh', '-c', script])
  await inRoot('initctl start ecs')
  t.teardown(() => inRoot('initctl stop ecs'))
  return { root, inRoot, secretFile, network }
}

/** The stanzas, comments and script bodies left out; the body of pre-start; the command of exec. */
function parseJob(text: string): { stanzas: string[]; preStart: string; exec: string } {
  const [, preStart = ''] = /^pre-start script\n([^]*?)^end script$/m.exec(text) ?? []
  const stanzas = text.replace(/^((?:pre|post)-(?:start|stop) )?script\n[^]*?^end script$/gm, '$1script').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
  return { stanzas, preStart, exec: stanzas.find((stanza) => stanza.startsWith('exec '))?.slice(5) ?? '' }
}

function lineIn(file: string, pattern: string): Promise<void> {
  return until(() => existsSync(file) && new RegExp(pattern).test(readFileSync(file, 'utf8')), `${pattern} in ${file}`)
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; !holds(); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`)
  }
}
