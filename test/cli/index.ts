import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { PROGRAM, testMachine } from '../fixtures/machine.js'

const COMMANDS = ['run', 'sync', 'status', 'doctor', 'check', 'explain', 'probe', 'rollback', 'secret put', 'rollout', 'fleet']

void t.test('help names every command, and each has its own with an example', async (t) => {
  const machine = await testMachine(t)
  const { status, stdout } = await machine.run('--help')
  t.equal(status, 0)
  for (const command of COMMANDS) t.match(stdout, new RegExp(`^  ${command} `, 'm'))
  await Promise.all(COMMANDS.map(async (command) => {
    const help = await machine.run(...command.split(' '), '--help')
    t.equal(help.status, 0, command)
    t.match(help.stdout, /Example: /, command)
  }))
  t.match((await machine.run('sync', '-h')).stdout, /Usage: ecs-regcred sync /)
  // Regression: `secret --help` was no command, and `help sync` told of everything but sync.
  for (const asked of [['help', 'secret', 'put'], ['help', 'secret'], ['secret', '--help']]) t.match((await machine.run(...asked)).stdout, /Usage: ecs-regcred secret put /)
  t.match(JSON.parse((await machine.run('secret', '--json')).stdout), { ok: false, code: 'E_USAGE', message: 'there is no command "secret"' })
  t.match((await machine.run('--version')).stdout, /^ecs-regcred \d+\.\d+\.\d+\n$/)
})

void t.test('a wrong command line is a usage error that names the nearest right one', async (t) => {
  const machine = await testMachine(t)
  const cases: [string[], RegExp][] = [
    [['snyc'], /no command "snyc"; did you mean sync\?/],
    [['sync', '--dryrun'], /no option --dryrun; did you mean --dry-run\?/],
    [['sync', '--interval'], /--interval needs a value/],
    [['sync', '--boot=yes'], /--boot takes no value/],
    [['sync', 'now'], /takes no argument/],
    [['secret'], /no command "secret"/],
    [['explain'], /one image/],
    [['explain', ''], /as a task definition writes it/],
    [['explain', 'https://r.example.com/app'], /without a scheme/],
    [['check', 'a', 'b'], /one file/],
    [['sync', '--timeout', 'soon'], /--timeout: write a duration/],
  ]
  for (const [args, message] of cases) {
    const { status, stderr } = await machine.run(...args)
    t.equal(status, 64, args.join(' '))
    t.match(stderr, message)
  }
})

void t.test('wrong settings are exit status 78, in JSON where that is asked for', async (t) => {
  const machine = await testMachine(t, { settings: { REGCRED_INTERVALL: '5m' } })
  const { status, stdout } = await machine.run('sync', '--json')
  t.equal(status, 78)
  t.match(JSON.parse(stdout), { ok: false, code: 'E_SETTINGS', message: /REGCRED_INTERVALL/ })
})

// Regression: Node took our --env-file for its own: a missing one ended the program before it began, and what stood in it counted as the environment.
void t.test('--env-file is ours, and not an option of Node', async (t) => {
  const machine = await testMachine(t, { settings: { REGCRED_LOG_LEVEL: 'silent' } })
  const file = join(machine.root, 'settings.env')
  chmodSync(PROGRAM, 0o755) // as npm does for a package's command
  const missing = spawnSync(PROGRAM, ['status', '--env-file', file, '--json'], { env: { ...machine.environment, PATH: `${dirname(process.execPath)}:/usr/bin:/bin` }, encoding: 'utf8' })
  t.equal(missing.status, 78, missing.stderr)
  t.match(JSON.parse(missing.stdout), { ok: false, code: 'E_SETTINGS', message: /settings\.env: cannot be read \(ENOENT\)/ })

  writeFileSync(file, 'REGCRED_SECRET_ID=prod/registry\n')
  t.match(JSON.parse((await machine.run('status', '--env-file', file, '--json')).stdout), { source: { label: machine.dockerConfig } }, 'the environment wins')
  writeFileSync(file, 'REGCRED_INTERVALL=5m\n')
  t.equal((await machine.run('status', '--env-file', file)).stderr.match(/REGCRED_INTERVALL/g)?.length, 1, 'told once')
})

void t.test('check tells what a document renders to, and refuses the sample of the well-known article', async (t) => {
  const machine = await testMachine(t)
  const document = join(machine.root, 'document.json')
  writeFileSync(document, '{"auths":{"acme.example.com/team-a":{"auth":"dGVhbS1hOkEx"}}}')
  t.match(JSON.parse((await machine.run('check', document, '--json')).stdout), {
    ok: true, registries: ['acme.example.com/team-a'], warnings: [{ code: 'W_BARE_HOST' }],
    rendered: ['acme.example.com', 'acme.example.com/team-a/', 'acme.example.com/team-a:', 'acme.example.com/team-a@'],
  })
  writeFileSync(document, '{"https://index.docker.io/v1/":{"auth","a2vpY2FuYXJ5"}}')
  const { status, stdout } = await machine.run('check', document, '--json')
  t.equal(status, 65)
  t.match(JSON.parse(stdout), { ok: false, code: 'E_JSON', line: 1, column: Number })
  t.match(stdout, /write \{\\"auth\\": \\"\.\.\.\\"\}/)
  t.notMatch(stdout, /a2vpY2FuYXJ5/)
  t.equal((await machine.run('check', join(machine.root, 'missing.json'))).status, 74)
})

void t.test('explain reads an ecs.config of either type as the ECS agent would', async (t) => {
  const machine = await testMachine(t, { ecsConfig: 'ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={"https://docker.io":{"username":"u","password":"canary"},"r.example.com":{"username":"ci","password":"canary"}}\n' })
  const hub = await machine.run('explain', 'nginx:1', '--json')
  t.equal(hub.status, 0)
  t.match(JSON.parse(hub.stdout), { image: 'nginx:1', registry: 'docker.io', key: null, username: null, reason: /index\.docker\.io\/v1\// })
  const other = await machine.run('explain', 'r.example.com/app@sha256:ab', '--from', machine.ecsConfig, '--json')
  t.match(JSON.parse(other.stdout), { key: 'r.example.com', username: 'ci' })
  t.notMatch(hub.stdout + other.stdout, /canary/)
  t.equal((await machine.run('explain', 'nginx', '--from', join(machine.root, 'missing'))).status, 74)
  t.match((await machine.run('explain', 'nginx', '--from', machine.root)).stderr, /EISDIR[^]*that is a directory/)
})

// Regression: it said that such a pull is anonymous, or goes by a key that the ECS agent does not look at.
void t.test('explain says of an image of Amazon ECR that no key counts', async (t) => {
  const ecr = '123456789012.dkr.ecr.eu-west-1.amazonaws.com'
  const machine = await testMachine(t, { ecsConfig: 'ECS_CLUSTER=prod\n' })
  const { stdout } = await machine.run('explain', `${ecr}/app:1`, '--json')
  t.match(JSON.parse(stdout), { registry: ecr, key: null, anonymous: false, reason: /^an image of Amazon ECR: the ECS agent signs in there with its own role$/ })
  t.match((await machine.run('explain', `${ecr}/app:1`)).stdout, /^key {7}none\nbecause {3}an image of Amazon ECR/m)
  writeFileSync(machine.ecsConfig, `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={"${ecr}":{"auth":"QVdTOmNhbmFyeQ=="}}\n`)
  t.match(JSON.parse((await machine.run('explain', `${ecr}/app:1`, '--json')).stdout), { key: ecr, reason: /leaves this key alone/ })
})

void t.test('explain says why a pull is anonymous where the ECS agent itself is silent', async (t) => {
  const machine = await testMachine(t)
  const reasonFor = async (ecsConfig: string) => {
    writeFileSync(machine.ecsConfig, ecsConfig)
    const { stdout } = await machine.run('explain', 'r.example.com/app', '--json')
    return (JSON.parse(stdout) as { reason: string }).reason
  }
  const data = 'ECS_ENGINE_AUTH_DATA={"r.example.com":{"auth":"Y2k6Y2FuYXJ5"}}\n'
  t.match(await reasonFor(data), /ECS_ENGINE_AUTH_TYPE is not set/)
  t.match(await reasonFor(`ECS_ENGINE_AUTH_TYPE=docker\n${data}`), /the pull is anonymous: of type docker, Docker does not look at "auth"/)
  t.match(await reasonFor('ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={"r.example.com":{}}\n'), /that entry is empty/)
  t.notMatch(await reasonFor(`ECS_ENGINE_AUTH_TYPE=dockercfg\n${data}`), /anonymous/)
})

// Regression: the exit status was 0 then, so that a rollout or a doctor with a finding passed for well where its reader had gone.
t.test('a reader of stdout that has gone does not change the exit status', async (t) => {
  const machine = await testMachine(t)
  const child = spawn(process.execPath, [PROGRAM, 'check', '/nonexistent', '--json'], { env: machine.environment, stdio: ['ignore', 'pipe', 'ignore'] })
  child.stdout.destroy()
  t.same(await once(child, 'close'), [74, null])
})
