import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ServiceError } from '../../src/errors.js'
import type { CheckResult } from '../../src/doctor/check.js'
import { examine } from '../../src/doctor/examine.js'
import { putCommand } from '../../src/doctor/registries.js'
import { readSettings } from '../../src/settings.js'
import { AUTH, CANARY, healthyMachine, type Machine, RUNNING } from '../fixtures/doctor-machine.js'
import { never } from '../fixtures/stand-ins.js'

t.setTimeout(180_000)

const told = (results: readonly CheckResult[]): string[] => results.filter(({ verdict }) => verdict === 'broken' || verdict === 'warning').map(({ id, verdict, message }) => `${verdict} ${id}: ${message}`)

t.test('a healthy machine: nothing is broken and nothing to warn of', async (t) => {
  const machine = await healthyMachine(t)
  machine.tasks = [{ id: 'a1', image: `${machine.registry.host}/team/app:1` }, { id: 'b2', image: 'nginx' }, { id: 'c3', image: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/app' }]
  const results = await machine.examine()
  t.strictSame(told(results), [])
  const well = results.filter(({ verdict }) => verdict === 'ok').map(({ id }) => id)
  for (const id of ['settings', 'init-system', 'service', 'boot-service', 'ecs-agent', 'docker', 'ecs-agent-credentials', 'ecs-agent-log', 'ecs-config', 'ecs-config-mode', 'pull-behavior',
    'instance-config', 'json-config', 'source', 'file-source', `registry:${machine.registry.host}`, 'task-images', 'clock', 'state', 'restart-owed', 'set-aside', 'last-success', 'docker-group']) t.ok(well.includes(id), id)
})

type Fault = { readonly plant: (machine: Machine) => void; readonly verdict: 'warning' | 'broken'; readonly id: string; readonly message: RegExp; readonly fix: RegExp }
const agentDown = (machine: Machine, properties: Record<string, string>, exitCode?: number): void => {
  machine.introspection = false
  machine.container = exitCode === undefined ? undefined : { running: false, exitCode, env: {} }
  machine.units['ecs'] = Object.entries(properties).reduce((text, [name, value]) => text.replace(new RegExp(`${name}=.*`), `${name}=${value}`), RUNNING)
}
const ended = { ActiveState: 'failed', SubState: 'failed', MainPID: '0', ExecMainCode: '1' }
const config = (machine: Machine, lines: string): void => machine.write('/etc/ecs/ecs.config', `ECS_CLUSTER=prod\n${lines}\n`)

const FAULTS: Record<string, Fault> = {
  'no service of that name': { plant: (m) => { delete m.units['ecs'] }, verdict: 'broken', id: 'init-system', message: /container started by hand/, fix: /--ecs-service/ },
  'our unit is not there': { plant: (m) => { delete m.units['ecs-regcred'] }, verdict: 'warning', id: 'service', message: /not installed/, fix: /install\.sh/ },
  'our unit is down': { plant: (m) => { m.units['ecs-regcred'] = RUNNING.replace('active', 'inactive').replace('4242', '0') }, verdict: 'broken', id: 'service', message: /does not run/, fix: /systemctl start ecs-regcred/ },
  'our unit is not enabled': { plant: (m) => { m.enabled['ecs-regcred'] = 'disabled' }, verdict: 'warning', id: 'service', message: /disabled: not after the next boot/, fix: /^systemctl enable ecs-regcred$/ },
  'the boot unit is masked': { plant: (m) => { m.enabled['ecs-regcred-boot'] = 'masked' }, verdict: 'warning', id: 'boot-service', message: /is masked/, fix: /systemctl unmask ecs-regcred-boot; systemctl enable/ },
  'exit status 5': { plant: (m) => agentDown(m, { ...ended, Result: 'exit-code', ExecMainStatus: '5' }), verdict: 'broken', id: 'ecs-agent', message: /status 5, its terminal failure/, fix: /ecs-agent\.log/ },
  'the start limit': { plant: (m) => agentDown(m, { ...ended, Result: 'start-limit-hit' }), verdict: 'broken', id: 'ecs-agent', message: /started too often/, fix: /systemctl reset-failed ecs/ },
  'a crash loop inside ecs-init': { plant: (m) => agentDown(m, {}, 1), verdict: 'broken', id: 'ecs-agent', message: /over and over \(its container ended with status 1\)/, fix: /ecs-init\.log/ },
  "a crash loop of systemd's": { plant: (m) => agentDown(m, { ActiveState: 'activating', SubState: 'auto-restart', MainPID: '0' }), verdict: 'broken', id: 'ecs-agent', message: /over and over/, fix: /systemctl status docker/ },
  'stopped by an administrator': { plant: (m) => agentDown(m, { ActiveState: 'inactive', SubState: 'dead', MainPID: '0' }), verdict: 'warning', id: 'ecs-agent', message: /was stopped, and is left so/, fix: /systemctl start --no-block ecs/ },
  'it runs and is not registered': { plant: (m) => { m.introspection = false }, verdict: 'broken', id: 'ecs-agent', message: /does not answer introspection/, fix: /ecs-agent\.log/ },
  'Docker gives no answer': { plant: (m) => { m.docker = false }, verdict: 'warning', id: 'docker', message: /cannot be asked/, fix: /systemctl status docker/ },
  'the running ECS agent holds another credential': {
    plant: (m) => { m.container = { running: true, exitCode: 0, env: { ECS_ENGINE_AUTH_TYPE: 'dockercfg', ECS_ENGINE_AUTH_DATA: '{}' } } },
    verdict: 'broken', id: 'ecs-agent-credentials', message: /does not hold what ecs\.config holds/, fix: /sync --force/,
  },
  'the ECS agent complains in its log': {
    plant: (m) => m.write('/var/log/ecs/ecs-agent.log', `level=warn time=${new Date().toISOString()} msg="Could not parse 'dockercfg' type auth config"\n`),
    verdict: 'broken', id: 'ecs-agent-log', message: /could not parse ECS_ENGINE_AUTH_DATA/, fix: /sync --force/,
  },
  // Regression: an entry that the ECS agent leaves out is no part of the meaning that a pass compares, so a pass alone mended neither of these.
  'an entry that the ECS agent leaves out': {
    plant: (m) => config(m, `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"x.example.com":{},"${m.registry.host}":{"auth":"${AUTH}"}}`),
    verdict: 'broken', id: 'ecs-config:entry-malformed', message: /leaves an entry out/, fix: /^sed -Ei '.*\/d' \/.*etc\/ecs\/ecs\.config; then ecs-regcred sync/,
  },
  'the ECS agent complains though it holds what the file holds': {
    plant: (m) => m.write('/var/log/ecs/ecs-agent.log', `level=warn time=${new Date().toISOString()} msg="Malformed auth data for registry x.example.com"\n`),
    verdict: 'broken', id: 'ecs-agent-log', message: /is not base64/, fix: /nothing to do, mend ecs\.config, then: systemctl --no-block restart ecs/,
  },
  'no ecs.config': { plant: (m) => m.write('/etc/ecs-regcred/ecs-regcred.env', 'REGCRED_ECS_CONFIG=/etc/ecs/other.config\n'), verdict: 'broken', id: 'ecs-config', message: /there is no .*other\.config/, fix: /ecs-regcred sync/ },
  'readable by everyone': { plant: (m) => chmodSync(join(m.root, 'etc/ecs/ecs.config'), 0o644), verdict: 'broken', id: 'ecs-config-mode', message: /every user.*0644/, fix: /^chmod 600 \S+ecs\.config/ },
  'readable by its group': { plant: (m) => chmodSync(join(m.root, 'etc/ecs/ecs.config'), 0o640), verdict: 'warning', id: 'ecs-config-mode', message: /its group/, fix: /chmod 600/ },
  'a secret that everyone reads in a comment': {
    plant: (m) => { config(m, `#ECS_ENGINE_AUTH_DATA={"x.example.com":{"auth":"${AUTH}"}}`); chmodSync(join(m.root, 'etc/ecs/ecs.config'), 0o644) },
    verdict: 'broken', id: 'ecs-config-mode', message: /every user/, fix: /chmod 600/,
  },
  'an instance config with credentials': { plant: (m) => m.write('/var/lib/ecs/ecs.config', `ECS_ENGINE_AUTH_DATA={"x.io":{"auth":"${AUTH}"}}\n`), verdict: 'warning', id: 'instance-config', message: /holds registry credentials too/, fix: /sed -i .*var\/lib\/ecs\/ecs\.config/ },
  'an instance config that is in force': {
    plant: (m) => { config(m, 'ECS_ENGINE_AUTH_TYPE=dockercfg'); m.write('/var/lib/ecs/ecs.config', `ECS_ENGINE_AUTH_DATA={"x.io":{"auth":"${AUTH}"}}\n`) },
    verdict: 'broken', id: 'instance-config', message: /sets ECS_ENGINE_AUTH_DATA, ecs\.config does not/, fix: /ecs-regcred sync/,
  },
  'ecs.config.json beside it': { plant: (m) => m.write('/etc/ecs/ecs.config.json', '{"engineauthdata":{"x.io":{}}}'), verdict: 'warning', id: 'json-config', message: /holds registry credentials too/, fix: /jq 'del/ },
  'ecs.config.json in force': { plant: (m) => { config(m, ''); m.write('/etc/ecs/ecs.config.json', '{"EngineAuthType":"docker","EngineAuthData":{}}') }, verdict: 'broken', id: 'json-config', message: /sets EngineAuthType and EngineAuthData, which ecs\.config leaves unset/, fix: /jq/ },
  'ecs.config.json is not JSON': { plant: (m) => m.write('/etc/ecs/ecs.config.json', `{"EngineAuthData":"${CANARY}"`), verdict: 'broken', id: 'json-config', message: /is not a JSON object/, fix: /jq \./ },
  'ecs.config.json with its data as text': { plant: (m) => m.write('/etc/ecs/ecs.config.json', '{"EngineAuthData":"{}"}'), verdict: 'broken', id: 'json-config', message: /EngineAuthData .* is not a JSON object/, fix: /jq/ },
  'ecs.config.json elsewhere': { plant: (m) => { config(m, 'ECS_AGENT_CONFIG_FILE_PATH=/opt/agent.json'); m.write('/opt/agent.json', '{"EngineAuthData":{}}') }, verdict: 'broken', id: 'json-config', message: /opt\/agent\.json sets EngineAuthData/, fix: /jq/ },
  'attributes that are not JSON': { plant: (m) => config(m, "ECS_INSTANCE_ATTRIBUTES='{}'"), verdict: 'broken', id: 'json-settings', message: /ECS_INSTANCE_ATTRIBUTES is not valid JSON/, fix: /grep -n/ },
  'the source is not there': { plant: (m) => { m.environment = { REGCRED_DOCKER_CONFIG: '/nowhere/config.json' } }, verdict: 'broken', id: 'source', message: /there is no \/nowhere\/config\.json/, fix: /docker login/ },
  'the source is malformed': { plant: (m) => m.write('/config.json', `{"auths":{"registry.example.com":{"auth","${CANARY}"}}}`), verdict: 'broken', id: 'source', message: /config\.json/, fix: /./ },
  'the source has a warning': { plant: (m) => m.write('/config.json', JSON.stringify({ auths: { [m.registry.host]: { auth: AUTH }, 'docker.io/library': { auth: AUTH } } })), verdict: 'warning', id: 'source', message: /W_HUB_PATH/, fix: /sync --dry-run/ },
  'the file lags behind the source': { plant: (m) => m.write('/config.json', JSON.stringify({ auths: { [m.registry.host]: { username: 'ci', password: 'another' } } })), verdict: 'broken', id: 'file-source', message: /does not hold what the source holds/, fix: /ecs-regcred sync/ },
  'the first take-over would be refused': {
    plant: (m) => { m.write('/config.json', JSON.stringify({ auths: { 'other.example.com': { auth: AUTH } } })); m.state({ rendered: undefined }) },
    verdict: 'broken', id: 'file-source', message: /holds registries that the source lacks/, fix: /REGCRED_TAKEOVER=replace/,
  },
  'an image without a key': { plant: (m) => { m.tasks = [{ id: 'a1', image: 'registry.example.com:5000/app' }] }, verdict: 'warning', id: 'task-images', message: /registry\.example\.com:5000\/app: no key for the registry/, fix: /ecs-regcred explain/ },
  'the state directory is open': { plant: (m) => chmodSync(join(m.root, 'var/lib/ecs-regcred'), 0o755), verdict: 'broken', id: 'state', message: /other users may enter/, fix: /^chmod 700 / },
  'the state is not JSON': { plant: (m) => m.write('/var/lib/ecs-regcred/state.json', '{'), verdict: 'warning', id: 'state', message: /is not JSON/, fix: /./ },
  'a version is set aside': { plant: (m) => m.state({ setAside: { version: 'v9', reason: 'it died', at: '2026-01-01T00:00:00Z' } }), verdict: 'broken', id: 'set-aside', message: /version v9 is set aside.*it died/, fix: /sync --force/ },
  'a version was refused': { plant: (m) => m.state({ refused: { version: 'v9', registries: ['r.example.com'], at: { bootId: 'x', monotonicUs: 1, at: '' }, tries: 1 } }), verdict: 'broken', id: 'refused', message: /r\.example\.com refused it/, fix: /systemctl reload ecs-regcred/ },
  'no success for long': { plant: (m) => m.state({ lastSuccess: new Date(Date.now() - 3_600_000).toISOString() }), verdict: 'broken', id: 'last-success', message: /no pass has come to its end for 60 min, with a pass due every 5 min/, fix: /journalctl -u ecs-regcred/ },
  'no success ever': { plant: (m) => m.state({ lastSuccess: undefined }), verdict: 'warning', id: 'last-success', message: /no pass has come to its end/, fix: /ecs-regcred sync/ },
  'users in group docker': {
    plant: (m) => { m.write('/etc/group', 'docker:x:992:ec2-user,deploy\n'); m.write('/etc/passwd', 'own:x:1001:992::/:/bin/sh\n') },
    verdict: 'warning', id: 'docker-group', message: /ec2-user, deploy, own are in group docker/, fix: /gpasswd -d ec2-user docker; gpasswd -d deploy docker/,
  },
  'SELinux denials': {
    plant: (m) => { m.write('/sys/fs/selinux/enforce', '1'); m.write('/var/log/audit/audit.log', 'type=AVC msg=audit(1): avc:  denied  { rename } for pid=1 comm="node" name="ecs.config"\n') },
    verdict: 'warning', id: 'selinux', message: /refuses \{ rename \} around ecs\.config/, fix: /restorecon -Rv/,
  },
  'the clock, by chrony': { plant: (m) => { m.programs = ['systemctl', 'chronyc']; m.answers = { chronyc: 'echo "A,h,2,1.0,-400.5,0,0,0,0,0,0,0,0,Normal"' } }, verdict: 'broken', id: 'clock', message: /401 s behind, by chrony/, fix: /chronyc makestep/ },
  'lints of ecs.config': { plant: (m) => config(m, 'export ECS_ENGINE_AUTH_DATA={}'), verdict: 'broken', id: 'ecs-config:export', message: /line 2 has "export"/, fix: /regcred-doctor-.*ecs\.config/ },
  'the plain docker type': { plant: (m) => config(m, `ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={"${m.registry.host}":{"username":"ci","password":"${CANARY}"}}`), verdict: 'warning', id: 'ecs-config:docker-type', message: /plain text/, fix: /dockercfg/ },
  ...Object.fromEntries(['', 'default', 'once', 'prefer-cached', 'Always'].map((word): [string, Fault] => [`pull behaviour ${word || 'unset'}`,
    { plant: (m) => config(m, word === '' ? '' : `ECS_IMAGE_PULL_BEHAVIOR=${word}`), verdict: 'warning', id: 'pull-behavior', message: word === 'Always' ? /no word that the ECS agent knows/ : /ECS_IMAGE_PULL_BEHAVIOR/, fix: /=always/ }])),
}
for (const [name, { plant, verdict, id, message, fix }] of Object.entries(FAULTS)) {
  t.test(`found, with its fix: ${name}`, async (t) => {
    const machine = await healthyMachine(t)
    plant(machine)
    const results = await machine.examine()
    const found = results.find((result) => result.id === id && result.verdict === verdict)
    if (!t.ok(found, `${verdict} ${id} among ${told(results).join(' | ')}`)) return
    t.match(found?.message, message)
    t.match(found?.fix, fix)
    t.notMatch(JSON.stringify(results), CANARY)
    t.notMatch(JSON.stringify(results), AUTH)
  })
}

t.test('the fix of a refused login names the secret of this machine, where there is one', async (t) => {
  const fixOf = (ids: string): string => putCommand(readSettings({ REGCRED_SECRET_ID: ids }, {}), 'ghcr.io')
  t.equal(fixOf('prod/registry'), 'ecs-regcred secret put --secret-id prod/registry --registry ghcr.io --username USER')
  t.equal(fixOf('a,b'), 'ecs-regcred secret put --secret-id ID --registry ghcr.io --username USER')
})

// Regression: of a file that it may not read, doctor said that it held no credentials, and that `sync` would put them there.
t.test('an ecs.config that cannot be read is not taken for one without credentials', async (t) => {
  const machine = await healthyMachine(t)
  rmSync(join(machine.root, 'etc/ecs/ecs.config'))
  mkdirSync(join(machine.root, 'etc/ecs/ecs.config'))
  const results = await machine.examine()
  t.match(results.find(({ id }) => id === 'ecs-config'), { verdict: 'broken', code: 'E_ECS_CONFIG', message: /EISDIR/ })
  t.match(results.find(({ id }) => id === 'file-source'), { verdict: 'skipped', message: /cannot be read/ })
  // Regression: three further checks called it their own fault, each with the same two lines.
  t.same(results.filter(({ message }) => /EISDIR/.test(message)).map(({ id }) => id), ['ecs-config'])
  for (const of of ['ecs-agent', 'task-images']) t.match(results.find(({ id }) => id === of), { verdict: 'skipped', message: 'could not be looked at: ecs-config says why' })
})

// Regression: it had docker write a config.json beside a file of another name, which the service does not read.
t.test('the fix of a refused login has docker write the file that is the source, where docker can', async (t) => {
  const fixOf = (path: string): string => putCommand(readSettings({ REGCRED_DOCKER_CONFIG: path }, {}), 'ghcr.io')
  t.equal(fixOf('/root/.docker/config.json'), 'DOCKER_CONFIG=/root/.docker docker login ghcr.io')
  t.equal(fixOf('/etc/registry/credentials.json'), 'write its login into /etc/registry/credentials.json')
})

t.test('a registry that refuses, one whose name does not resolve, and one that asks for nothing', async (t) => {
  const machine = await healthyMachine(t, () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="r"' }, body: {} }))
  config(machine, `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"${machine.registry.host}":{"auth":"${AUTH}"},"nowhere.invalid":{"auth":"${AUTH}"}}`)
  const results = await machine.examine()
  t.match(results.find(({ id }) => id === `registry:${machine.registry.host}`), { verdict: 'broken', code: 'E_REGISTRY_REFUSED', message: /refuses the login/, fix: `DOCKER_CONFIG=${machine.root} docker login ${machine.registry.host}` })
  t.match(results.find(({ id }) => id === 'registry:nowhere.invalid'), { verdict: 'broken', code: 'E_REGISTRY_UNAVAILABLE', message: /cannot be resolved/, fix: /getent hosts nowhere\.invalid/ })
  t.notMatch(JSON.stringify(results), CANARY)
})

t.test('with the probe switched off no registry is asked', async (t) => {
  const machine = await healthyMachine(t)
  machine.environment = { REGCRED_PROBE: 'off' }
  t.match((await machine.examine()).find(({ id }) => id === 'registry'), { verdict: 'skipped', message: /REGCRED_PROBE=off/ })
  t.notOk(machine.registry.requests.some(({ authorization }) => authorization !== undefined))
})

t.test('a clock that is off by the Date of an answer', async (t) => {
  const machine = await healthyMachine(t, () => ({ status: 200, headers: { date: new Date(Date.now() - 120_000).toUTCString() } }))
  t.match((await machine.examine()).find(({ id }) => id === 'clock'), { verdict: 'warning', message: /(119|12\d) s ahead/ })
})

t.test('on Upstart the job is looked at', async (t) => {
  const machine = await healthyMachine(t)
  machine.programs = ['status', 'initctl']
  machine.answers = { status: 'case "$1" in ecs) echo "ecs start/running, process 4242";; *) echo "ecs-regcred stop/waiting";; esac' }
  machine.write('/etc/init/ecs.conf', '')
  const results = await machine.examine()
  t.match(results.find(({ id }) => id === 'init-system'), { verdict: 'ok', message: /upstart/ })
  t.match(results.find(({ id }) => id === 'service'), { verdict: 'broken', message: /does not run/, fix: /start ecs-regcred$/ })
})

t.test('a check that breaks, fails or hangs stops no other', async (t) => {
  const machine = await healthyMachine(t)
  const environment = machine.settingsEnvironment()
  const results = await examine({ settings: readSettings(environment, {}), settingsError: undefined, environment }, never, {
    checkMs: 50,
    checks: [
      { id: 'bug', run: async () => { throw new TypeError(CANARY) } },
      { id: 'fails', run: async () => { throw new ServiceError('E_NET', 'no way there', { fix: 'dig one' }) } },
      { id: 'hangs', run: () => new Promise(() => undefined) },
      { id: 'well', run: async () => [{ id: 'well', verdict: 'ok', message: 'yes' }] },
    ],
  })
  t.match(results, [{ id: 'bug', verdict: 'skipped', message: /bug in ecs-regcred \(TypeError\)/ }, { id: 'fails', verdict: 'broken', fix: 'dig one' }, { id: 'hangs', verdict: 'warning', message: /no answer within 0\.05 s/ }, { id: 'well' }])
  t.notMatch(JSON.stringify(results), CANARY)
})

t.test('Ctrl-C ends it at once', async (t) => {
  const machine = await healthyMachine(t)
  const environment = machine.settingsEnvironment()
  const stop = new AbortController()
  const examining = examine({ settings: readSettings(environment, {}), settingsError: undefined, environment }, stop.signal, { checks: [{ id: 'hangs', run: () => new Promise(() => undefined) }] })
  stop.abort()
  await t.rejects(examining, { code: 'E_INTERRUPTED' })
})
