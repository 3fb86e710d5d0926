import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, appendFileSync, cpSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bootMachine, createNetwork, installStandInEcs, makeRoot, overlayRoot, STARTS, type Machine, type Network } from './fixtures/nspawn.js'
import { buildRelease, rebuiltRelease, repository, tarballName } from './fixtures/release.js'

const secret = (password: string): string => JSON.stringify({ username: 'ci', password, registry: 'registry.example.com' })
const rendered = (password: string): string => `{"registry.example.com":{"auth":"${Buffer.from(`ci:${password}`).toString('base64')}"}}`
const CANARY = 'canary-4711'

for (const file of ['shell.sh', 'batch.mime', 'cloud-config.yaml', 'shell-fail-closed.sh']) {
  t.test(`${file}: the ECS agent's first start already holds the credentials, with no restart and no deadlock`, async (t) => {
    const { machine } = await bootWith(t, file)
    const state = await machine.settled()
    if (state !== 'running') t.fail(`the machine is ${state}`, { log: (await machine.shell('systemctl --failed; tail -n 50 /var/log/cloud-init-output.log')).stdout })
    await machine.until('curl --fail --silent http://127.0.0.1:51678/v1/metadata')
    t.strictSame(await starts(machine), [sha256(rendered(CANARY))])
    t.equal((await machine.shell('systemctl show -p NRestarts --value ecs ecs-regcred')).stdout.replaceAll('\n', ''), '00')
    t.equal((await machine.shell('systemctl is-enabled ecs-regcred ecs-regcred-boot')).stdout, 'enabled\nenabled')
    await noCanary(t, machine)
  })
}

t.test('from rotation to uninstall on one machine', async (t) => {
  const { machine, servers } = await bootWith(t, 'shell.sh')
  await machine.settled()
  await machine.until('systemctl is-active ecs ecs-regcred')

  await t.test('a rotation arrives by reload, with one restart', async (t) => {
    writeFileSync(servers.secretFile, secret('rotated-1'))
    t.equal((await machine.run(['systemctl', 'reload', 'ecs-regcred'])).exitCode, 0)
    await machine.until(`[ "$(wc -l <${STARTS})" = 2 ]`)
    t.equal((await starts(machine)).at(-1), sha256(rendered('rotated-1')))
  })

  await t.test('what it runs as: no core dumps, its own hardening, a figure for it', async (t) => {
    const pid = (await machine.shell('systemctl show -p MainPID --value ecs-regcred')).stdout
    t.match((await machine.shell(`grep "core file" /proc/${pid}/limits`)).stdout, /core file size +0 +0/)
    t.match((await machine.shell(`grep NoNewPrivs /proc/${pid}/status`)).stdout, /1$/)
    const security = (await machine.shell('systemd-analyze security --no-pager ecs-regcred.service | tail -n 1')).stdout
    const [, figure] = /level for ecs-regcred\.service: ([\d.]+)/.exec(security) ?? []
    t.ok(Number(figure) <= 3, `exposure ${figure}`)
    t.equal((await machine.shell('systemd-analyze verify ecs-regcred.service ecs-regcred-boot.service 2>&1')).stdout, '')
  })

  await t.test('a hung service is ended and started again, without touching the ECS agent', async (t) => {
    const before = await starts(machine)
    await machine.shell('mkdir -p /run/systemd/system/ecs-regcred.service.d; printf "[Service]\\nWatchdogSec=3s\\nRestartSec=1s\\n" >/run/systemd/system/ecs-regcred.service.d/test.conf; systemctl daemon-reload; systemctl restart ecs-regcred')
    // Two of those periods: a service that is well says so in time.
    await machine.until('s=$(systemctl show -p ExecMainStartTimestampMonotonic --value ecs-regcred); [ $(($(cut -d. -f1 /proc/uptime) * 1000000 - s)) -gt 7000000 ]')
    t.equal((await machine.shell('systemctl show -p NRestarts --value ecs-regcred')).stdout, '0')
    await machine.shell('kill -STOP $(systemctl show -p MainPID --value ecs-regcred)')
    await machine.until('[ "$(systemctl show -p NRestarts --value ecs-regcred)" -ge 1 ] && systemctl is-active ecs-regcred')
    t.match((await machine.shell('journalctl -u ecs-regcred -o cat')).stdout, /[Ww]atchdog timeout/)
    t.strictSame(await starts(machine), before)
    await machine.shell('rm -r /run/systemd/system/ecs-regcred.service.d; systemctl daemon-reload; systemctl restart ecs-regcred')
  })

  await t.test('settings that are wrong stop it with 78, and are not tried again', async (t) => {
    // Regression: the installer put them into the place of those that worked, for the next boot to stumble over.
    const before = readFileSync(join(machine.root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8')
    const refused = await machine.shell('sh /opt/ecs-regcred/current/install.sh --interval often')
    t.equal(refused.exitCode, 78)
    t.match(refused.stderr, /REGCRED_INTERVAL=often: write a duration[^]*as it was$/)
    t.equal(readFileSync(join(machine.root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8'), before)
    t.equal((await machine.shell('ls /etc/ecs-regcred')).stdout, 'ecs-regcred.env')
    await machine.shell('cp -p /etc/ecs-regcred/ecs-regcred.env /root/env; echo REGCRED_INTERVALL=5m >>/etc/ecs-regcred/ecs-regcred.env; systemctl restart ecs-regcred')
    await machine.until('systemctl is-failed ecs-regcred')
    t.equal((await machine.shell('systemctl show -p ExecMainStatus,NRestarts --value ecs-regcred')).stdout, '0\n78'.split('\n').sort().join('\n'))
    await machine.shell('mv /root/env /etc/ecs-regcred/ecs-regcred.env; systemctl reset-failed ecs-regcred; systemctl start ecs-regcred')
    await machine.until('systemctl is-active ecs-regcred')
  })

  await t.test('an upgrade under load: settings stay, the command never fails, the ECS agent is left alone', async (t) => {
    const before = await starts(machine)
    const settings = readFileSync(join(machine.root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8')
    const next = mkdtempSync(join(tmpdir(), 'regcred-next-'))
    t.teardown(() => rmSync(next, { recursive: true, force: true }))
    const id = rebuiltRelease(next, buildRelease('x64'))
    cpSync(join(next, tarballName('x64')), join(machine.root, 'root/next.tar.gz'))
    const load = machine.shell('bad=0; n=0; while [ ! -e /root/done ]; do ecs-regcred --version >/dev/null || bad=$((bad+1)); n=$((n+1)); done; echo "$bad of $n"', { timeoutMs: 120_000 })
    const upgrade = await machine.shell('mkdir /root/next && tar -xzf /root/next.tar.gz -C /root/next && sh /root/next/*/install.sh; s=$?; sleep 1; touch /root/done; exit $s', { timeoutMs: 100_000 })
    t.equal(upgrade.exitCode, 0, upgrade.stderr)
    t.match((await load).stdout, /^0 of \d+$/)
    t.equal((await machine.shell('readlink /opt/ecs-regcred/current')).stdout, id)
    await machine.until(`readlink /proc/$(systemctl show -p MainPID --value ecs-regcred)/exe | grep -q ${id}`)
    t.equal(readFileSync(join(machine.root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8'), settings)
    t.strictSame(await starts(machine), before)
    const again = await machine.shell('sh /root/next/*/install.sh --interval 10m')
    t.equal(again.exitCode, 0, again.stderr)
    t.match(readFileSync(join(machine.root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8'), settings.replace('REGCRED_INTERVAL=5m\n', ''))
  })

  // Regression: the next run found nothing changed, and left the service in the release before, which it then removed.
  await t.test('a way back that kill -9 cut short is finished by the next run', async (t) => {
    const before = await starts(machine)
    const runs = async (release: string): Promise<void> => {
      await machine.until(`[ "$(readlink /proc/$(systemctl show -p MainPID --value ecs-regcred)/exe)" = /opt/ecs-regcred/${release}/bin/node ]`)
    }
    const [newer, older] = (await machine.shell('cd /opt/ecs-regcred && readlink current previous')).stdout.split('\n') as [string, string]
    await runs(newer)
    await machine.shell(`cd /opt/ecs-regcred/previous; sh install.sh & while [ "$(readlink ../current)" = ${newer} ]; do :; done; kill -9 $!`)
    await runs(newer)
    t.equal((await machine.shell('readlink /opt/ecs-regcred/current')).stdout, older, 'killed between the switch and the start')
    t.equal((await machine.shell('sh /opt/ecs-regcred/current/install.sh')).exitCode, 0)
    await runs(older)
    t.equal((await machine.shell('sh /opt/ecs-regcred/previous/install.sh')).exitCode, 0)
    await runs(newer)
    await machine.shell('systemctl show -p MainPID --value ecs-regcred >/run/pid; sh /opt/ecs-regcred/current/install.sh')
    t.equal((await machine.shell('systemctl show -p MainPID --value ecs-regcred | cmp - /run/pid')).exitCode, 0, 'and where nothing is new, nothing is restarted')
    t.strictSame(await starts(machine), before)
  })

  await t.test('after a reboot the first start holds what the source holds by then', async (t) => {
    await machine.shell('systemctl stop ecs-regcred')
    writeFileSync(servers.secretFile, secret('rotated-2'))
    const before = (await starts(machine)).length
    await machine.reboot()
    t.equal(await machine.settled(), 'running')
    await machine.until(`[ "$(wc -l <${STARTS})" -gt ${before} ]`)
    t.equal((await starts(machine))[before], sha256(rendered('rotated-2')))
    t.equal((await starts(machine)).length, before + 1, 'and no restart follows')
  })

  await t.test('a reboot without the source: ECS starts with the last good credentials', async (t) => {
    servers.takeAway()
    const before = (await starts(machine)).length
    await machine.shell('mkdir -p /etc/systemd/system/ecs-regcred-boot.service.d; printf "[Service]\\nExecStart=\\nExecStart=/usr/bin/ecs-regcred sync --boot --timeout 3s\\n" >/etc/systemd/system/ecs-regcred-boot.service.d/test.conf')
    await machine.reboot()
    await machine.until(`[ "$(wc -l <${STARTS})" -gt ${before} ]`, 60_000)
    t.equal((await starts(machine)).at(-1), sha256(rendered('rotated-2')))
    servers.bringBack(secret('rotated-3'))
    await machine.run(['systemctl', 'reload', 'ecs-regcred'])
    await machine.until(`[ "$(wc -l <${STARTS})" = ${before + 2} ]`, 120_000)
    t.equal((await starts(machine)).at(-1), sha256(rendered('rotated-3')))
  })

  await t.test('uninstalled: nothing is left but a working ecs.config', async (t) => {
    const before = readFileSync(join(machine.root, 'etc/ecs/ecs.config'))
    const { exitCode, stderr } = await machine.shell('sh /opt/ecs-regcred/current/install.sh --uninstall')
    t.equal(exitCode, 0, stderr)
    t.strictSame(readFileSync(join(machine.root, 'etc/ecs/ecs.config')), before)
    t.equal((await machine.shell('ls -d /opt/ecs-regcred /etc/ecs-regcred /var/lib/ecs-regcred /usr/bin/ecs-regcred 2>/dev/null; find /etc/systemd/system -name "*regcred*" -not -path "*test.conf*" -not -name "*.d"')).stdout, '')
    t.equal((await machine.run(['systemctl', 'is-active', 'ecs'])).stdout.trim(), 'active')
    t.equal((await machine.shell('sh /root/next/*/install.sh --uninstall')).exitCode, 0, 'twice is no error')
  })
})

t.test('the source is away at the first boot: ECS starts all the same, and the credential arrives when it is back', async (t) => {
  const { machine, servers } = await bootWith(t, 'shell.sh', { away: true, settings: '--timeout 3s' })
  await machine.settled()
  await machine.until(`systemctl is-active ecs-regcred && [ -s ${STARTS} ]`)
  t.strictSame(await starts(machine), [null])
  servers.bringBack(secret(CANARY))
  await machine.run(['systemctl', 'reload', 'ecs-regcred'])
  await machine.until(`[ "$(wc -l <${STARTS})" = 2 ]`, 120_000)
  t.equal((await starts(machine)).at(-1), sha256(rendered(CANARY)))
  await noCanary(t, machine)
})

t.test('a tampered tarball is refused, and nothing of it runs', async (t) => {
  const { machine } = await bootWith(t, 'shell.sh', { tampered: true })
  await machine.settled()
  await machine.until(`[ -s ${STARTS} ]`)
  t.match((await machine.shell('cat /var/log/cloud-init-output.log')).stdout, /FAILED|did NOT match/)
  t.equal((await machine.shell('ls -d /opt/ecs-regcred /usr/bin/ecs-regcred 2>/dev/null')).stdout, '')
  t.strictSame(await starts(machine), [null], 'and ECS starts as if there were no ecs-regcred')
})

t.test('fail-closed: a machine that got no credentials goes down before ECS starts', async (t) => {
  const { machine } = await bootWith(t, 'shell-fail-closed.sh', { away: true, settings: '--timeout 3s' })
  await machine.down()
  t.throws(() => statSync(join(machine.root, STARTS)), 'the ECS agent was never started')
})

type Servers = { readonly secretFile: string; takeAway: () => void; bringBack: (text: string) => void }

/** A machine whose first boot runs the example `file`, with the values that an operator would fill in. */
async function bootWith(
  t: Test, file: string, { away = false, tampered = false, settings = '' } = {},
): Promise<{ machine: Machine; servers: Servers }> {
  const root = await overlayRoot(makeRoot('machine'))
  t.teardown(root.dispose)
  installStandInEcs(root.path)
  const network = await createNetwork()
  t.teardown(network.dispose)
  const servers = await serve(t, network, tampered)
  if (!away) servers.bringBack(secret(CANARY))

  const checksum = readFileSync(join(buildRelease('x64'), `${tarballName('x64')}.sha256`), 'utf8').slice(0, 64)
  const environment = ['AWS_REGION=us-east-1', 'AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:8080', 'AWS_ACCESS_KEY_ID=test', 'AWS_SECRET_ACCESS_KEY=test']
  const userData = readFileSync(join(repository, 'scripts/user-data', file), 'utf8')
    .replace(/^( *)from=.*$/m, '$1from=http://127.0.0.1:8080')
    .replace(/^( *)x64=.*$/m, `$1x64=${checksum}`)
    .replace(/^( *)settings=.*$/m, `$1settings='--interval 5m --probe off --splay 0s --min-restart-gap 0s ${settings} ${environment.map((line) => `--env ${line}`).join(' ')}'`)
  const seed = join(root.path, 'var/lib/cloud/seed/nocloud')
  mkdirSync(seed, { recursive: true })
  writeFileSync(join(seed, 'user-data'), userData)
  writeFileSync(join(seed, 'meta-data'), 'instance-id: i-0123456789abcdef0\nlocal-hostname: test\n')

  const machine = await bootMachine({ root: root.path, network })
  t.teardown(machine.stop)
  return { machine, servers }
}

async function serve(t: Test, network: Network, tampered: boolean): Promise<Servers> {
  const dir = mkdtempSync(join(tmpdir(), 'regcred-serve-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  cpSync(join(buildRelease('x64'), tarballName('x64')), join(dir, tarballName('x64')))
  if (tampered) appendFileSync(join(dir, tarballName('x64')), 'x')
  const secretFile = join(dir, 'secret')
  const server = network.spawn([process.execPath, join(repository, 'test/system/fixtures/secrets-manager.mjs'), '--secret-file', secretFile, '--port', '8080', '--directory', dir])
  await new Promise<void>((resolve, reject) => {
    server.all.once('data', () => resolve())
    void server.then(({ all }) => reject(new Error(all)))
  })
  return { secretFile, takeAway: () => rmSync(secretFile), bringBack: (text) => writeFileSync(secretFile, text) }
}

/** What each start of the ECS agent read: the SHA-256 of its credentials, or null. */
async function starts(machine: Machine): Promise<(string | null)[]> {
  const lines = (await machine.shell(`cat ${STARTS}`)).stdout.trim().split('\n')
  return lines.map((line) => (JSON.parse(line) as { authDataSha256: string | null }).authDataSha256)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** The password stands in ecs.config and the last good copy, encoded, and nowhere else: no journal, no log, no command line. */
async function noCanary(t: Test, machine: Machine): Promise<void> {
  const encoded = Buffer.from(`ci:${CANARY}`).toString('base64')
  const where = await machine.shell(`journalctl --no-pager -o cat | grep -cE '${CANARY}|${encoded}'; grep -rlE '${CANARY}|${encoded}' /var/log /etc /var/lib/ecs-regcred /run /tmp 2>/dev/null`)
  const allowed = new Set(['0', '/etc/ecs/ecs.config', '/var/lib/ecs-regcred/last-good.ecs.config'])
  t.strictSame(where.stdout.split('\n').filter((line) => line !== '' && !allowed.has(line)), [])
}
