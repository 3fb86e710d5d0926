import { spawn } from 'node:child_process'
import t, { type Test } from 'tap'
import { Refusal } from '../fixtures/aws/json-endpoint.js'
import { serveSecret } from '../fixtures/aws/secret.js'
import { runCommandLine } from '../fixtures/command-line.js'
import { serve } from '../fixtures/registry/server.js'
import { PROGRAM } from '../fixtures/machine.js'

const CANARY = 'canary-7f3a:pass$word'
const AUTH = Buffer.from(`ci:${CANARY}`).toString('base64')
const FORMS = [CANARY, AUTH, Buffer.from(CANARY).toString('base64'), encodeURIComponent(CANARY)]

/** A registry that takes one login. */
async function registry(t: Test, password = CANARY): Promise<string> {
  const expected = `Basic ${Buffer.from(`ci:${password}`).toString('base64')}`
  const { host } = await serve(t, ({ authorization }) => (authorization === expected ? { status: 200, body: '{}' } : { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } }))
  return host
}

function put(host: string, more: readonly string[] = [], stdin = `${CANARY}\n`) {
  return runCommandLine(['secret', 'put', '--secret-id', 'prod/registry', '--registry', host, '--username', 'ci', '--password-stdin', ...more], { stdin })
}

function holdsNoCanary(t: Test, ...texts: string[]): void {
  for (const form of FORMS) t.notOk(texts.some((text) => text.includes(form)), 'no piece of the credential is shown')
}

t.test('a login is tried, merged into the document and put, and what happens next is said', async (t) => {
  const host = await registry(t)
  const { state, calls } = await serveSecret(t, '{\n  "ghcr.io": {"username": "bob", "password": "0ther-canary"}\n}')
  const { status, stdout, stderr } = await put(host)
  t.equal(status, 0, stderr)
  t.equal(state.versions?.at(-1)?.text, `{\n  "ghcr.io": {"username": "bob", "password": "0ther-canary"},\n  "${host}": {"username":"ci","password":"${CANARY}"}\n}`)
  t.match(stdout, `${host} accepts the login.\nPut into secret prod/registry: login added for ${host}, as a map of registries.\n`)
  t.match(stdout, `version        ${state.current}`)
  t.match(stdout, /at its next poll, within 5 min.*\n.*\n.*REGCRED_SPLAY/)
  t.match(stdout, 'ecs-regcred fleet --cluster CLUSTER --secret-id prod/registry')
  holdsNoCanary(t, stdout, stderr)
  t.notMatch(stdout + stderr, '0ther-canary')
  t.equal(calls.filter(({ action }) => action === 'PutSecretValue').length, 1)
})

t.test('a document in base64 stays base64, and is written anew with every registry it held only when asked', async (t) => {
  const host = await registry(t)
  const { state } = await serveSecret(t, Buffer.from(JSON.stringify({ auths: { 'ghcr.io': { username: 'bob', password: '0ther-canary' } } })).toString('base64'))
  const wanted = { 'ghcr.io': { username: 'bob', password: '0ther-canary' }, [host]: { username: 'ci', password: CANARY } }
  t.match(await put(host), { status: 0, stdout: `login added for ${host}, as a docker config.json in base64.` })
  t.same(JSON.parse(Buffer.from(state.versions?.at(-1)?.text ?? '', 'base64').toString()), { auths: wanted })
  t.match(await put(host), { status: 0, stdout: /already holds this login/ })
  t.equal((await put(host, ['--shape', 'registries'])).status, 0)
  t.same(JSON.parse(state.versions?.at(-1)?.text ?? ''), wanted)
})

// Regression: the statement to add was that of a host, which may not put; the next attempt was denied again.
for (const action of ['GetSecretValue', 'PutSecretValue']) {
  t.test(`an operator who is denied ${action} is told of both rights`, async (t) => {
    await serveSecret(t, '{}', { [action]: () => { throw new Refusal('AccessDeniedException', `User: arn:aws:iam::123456789012:user/ops is not authorized to perform: secretsmanager:${action} on resource: arn:aws:x because no identity-based policy allows the secretsmanager:${action} action`) } })
    const { status, stderr } = await put(await registry(t))
    t.equal(status, 77)
    t.match(stderr, '"Action":["secretsmanager:GetSecretValue","secretsmanager:PutSecretValue"]')
  })
}

// Regression: hosts read such a document, and this command called it no JSON.
t.test('a byte order mark before the text is no hindrance', async (t) => {
  const host = await registry(t)
  const { state } = await serveSecret(t, '\uFEFF{"ghcr.io":{"username":"bob","password":"0ther-canary"}}')
  t.equal((await put(host)).status, 0)
  t.same(Object.keys(JSON.parse(state.versions?.at(-1)?.text ?? '')), ['ghcr.io', host])
})

t.test('the same login again puts nothing', async (t) => {
  const host = await registry(t)
  const { state, calls } = await serveSecret(t, `{"auths":{"${host}":{"auth":"${AUTH}"}}}`)
  const { status, stdout } = await put(host, ['--json'])
  t.equal(status, 0)
  t.match(JSON.parse(stdout), { ok: true, action: 'none', version: state.current, registries: [host], probe: 'accepted' })
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
})

t.test('a login that the registry refuses is not put: 77', async (t) => {
  const host = await registry(t, 'another')
  const { calls } = await serveSecret(t, '{}')
  const { status, stdout, stderr } = await put(host)
  t.equal(status, 77)
  t.match(stderr, `${host} refuses this login, so it was not put`)
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
  holdsNoCanary(t, stdout, stderr)
  t.equal((await put(host, ['--no-probe'])).status, 0)
})

t.test('a registry that cannot be asked is a warning', async (t) => {
  await serveSecret(t, '{}')
  const { status, stderr } = await put('127.0.0.1:1')
  t.equal(status, 0)
  t.match(stderr, /^warning: 127\.0\.0\.1:1 could not be asked/m)
})

t.test('a secret that is not there is created, and that is said', async (t) => {
  const host = await registry(t)
  const { state, calls } = await serveSecret(t, undefined)
  const { status, stdout, stderr } = await put(host)
  t.equal(status, 0, stderr)
  t.match(stdout, 'Put into the new secret prod/registry (there was none of that name): first login')
  t.equal(state.versions?.[0]?.text, JSON.stringify({ [host]: { username: 'ci', password: CANARY } }))
  const token: string = calls.find(({ action }) => action === 'CreateSecret')?.input.ClientRequestToken
  t.match(token, /^[\w-]{32,64}$/)
})

t.test('an ARN that names no secret creates none', async (t) => {
  const { calls } = await serveSecret(t, undefined)
  const { status } = await runCommandLine(['secret', 'put', '--secret-id', 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod-AbCdEf', '--registry', 'r.example.com', '--username', 'ci', '--password-stdin', '--no-probe'], { stdin: CANARY })
  t.equal(status, 69)
  t.notOk(calls.some(({ action }) => action === 'CreateSecret'))
})

t.test('a binary secret stays binary', async (t) => {
  const host = await registry(t)
  const { state } = await serveSecret(t, `{"auths":{"${host}":{"auth":"b2xkOm9sZA=="}}}`, {}, true)
  t.equal((await put(host)).status, 0)
  t.match(state.versions?.at(-1), { binary: true, text: `{"auths":{"${host}":{"auth":"${AUTH}"}}}` })
})

t.test('--shape plain makes what repositoryCredentials reads, and says what hosts need then', async (t) => {
  const host = await registry(t)
  const { state } = await serveSecret(t, undefined)
  const { stdout } = await put(host, ['--shape', 'plain'])
  t.equal(state.versions?.[0]?.text, JSON.stringify({ username: 'ci', password: CANARY }))
  t.match(stdout, `hosts need REGCRED_REGISTRY=${host}`)
})

// Regression: a login that every host leaves out was put without a word, and the hosts were said to restart for it.
t.test('a login that no host would use is warned of, and refused where nothing else is in the secret', async (t) => {
  const ecr = '123456789012.dkr.ecr.eu-west-1.amazonaws.com'
  await serveSecret(t, '{"ghcr.io":{"username":"bob","password":"0ther-canary"}}')
  t.match(await put(ecr, ['--no-probe']), { status: 0, stderr: `warning: ${ecr}: the ECS agent signs in to ECR itself; left out\n` })
  t.match(await put('acme.jfrog.io/team-a', ['--no-probe']), { status: 0, stderr: /warning: acme\.jfrog\.io has keys for paths only/ })
  const { calls } = await serveSecret(t, '{}')
  t.match(await put(ecr, ['--no-probe']), { status: 65, stderr: /nothing remains for the ECS agent: .*ECR itself/ })
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
})

t.test('--dry-run puts nothing', async (t) => {
  const host = await registry(t)
  const { calls } = await serveSecret(t, '{}')
  const { status, stdout } = await put(host, ['--dry-run'])
  t.equal(status, 0)
  t.match(stdout, 'Would put into secret prod/registry')
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
})

t.test('the token of the same step is the same, and no digest that passwords can be tried out on', async (t) => {
  const text = '{"ghcr.io":{"username":"bob","password":"0ther-canary"}}'
  const tokens: string[] = []
  for (const before of [text, text, '{"ghcr.io":{"username":"bob","password":"0ther-canary2"}}']) {
    await t.test('one put', async (t) => {
      const { calls } = await serveSecret(t, before)
      await put('r.example.com', ['--no-probe'])
      tokens.push(calls.find(({ action }) => action === 'PutSecretValue')?.input.ClientRequestToken)
    })
  }
  t.match(tokens[0], /^[0-9a-f]{64}$/)
  t.equal(tokens[0], tokens[1])
  t.not(tokens[0], tokens[2], 'the document before is its salt')
})

t.test('a step taken again after its version was moved away from AWSCURRENT makes a version of its own', async (t) => {
  const { state } = await serveSecret(t, '{"ghcr.io":{"username":"bob","password":"0ther"}}')
  const first = state.current
  await put('r.example.com', ['--no-probe'])
  state.previous = state.current
  state.current = first
  const { status } = await put('r.example.com', ['--no-probe'])
  t.equal(status, 0)
  t.equal(state.versions?.length, 3)
  t.equal(state.current, state.versions?.[2]?.id)
})

t.test('a version that somebody else puts meanwhile is not overwritten: 75', async (t) => {
  let reads = 0
  const { calls } = await serveSecret(t, '{}', {
    GetSecretValue: () => ({ VersionId: `${++reads}`.repeat(32), SecretString: '{"ghcr.io":{"username":"bob","password":"0ther"}}' }),
  })
  const { status, stderr } = await put('r.example.com', ['--no-probe'])
  t.equal(status, 75)
  t.match(stderr, /somebody else put version 2{32} meanwhile/)
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
})

t.test('a version that was put in the same instant is found afterwards', async (t) => {
  const { stderr } = await serveSecret(t, '{}').then(async ({ state, calls }) => {
    void calls
    const other = { id: '9'.repeat(32), text: '{}', binary: false }
    Object.defineProperty(state, 'previous', { get: () => other.id, set: () => { state.versions?.push(other) } })
    return put('r.example.com', ['--no-probe'])
  })
  t.match(stderr, /warning: somebody else put version 9{32} in the same instant/)
})

t.test('a password on the command line is refused, and not repeated', async (t) => {
  for (const args of [['--password', CANARY], [`--password=${CANARY}`]]) {
    const { status, stdout, stderr } = await runCommandLine(['secret', 'put', '--secret-id', 's', '--registry', 'r.example.com', '--username', 'ci', ...args])
    t.equal(status, 64)
    t.match(stderr, 'a password is not taken from the command line')
    holdsNoCanary(t, stdout, stderr)
  }
})

t.test('a password of two lines is told as that, whatever the shape', async (t) => {
  const { calls } = await serveSecret(t, '{"auths":{}}')
  for (const stdin of ['a\nb\n', `${CANARY}\n\n`]) {
    const { status, stdout, stderr } = await put('registry.example.com', ['--no-probe'], stdin)
    t.equal(status, 65)
    t.match(stderr, 'the password has a line break in it')
    holdsNoCanary(t, stdout, stderr)
  }
  t.same(calls, [])
})

t.test('what stdin holds is the password but for one newline', async (t) => {
  // Regression: a byte order mark, as Windows editors write it, became the first character of the password.
  for (const [stdin, expected] of [['pw', 'pw'], ['pw\r\n', 'pw'], ['\uFEFFpw\r\n', 'pw'], [' pw \n', ' pw '], ['pässwörd✓\n', 'pässwörd✓']] as const) {
    await t.test(JSON.stringify(stdin), async (t) => {
      const { state } = await serveSecret(t, undefined)
      await put('r.example.com', ['--no-probe'], stdin)
      t.equal(JSON.parse(state.versions?.[0]?.text ?? '{}')['r.example.com']?.password, expected)
    })
  }
})

t.test('an empty password, a NUL, several lines and no source of one are refused', async (t) => {
  const { calls } = await serveSecret(t, '{}')
  for (const stdin of ['', '\n', 'a\0b', 'a\nb']) t.equal((await put('r.example.com', ['--no-probe'], stdin)).status, 65, JSON.stringify(stdin))
  const unasked = await runCommandLine(['secret', 'put', '--secret-id', 's', '--registry', 'r.example.com', '--username', 'ci'])
  t.equal(unasked.status, 64)
  t.match(unasked.stderr, '--password-stdin')
  t.notOk(calls.some(({ action }) => action === 'PutSecretValue'))
})

t.test('what is missing is named, and a part of a secret is refused', async (t) => {
  const { status, stderr } = await runCommandLine(['secret', 'put', '--username', 'ci', '--password-stdin'], { stdin: 'x' })
  t.equal(status, 64)
  t.match(stderr, 'secret put needs --secret-id, --registry')
  const arn = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod-AbCdEf:key::'
  const part = await runCommandLine(['secret', 'put', '--secret-id', arn, '--registry', 'r.example.com', '--username', 'ci', '--password-stdin'], { stdin: 'x' })
  t.equal(part.status, 78)
})

t.test('a right that is missing is told with the statement to add', async (t) => {
  await serveSecret(t, '{}', { PutSecretValue: () => { throw new Refusal('AccessDeniedException', 'User: arn:aws:sts::123456789012:assumed-role/ops/me is not authorized to perform: secretsmanager:PutSecretValue on resource: prod/registry because no identity-based policy allows the secretsmanager:PutSecretValue action') } })
  const { status, stdout, stderr } = await put('r.example.com', ['--no-probe'])
  t.equal(status, 77)
  t.match(stderr, 'secretsmanager:PutSecretValue')
  holdsNoCanary(t, stdout, stderr)
})

/** The built program at a terminal of its own; `script` lends the terminal. */
function atTerminal(t: Test, args: readonly string[]) {
  const command = `stty -a >&2; ${process.execPath} ${PROGRAM} ${args.join(' ')}; echo "status $?"; stty -a`
  const child = spawn('script', ['-qefc', command, '/dev/null'], { env: { ...process.env, HOME: '/nonexistent', TERM: 'xterm' }, stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(() => child.kill())
  let shown = ''
  const waiting = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    for (const check of waiting) check()
  })
  return {
    type: (text: string) => child.stdin.write(text),
    until: (pattern: RegExp) => new Promise<string>((resolve) => {
      const check = (): void => {
        if (!pattern.test(shown)) return
        waiting.delete(check)
        resolve(shown)
      }
      waiting.add(check)
      check()
    }),
  }
}

const ARGS = ['secret', 'put', '--secret-id', 'prod/registry', '--registry', 'r.example.com', '--username', 'ci', '--no-probe']

t.test('a password typed at a terminal is not shown', async (t) => {
  const { state } = await serveSecret(t, undefined)
  const terminal = atTerminal(t, ARGS)
  await terminal.until(/Password of ci at r\.example\.com: /)
  terminal.type(`x\u007f${CANARY}X\u007f\r`)
  const shown = await terminal.until(/status \d[\s\S]*-?echoprt/)
  t.match(shown, 'status 0')
  t.notMatch(shown, 'canary')
  t.equal(JSON.parse(state.versions?.[0]?.text ?? '{}')['r.example.com']?.password, CANARY)
  t.match(shown.slice(shown.indexOf('status')), / echo /, 'the terminal shows again what is typed')
})

t.test('Ctrl-C at the prompt puts nothing and leaves the terminal as it was', async (t) => {
  const { calls } = await serveSecret(t, undefined)
  const terminal = atTerminal(t, ARGS)
  await terminal.until(/Password of ci at r\.example\.com: /)
  terminal.type('canary\u0003')
  const shown = await terminal.until(/status \d[\s\S]*-?echoprt/)
  t.match(shown, 'status 75')
  t.match(shown, 'interrupted; nothing was put')
  t.notMatch(shown, 'canary')
  t.match(shown.slice(shown.indexOf('status')), / echo /)
  t.same(calls, [])
})
