import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ServiceError } from '../src/errors.js'
import { durationMs, optionName, readSettings, SETTINGS, underRoot } from '../src/settings.js'

const none = { HOME: '/root', REGCRED_ROOT: '/nonexistent' }

function problemsOf(read: () => unknown): string[] {
  try {
    read()
  } catch (error) {
    if (error instanceof ServiceError && error.exitCode === 78) return error.message.split('\n')
    throw error
  }
  return []
}

void t.test('without any setting the source is the docker config.json of the user', async (t) => {
  t.match(readSettings(none, {}), {
    source: { kind: 'file', path: '/root/.docker/config.json' },
    ecsConfigPath: '/nonexistent/etc/ecs/ecs.config',
    stateDir: '/nonexistent/var/lib/ecs-regcred',
    dockerSocket: '/nonexistent/var/run/docker.sock',
    intervalMs: 300_000, splayMs: 0, minRestartGapMs: 60_000, verifyTimeoutMs: 120_000, probe: true, takeover: 'refuse',
  })
  t.match(readSettings({ ...none, DOCKER_CONFIG: '/srv/docker' }, {}).source, { path: '/srv/docker/config.json' })
})

void t.test('a secret waits for its place in a minute, unless told otherwise', async (t) => {
  t.equal(readSettings({ ...none, REGCRED_SECRET_ID: 'prod/registry' }, {}).splayMs, 60_000)
  t.equal(readSettings({ ...none, REGCRED_SECRET_ID: 'prod/registry', REGCRED_SPLAY: '0' }, {}).splayMs, 0)
})

void t.test('options win over the environment, and that over the env file', async (t) => {
  const file = join(t.testdir(), 'settings.env')
  writeFileSync(file, "# of this group\nREGCRED_INTERVAL=1m\nREGCRED_SPLAY='2m'\nREGCRED_PROBE=off\nAWS_REGION=eu-west-1\n")
  const settings = readSettings({ ...none, REGCRED_INTERVAL: '3m', REGCRED_SPLAY: '4m' }, { REGCRED_INTERVAL: '5m' }, file)
  t.match(settings, { intervalMs: 300_000, splayMs: 240_000, probe: false })
})

void t.test('a source named later replaces one of the other kind, and two in one place are a problem', async (t) => {
  const environment = { ...none, REGCRED_SECRET_ID: 'prod/registry' }
  t.strictSame(readSettings(environment, { REGCRED_DOCKER_CONFIG: '/x.json' }).source, { kind: 'file', path: '/x.json' })
  t.match(problemsOf(() => readSettings({ ...environment, REGCRED_DOCKER_CONFIG: '/x.json' }, {})), [/both set \(environment\)/])
})

void t.test('every problem is told at once, an unknown name with the nearest known one', async (t) => {
  const problems = problemsOf(() => readSettings({
    ...none, REGCRED_INTERVALL: '5m', REGCRED_VERIFY_TIMEOUT: 'soon', REGCRED_PROBE: 'yes', REGCRED_INTROSPECTION_URL: 'ftp://x', REGCRED_ECS_CONFIG: 'ecs.config',
    REGCRED_ECS_SERVICE: '-x',
  }, {}))
  t.match(problems.sort(), [/REGCRED_ECS_CONFIG=/, /REGCRED_ECS_SERVICE=/, /REGCRED_INTERVALL \(environment\) is not a setting; did you mean REGCRED_INTERVAL\?/, /REGCRED_INTROSPECTION_URL=/, /REGCRED_PROBE=yes: write on or off/, /REGCRED_VERIFY_TIMEOUT=soon: write a duration/])
})

// Regression: secret ids were looked at after all else was right, so a machine with two faults told of them one at a time.
void t.test('every secret id that cannot be meant is named at once, beside the other problems', async (t) => {
  t.match(problemsOf(() => readSettings({ ...none, REGCRED_SECRET_ID: 'a b,good,c:d', REGCRED_PROBE: 'yes' }, {})), [
    /^secret id a b: a name is made of/, /^secret id c:d: a name has no ":"; write the whole ARN/, /REGCRED_PROBE=yes/,
  ])
})

void t.test('the value of an unknown name is not repeated: it may be a password', async (t) => {
  t.notMatch(problemsOf(() => readSettings({ ...none, REGCRED_PASSWORD: 'canary-hunter2' }, {})).join(), /canary/)
})

void t.test('what the env file holds for the AWS SDK is passed on, and nothing else of it', async (t) => {
  const file = join(t.testdir(), 'settings.env')
  writeFileSync(file, 'AWS_REGION=eu-west-1\nHTTPS_PROXY=http://proxy.example.com:3128\nLD_PRELOAD=/x.so\nREGCRED_PROBE=off\n')
  t.strictSame(readSettings(none, {}, file).sdkEnvironment, { AWS_REGION: 'eu-west-1', HTTPS_PROXY: 'http://proxy.example.com:3128' })
})

// Regression: the env file is all the environment that a service has, and Docker's own variable there was passed over without a word.
void t.test('DOCKER_CONFIG of the env file counts where the environment has none', async (t) => {
  const file = join(t.testdir(), 'settings.env')
  writeFileSync(file, 'DOCKER_CONFIG=/srv/docker\n')
  t.match(readSettings(none, {}, file).source, { path: '/srv/docker/config.json' })
  t.match(readSettings({ ...none, DOCKER_CONFIG: '/opt/docker' }, {}, file).source, { path: '/opt/docker/config.json' })
})

void t.test('an env file named by hand has to be there', async (t) => {
  t.match(problemsOf(() => readSettings(none, {}, '/nonexistent/x.env')), [/x\.env: cannot be read \(ENOENT\)/])
})

void t.test('an empty value means not set', async (t) => {
  t.match(readSettings({ ...none, REGCRED_SECRET_ID: '', REGCRED_INTERVAL: '' }, {}), { source: { kind: 'file' }, intervalMs: 300_000 })
})

// Regression: less than a second was refused for the poll and the deadline, which the tree of a test wants short.
void t.test('the poll and the deadline may be as short as a test wants them, and not nothing', async (t) => {
  t.match(readSettings({ ...none, REGCRED_INTERVAL: '200ms', REGCRED_VERIFY_TIMEOUT: '500ms' }, {}), { intervalMs: 200, verifyTimeoutMs: 500 })
  t.match(problemsOf(() => readSettings({ ...none, REGCRED_INTERVAL: '0', REGCRED_VERIFY_TIMEOUT: '5ms' }, {})), [/REGCRED_INTERVAL=0: it must be at least 100ms/, /REGCRED_VERIFY_TIMEOUT=5ms/])
})

void t.test('durations', async (t) => {
  for (const [text, ms] of [['0', 0], ['1500ms', 1500], ['30s', 30_000], ['5m', 300_000], ['1.5h', 5_400_000], ['1d', 86_400_000]] as const) t.equal(durationMs(text), ms, text)
  for (const text of ['', '5', '5 m', '-1s', '60d', '1w']) t.throws(() => durationMs(text), /duration/, JSON.stringify(text))
})

void t.test('a path that lies in the root already is taken as it is', async (t) => {
  t.equal(underRoot('/srv/root', '/etc/ecs/ecs.config'), '/srv/root/etc/ecs/ecs.config')
  t.equal(underRoot('/srv/root', '/srv/root/etc/ecs/ecs.config'), '/srv/root/etc/ecs/ecs.config')
  t.equal(underRoot('/srv/root', '/srv/root2/x'), '/srv/root/srv/root2/x')
  t.equal(underRoot('/', '/etc/ecs/ecs.config'), '/etc/ecs/ecs.config')
})

void t.test('each setting has an option and a line of help', async (t) => {
  t.equal(optionName('REGCRED_MIN_RESTART_GAP'), 'min-restart-gap')
  for (const [name, { help }] of Object.entries(SETTINGS)) t.ok(help.length > 10, name)
})
