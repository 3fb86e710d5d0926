import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bootMachine, createNetwork, installStandInEcs, makeRoot, type Machine, overlayRoot } from './fixtures/nspawn.js'
import { buildRelease, tarballName } from './fixtures/release.js'

const CANARY = 'canary-4711-doctor'
const ENCODED = Buffer.from(`ci:${CANARY}`).toString('base64')

type Check = { id: string; verdict: string; message: string; fix: string | null }

t.test('doctor on a booted machine: healthy, then each fault planted, found and taken away by the fix that it tells', async (t) => {
  const machine = await bootInstalled(t)
  await machine.until('ecs-regcred status --json | grep -q \'"lastSuccess":"\'')

  await t.test('healthy', async (t) => {
    const { status, checks } = await doctor(t, machine)
    t.strictSame(checks.filter(({ verdict }) => verdict === 'broken' || verdict === 'warning').map(({ id, message }) => `${id}: ${message}`), [])
    t.equal(status, 0)
    for (const [id, message] of [['init-system', /systemd/], ['service', /is enabled/], ['boot-service', /is enabled/], ['ecs-agent', /v1\.105\.1/], ['ecs-agent-credentials', /holds what/], ['file-source', /holds what/], ['ecs-config-mode', /0600/]] as const) {
      t.match(checks.find((check) => check.id === id), { verdict: 'ok', message }, id)
    }
  })

  await fault(t, machine, 'the service is stopped', 'systemctl stop ecs-regcred', { id: 'service', verdict: 'broken', message: /does not run/, fix: /systemctl start ecs-regcred/ }, 'systemctl start ecs-regcred')
  await fault(t, machine, 'the service is not enabled', 'systemctl disable ecs-regcred', { id: 'service', verdict: 'warning', message: /disabled/, fix: /^systemctl enable ecs-regcred$/ }, 'systemctl enable ecs-regcred')
  await fault(t, machine, 'the boot unit is not enabled', 'systemctl disable ecs-regcred-boot', { id: 'boot-service', verdict: 'warning', message: /disabled/, fix: /^systemctl enable ecs-regcred-boot$/ }, 'systemctl enable ecs-regcred-boot')
  await fault(t, machine, 'ecs.config is open to everyone', 'systemctl stop ecs-regcred; chmod 644 /etc/ecs/ecs.config', { id: 'ecs-config-mode', verdict: 'broken', message: /0644/, fix: /^chmod 600 \/etc\/ecs\/ecs\.config/ }, 'chmod 600 /etc/ecs/ecs.config')
  await fault(t, machine, 'an exported secret', `echo 'export ECS_ENGINE_AUTH_DATA={"x.example.com":{"auth":"${ENCODED}"}}' >>/etc/ecs/ecs.config`, { id: 'ecs-config:export', verdict: 'broken', message: /"export"/, fix: /sed -Ei '.*' \/etc\/ecs\/ecs\.config/ }, "sed -i '/^export/d' /etc/ecs/ecs.config")
  await fault(t, machine, 'a file that the running ECS agent does not hold', 'sed -i \'s/^ECS_ENGINE_AUTH_DATA=.*/ECS_ENGINE_AUTH_DATA={"x.example.com":{"auth":"YTpi"}}/\' /etc/ecs/ecs.config', { id: 'ecs-agent-credentials', verdict: 'broken', message: /does not hold what ecs\.config holds/, fix: /ecs-regcred sync --force/ }, 'ecs-regcred sync --force; systemctl start ecs-regcred')
  await fault(t, machine, 'the ECS agent is stopped', 'systemctl stop ecs', { id: 'ecs-agent', verdict: 'warning', message: /was stopped/, fix: /systemctl start --no-block ecs/ }, 'systemctl start --no-block ecs')
  await fault(t, machine, 'its terminal failure', 'echo 5 >/run/exit-status; systemctl restart ecs; until systemctl is-failed ecs; do :; done', { id: 'ecs-agent', verdict: 'broken', message: /status 5, its terminal failure/, fix: /ecs-agent\.log/ }, 'rm /run/exit-status; systemctl start ecs')
  await fault(t, machine, 'it dies over and over', 'echo 1 >/run/exit-status; systemctl restart ecs; until [ "$(systemctl show -p SubState --value ecs)" = auto-restart ]; do :; done', { id: 'ecs-agent', verdict: 'broken', message: /over and over/, fix: /systemctl status docker/ }, 'rm /run/exit-status; systemctl restart ecs')
  await fault(t, machine, 'the start limit', 'for i in 1 2 3 4 5 6 7 8; do systemctl restart ecs; done; systemctl is-failed ecs', { id: 'ecs-agent', verdict: 'broken', message: /started too often/, fix: /systemctl reset-failed ecs/ }, 'systemctl reset-failed ecs; systemctl start --no-block ecs')
  await fault(t, machine, 'a user in group docker', 'groupadd docker; useradd -G docker ops', { id: 'docker-group', verdict: 'warning', message: /ops is in group docker/, fix: /gpasswd -d ops docker/ }, 'gpasswd -d ops docker')
})

async function fault(t: Test, machine: Machine, name: string, plant: string, expected: { id: string; verdict: string; message: RegExp; fix: RegExp }, mend: string): Promise<void> {
  await t.test(`${name}: found, and gone once it is mended`, async (t) => {
    await machine.shell(plant)
    const { status, checks } = await doctor(t, machine)
    const found = checks.find(({ id, verdict }) => id === expected.id && verdict === expected.verdict)
    t.match(found, expected, checks.filter(({ verdict }) => verdict !== 'ok').map(({ id, message }) => `${id}: ${message}`).join(' | '))
    t.equal(status === 0, !checks.some(({ verdict }) => verdict === 'broken'))
    await machine.shell(mend)
    await machine.until(`! ecs-regcred doctor --json | grep -oE '"id":"${expected.id}","verdict":"${expected.verdict}"'`)
  })
}

async function doctor(t: Test, machine: Machine): Promise<{ status: number | undefined; checks: Check[] }> {
  const { exitCode, stdout, stderr } = await machine.run(['ecs-regcred', 'doctor', '--json'])
  t.notMatch(stdout + stderr, CANARY)
  t.notMatch(stdout + stderr, ENCODED)
  return { status: exitCode, checks: (JSON.parse(stdout) as { checks: Check[] }).checks }
}

/** A machine with the release installed by its own installer, from a docker config.json, and an ECS agent that ends as /run/exit-status says. */
async function bootInstalled(t: Test): Promise<Machine> {
  const root = await overlayRoot(makeRoot('machine'))
  t.teardown(root.dispose)
  installStandInEcs(root.path, { options: '--exit-status-file /run/exit-status' })
  writeFileSync(join(root.path, 'etc/ecs/ecs.config'), 'ECS_CLUSTER=test\nECS_IMAGE_PULL_BEHAVIOR=always\n', { mode: 0o600 })
  mkdirSync(join(root.path, 'root/.docker'), { recursive: true })
  writeFileSync(join(root.path, 'root/.docker/config.json'), JSON.stringify({ auths: { 'registry.example.com': { auth: ENCODED } } }), { mode: 0o600 })
  execFileSync('tar', ['-xzf', join(buildRelease('x64'), tarballName('x64')), '-C', join(root.path, 'root')])
  const network = await createNetwork()
  t.teardown(network.dispose)
  const machine = await bootMachine({ root: root.path, network })
  t.teardown(machine.stop)
  await machine.settled()
  // Up before anything is written, so that the first pass has a restart to make, and a success is one that has seen it healthy.
  await machine.until('curl --fail --silent http://127.0.0.1:51678/v1/metadata')
  const { exitCode, stdout, stderr } = await machine.shell('sh /root/ecs-regcred-*/install.sh --docker-config /root/.docker/config.json --probe off --min-restart-gap 0s')
  t.equal(exitCode, 0, stdout + stderr)
  return machine
}
