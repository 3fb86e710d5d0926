/**
 * The installed service on booted machines: systemd 252 as PID 1, the release and its units, an ecs.service as on Amazon Linux 2023. The source is a
 * docker config.json; user-data.ts follows a secret.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LogLine } from '../fixtures/machine.js'
import { bootMachine, createNetwork, installStandInEcs, makeRoot, type Machine, overlayRoot, STARTS } from './fixtures/nspawn.js'
import { unpackRelease } from './fixtures/release.js'

const HOST = 'registry.example.com'
const auth = (password: string): string => Buffer.from(`ci:${password}`).toString('base64')
const sha256 = (password: string): string => createHash('sha256').update(`{"${HOST}":{"auth":"${auth(password)}"}}`).digest('hex')
const PASSWORDS = ['c4nary-one', 'c4nary-two', 'c4nary-three', 'c4nary-four', 'c4nary-five', 'c4nary-six', 'c4nary-seven', 'c4nary-eight']

for (const docker of [true, false]) {
  void t.test(`${docker ? 'with' : 'without'} a Docker socket`, async (t) => {
    const host = await bootWithService(t, { docker })
    const { machine } = host

    await t.test('the first start of the ECS agent holds what docker login left before the boot', async (t) => {
      t.equal(await machine.settled(), 'running')
      await host.event('service.ready')
      await machine.until(`[ -s ${STARTS} ]`)
      t.strictSame(await host.starts(), [sha256('c4nary-one')])
      t.equal(await host.show('NRestarts'), '0')
    })

    await t.test('docker login arrives with one restart', async (t) => {
      const verified = host.event('ecs-agent.verified')
      host.login('c4nary-two')
      t.match(await verified, { trigger: 'file', registries: [HOST] })
      t.strictSame((await host.starts()).slice(1), [sha256('c4nary-two')])
      t.equal((await machine.run(['stat', '-c', '%a %U', '/etc/ecs/ecs.config'])).stdout, '600 root')
    })

    await t.test('a file that somebody spoilt is put right by systemctl reload', async (t) => {
      await host.idle()
      const before = readFileSync(host.ecsConfig, 'utf8')
      writeFileSync(host.ecsConfig, 'ECS_CLUSTER=test\n')
      const written = host.event('ecs-config.written')
      t.equal((await machine.run(['systemctl', 'reload', 'ecs-regcred'])).exitCode, 0)
      t.match(await written, { trigger: 'signal' })
      await host.idle()
      t.equal(readFileSync(host.ecsConfig, 'utf8'), before)
      // Its container shows that it holds the credentials all the same; a start before the write proves nothing.
      t.equal((await host.starts()).length, docker ? 2 : 3)
    })

    await t.test('and by the poll', async (t) => {
      await machine.shell('sed -i "/REGCRED_INTERVAL/d" /etc/ecs-regcred/ecs-regcred.env; echo REGCRED_INTERVAL=2s >>/etc/ecs-regcred/ecs-regcred.env; systemctl restart ecs-regcred')
      await host.event('service.ready')
      await host.event('credentials.unchanged', ({ trigger }) => trigger === 'start')
      const before = readFileSync(host.ecsConfig, 'utf8')
      const written = host.event('ecs-config.written')
      writeFileSync(host.ecsConfig, 'ECS_CLUSTER=test\n')
      t.match(await written, { trigger: 'poll' })
      t.equal(readFileSync(host.ecsConfig, 'utf8'), before)
      await host.idle()
    })

    await t.test('an ECS agent that an administrator stopped stays stopped, and its own start holds the new credential', async (t) => {
      await machine.run(['systemctl', 'stop', 'ecs'])
      const before = (await host.starts()).length
      const written = host.event('ecs-config.written')
      host.login('c4nary-three')
      await written
      await host.idle()
      t.equal(await host.show('ActiveState'), 'inactive')
      t.equal((await host.starts()).length, before)
      await machine.run(['systemctl', 'start', 'ecs'])
      await machine.until(`[ "$(wc -l <${STARTS})" -gt ${before} ]`)
      t.equal((await host.starts()).at(-1), sha256('c4nary-three'))
      await host.idle()
      t.equal((await host.starts()).length, before + 1, 'and no restart follows')
    })

    await t.test('a restart that is owed at a reboot is paid by the boot', async (t) => {
      await machine.run(['systemctl', 'stop', 'ecs-regcred'])
      host.login('c4nary-four')
      const { exitCode, stdout } = await machine.run(['ecs-regcred', 'sync', '--no-restart', '--json'])
      t.equal(exitCode, 0, stdout)
      t.match(JSON.parse(stdout), { action: 'wrote', warnings: [{ code: 'W_RESTART_OWED' }] })
      t.match(JSON.parse((await machine.run(['ecs-regcred', 'status', '--json'])).stdout), { restartOwed: true, file: { inSync: true }, ecsAgent: { inSync: false } })
      const before = (await host.starts()).length
      await machine.reboot()
      t.equal(await machine.settled(), 'running')
      await machine.until(`[ "$(wc -l <${STARTS})" -gt ${before} ] && systemctl is-active ecs-regcred`)
      await host.idle()
      t.strictSame((await host.starts()).slice(before), [sha256('c4nary-four')], 'by its own start, and no other')
      t.match(JSON.parse((await machine.run(['ecs-regcred', 'status', '--json'])).stdout), { restartOwed: false, ecsAgent: { running: true, inSync: true } })
    })

    await host.nothingSpilt(t)
  })
}

void t.test('each way in which a restart fails is told apart', async (t) => {
  const host = await bootWithService(t, { docker: true, settings: ['--verify-timeout', '6s'] })
  const { machine } = host
  await machine.settled()
  await host.event('service.ready')
  await host.idle()

  await t.test('the ECS agent ends with status 5, its terminal failure: rolled back once, and not fought', async (t) => {
    const before = (await host.starts()).length
    writeFileSync(join(machine.root, 'var/lib/die'), '5')
    const rolledBack = host.event('ecs-agent.rolled-back')
    host.login('c4nary-two')
    t.match(await rolledBack, { healthy: false, detail: /ActiveState=failed.*Result=exit-code.*ExecMainStatus=5/ })
    t.equal((await host.starts()).length, before + 2, 'the change, and the way back')
    const warned = host.event('pass.warning', ({ code }) => code === 'W_ECS_AGENT_DOWN')
    await machine.run(['systemctl', 'reload', 'ecs-regcred'])
    t.match(await warned, { msg: /ended with status 5, its terminal failure/ })
    t.equal((await host.starts()).length, before + 2)
    await machine.shell('rm /var/lib/die; systemctl start ecs')
    await host.recovers('c4nary-three')
  })

  await t.test('the ECS agent ends with status 1 again and again', async (t) => {
    writeFileSync(join(machine.root, 'var/lib/die'), '1')
    const rolledBack = host.event('ecs-agent.rolled-back')
    host.login('c4nary-four')
    t.match(await rolledBack, { healthy: false, detail: /SubState=auto-restart.*ExecMainStatus=1/ })
    await machine.shell('rm /var/lib/die; systemctl restart ecs')
    await host.recovers('c4nary-five')
  })

  await t.test('systemd refuses to start it that often', async (t) => {
    await machine.shell('mkdir -p /run/systemd/system/ecs.service.d; printf "[Unit]\\nStartLimitIntervalSec=1h\\nStartLimitBurst=1\\n" >/run/systemd/system/ecs.service.d/limit.conf; systemctl daemon-reload; systemctl restart ecs; systemctl restart ecs')
    await machine.shell('rm -r /run/systemd/system/ecs.service.d; systemctl daemon-reload; systemctl reset-failed ecs; systemctl start ecs')
    await host.recovers('c4nary-six')
    await machine.shell('mkdir -p /run/systemd/system/ecs.service.d; printf "[Unit]\\nStartLimitIntervalSec=1h\\nStartLimitBurst=1\\n" >/run/systemd/system/ecs.service.d/limit.conf; systemctl daemon-reload; systemctl restart ecs')
    await machine.until('curl --fail --silent http://127.0.0.1:51678/v1/metadata')
    const rolledBack = host.event('ecs-agent.rolled-back')
    host.login('c4nary-seven')
    t.match(await rolledBack, { healthy: false, detail: /Result=start-limit-hit/ })
    await machine.shell('rm -r /run/systemd/system/ecs.service.d; systemctl daemon-reload; systemctl reset-failed ecs; systemctl start ecs')
    await host.recovers('c4nary-eight')
  })

  await t.test('its unit is masked', async (t) => {
    await machine.shell('mv /etc/systemd/system/ecs.service /root/; ln -s /dev/null /etc/systemd/system/ecs.service; systemctl daemon-reload')
    const failed = host.event('restart.failed')
    host.login('c4nary-one')
    t.match(await failed, { code: 'E_RESTART_FAILED', msg: /masked/, fix: /systemctl unmask ecs/ })
    await machine.shell('rm /etc/systemd/system/ecs.service; mv /root/ecs.service /etc/systemd/system/; systemctl daemon-reload')
    await host.recovers('c4nary-two')
  })

  await t.test('there is no such unit', async (t) => {
    await machine.run(['systemctl', 'stop', 'ecs-regcred'])
    host.login('c4nary-three')
    const { exitCode, stdout } = await machine.run(['ecs-regcred', 'sync', '--ecs-service', 'elsewhere', '--json'])
    t.equal(exitCode, 69, stdout)
    t.match(JSON.parse(stdout), { ok: false, code: 'E_NO_ECS_SERVICE', message: /neither systemd nor Upstart has a service named elsewhere/, fix: /--ecs-service/ })
    await machine.run(['systemctl', 'start', 'ecs-regcred'])
    await host.recovers('c4nary-four')
  })

  await host.nothingSpilt(t)
})

/** A machine on which `docker login` was made and the service installed, before its first boot. */
async function bootWithService(t: Test, { docker, settings = [] }: { docker: boolean; settings?: readonly string[] }) {
  const root = await overlayRoot(makeRoot('machine'))
  t.teardown(root.dispose)
  const network = await createNetwork()
  t.teardown(network.dispose)
  installStandInEcs(root.path, { options: '--exit-status-file /var/lib/die' })
  if (!docker) {
    const unit = join(root.path, 'etc/systemd/system/ecs.service')
    writeFileSync(unit, readFileSync(unit, 'utf8').replace(' --docker-socket /var/run/docker.sock', ''))
  }
  const login = (password: string): void => {
    const path = join(root.path, 'root/.docker/config.json')
    writeFileSync(`${path}123`, JSON.stringify({ auths: { [HOST]: { auth: auth(password) } } }, null, '\t'), { mode: 0o600 })
    renameSync(`${path}123`, path)
  }
  mkdirSync(join(root.path, 'root/.docker'), { mode: 0o700, recursive: true })
  login('c4nary-one')
  const release = unpackRelease('x64')
  t.teardown(release.dispose)
  // Nothing answers for the registry here; registry.ts has a real one.
  execFileSync('sh', [join(release.dir, 'install.sh'), '--docker-config', '/root/.docker/config.json', '--probe', 'off', '--interval', '1h', '--min-restart-gap', '0s', '--log-level', 'debug', ...settings], {
    env: { ...process.env, DESTDIR: root.path }, stdio: ['ignore', 'ignore', 'inherit'],
  })
  const machine: Machine = await bootMachine({ root: root.path, network })
  t.teardown(machine.stop)

  const log = async (): Promise<LogLine[]> => {
    const { stdout } = await machine.shell('journalctl --no-pager -o cat -u ecs-regcred')
    return stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogLine)
  }
  let told = 0
  const host = {
    machine, login,
    ecsConfig: join(root.path, 'etc/ecs/ecs.config'),
    show: async (property: string) => (await machine.run(['systemctl', 'show', '-p', property, '--value', 'ecs'])).stdout.trim(),
    /** The next line of that event, after those that were waited for before. */
    event: async (event: string, matches: (line: LogLine) => boolean = () => true): Promise<LogLine> => {
      for (const deadline = Date.now() + 90_000; Date.now() < deadline; await new Promise((later) => setTimeout(later, 100))) {
        const lines = await log()
        const at = lines.findIndex((line, index) => index >= told && line.event === event && matches(line))
        if (at < 0) continue
        told = at + 1
        return lines[at] as LogLine
      }
      throw new Error(`no ${event} came; the service logged last:\n${(await log()).slice(-10).map((line) => JSON.stringify(line)).join('\n')}`)
    },
    /** Resolves when the pass that it asked for had nothing to do. */
    idle: async (): Promise<void> => {
      for (const deadline = Date.now() + 90_000; Date.now() < deadline;) {
        const before = (await log()).length
        await machine.run(['systemctl', 'reload', 'ecs-regcred'])
        for (let look = 0; look < 20; look++) {
          const since = (await log()).slice(before)
          if (since.some(({ event, trigger }) => event === 'credentials.unchanged' && trigger === 'signal') && !since.some(({ event }) => event === 'ecs-agent.restarting')) {
            told = (await log()).length
            return
          }
          await new Promise((later) => setTimeout(later, 100))
        }
      }
      throw new Error(`the service does not come to rest; it logged last:\n${(await log()).slice(-10).map((line) => JSON.stringify(line)).join('\n')}`)
    },
    /** The next change is live: what failed before has left nothing behind. */
    recovers: async (password: string): Promise<void> => {
      await machine.until('systemctl is-active ecs')
      login(password)
      await host.event('ecs-agent.verified')
      await host.idle()
      if ((await host.starts()).at(-1) !== sha256(password)) throw new Error('the ECS agent does not hold the last credential')
    },
    starts: async () => (await machine.shell(`cat ${STARTS}`)).stdout.trim().split('\n').map((line) => (JSON.parse(line) as { authDataSha256: string | null }).authDataSha256),
    /** No password in the journal, in any log, in a process's arguments or environment, and no core dump of the service. */
    nothingSpilt: async (t: Test): Promise<void> => {
      const forms = [...PASSWORDS, ...PASSWORDS.map(auth)].join('|')
      const { stdout } = await machine.shell(`journalctl --no-pager -o json --all | grep -cE '${forms}'; grep -rlE '${forms}' /var/log /run /tmp /var/tmp /var/lib/ecs-regcred/state.json /etc/ecs-regcred 2>/dev/null; pid=$(systemctl show -p MainPID --value ecs-regcred); tr '\\0' '\\n' <"/proc/$pid/cmdline" | grep -cE '${forms}'; tr '\\0' '\\n' <"/proc/$pid/environ" | grep -cE '${forms}'; grep 'core file' "/proc/$pid/limits"`)
      t.match(stdout, /^0\n0\n0\nMax core file size +0 +0 +bytes\s*$/)
    },
  }
  return host
}
