import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { lintEcsConfig } from '../../src/core/ecs-config-lint.js'
import { renderEcsConfig } from '../../src/core/ecs-config.js'

const lint = (file: string) => lintEcsConfig(Buffer.from(file))
const verdicts = (file: string) => lint(file).map(({ id, verdict, line }) => [id, verdict, line])

const TYPE = 'ECS_ENGINE_AUTH_TYPE=dockercfg\n'
const DATA = 'ECS_ENGINE_AUTH_DATA={"r.tld":{"auth":"dTpw"}}\n'
const GOOD = `ECS_CLUSTER=c\n# a remark\n${TYPE}${DATA}`
const cfg = (data: string) => `${TYPE}ECS_ENGINE_AUTH_DATA=${data}\n`
const docker = (data: string) => `ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA=${data}\n`

t.test('a file as the service writes it has no finding', async (t) => {
  t.same(lint(''), [])
  t.same(lint('ECS_CLUSTER=c\n'), [])
  t.same(lint(GOOD), [])
  t.same(lintEcsConfig(renderEcsConfig(undefined, '{"https://index.docker.io/v1/":{"auth":"dTpw"},"r.tld":{"auth":"dTpw"},"r.tld/a/":{"auth":"dTpx"},"r.tld/a:":{"auth":"dTpx"},"r.tld/a@":{"auth":"dTpx"},"r.tld:5000":{"auth":"dTpw"}}')), [])
})

const cases: readonly (readonly [title: string, file: string, expected: readonly (readonly [id: string, verdict: string, line: number | undefined])[]])[] = [
  ['quoted data', `${TYPE}ECS_ENGINE_AUTH_DATA='{"r.tld":{"auth":"dTpw"}}'\n`, [['quoted', 'broken', 2], ['data-unreadable', 'broken', 2]]],
  ['quoted type', `ECS_ENGINE_AUTH_TYPE="dockercfg"\n${DATA}`, [['quoted', 'broken', 1]]],
  ['export', `${TYPE}export ${DATA}`, [['export', 'broken', 2], ['type-without-data', 'broken', undefined]]],
  ['export before another name', `export A=b\n${GOOD}`, [['export', 'warning', 1]]],
  ['a space before = of another name', `ECS_CLUSTER = c\n${TYPE}${DATA}`, [['space-before-equals', 'warning', 1]]],
  ['a space before =', `${TYPE}ECS_ENGINE_AUTH_DATA =x\n`, [['space-before-equals', 'broken', 2], ['type-without-data', 'broken', undefined]]],
  ['a space after =', `${TYPE}ECS_ENGINE_AUTH_DATA= {"r.tld":{"auth":"dTpw"}}\n`, [['space-after-equals', 'warning', 2]]],
  ['CRLF', GOOD.replaceAll('\n', '\r\n'), [['crlf', 'warning', 1]]],
  ['a bare CR', `A=1\rB=2\n${TYPE}${DATA}`, [['bare-cr', 'broken', 1]]],
  ['a byte order mark before a setting', `\ufeff${TYPE}${DATA}`, [['bom', 'broken', 1], ['data-without-type', 'broken', 2]]],
  ['a byte order mark before a remark', `\ufeff# hi\n${TYPE}${DATA}`, [['bom', 'warning', 1]]],
  ['JSON on many lines', `${TYPE}ECS_ENGINE_AUTH_DATA={\n  "r.tld": {"auth":"dTpwdw=="}\n}\nA=1\n`, [['multi-line', 'broken', 2], ['secret-in-journal', 'broken', undefined], ['data-unreadable', 'broken', 2]]],
  ['JSON on many lines, quoted', `${TYPE}ECS_ENGINE_AUTH_DATA='{\n  "r.tld": {"auth":"dTpw"}\n}'\n`, [['quoted', 'broken', 2], ['multi-line', 'broken', 2], ['data-unreadable', 'broken', 2]]],
  ['left-over pieces of JSON', `${GOOD}  "r.tld": {\n}\n`, [['json-fragment', 'warning', 5], ['json-fragment', 'warning', 6]]],
  ['duplicates', `${DATA}${GOOD}`, [['duplicate', 'warning', 5]]],
  ['a later blank', `${GOOD}ECS_ENGINE_AUTH_DATA=\n`, [['duplicate', 'broken', 5], ['type-without-data', 'broken', 5]]],
  ['a name in lower case', `${TYPE}${DATA.toLowerCase().replace('dtpw', 'dTpw')}`, [['wrong-case', 'broken', 2], ['type-without-data', 'broken', undefined]]],
  ['a type in other case', GOOD.replace('dockercfg', 'Dockercfg'), [['type-case', 'broken', 4]]],
  ['an unknown type', GOOD.replace('dockercfg', 'ecr'), [['unknown-type', 'broken', 4]]],
  ['type without data', TYPE, [['type-without-data', 'broken', undefined]]],
  ['data without type', DATA, [['data-without-type', 'broken', 1]]],
  ['plain docker type', docker('{"r.tld":{"username":"u","password":"p"}}'), [['docker-type', 'warning', 2]]],
  ['docker type with a backslash', docker('{"r.tld":{"username":"u","password":"a\\"b"}}'), [['systemd-disagrees', 'warning', 2], ['docker-type', 'warning', 2]]],
  ['docker type with only auth', docker('{"r.tld":{"auth":"dTpw"}}'), [['docker-type', 'warning', 2], ['docker-auth-only', 'broken', 2]]],
  ['docker type with nothing', docker('{"r.tld":{"email":"x"}}'), [['docker-type', 'warning', 2], ['entry-empty', 'broken', 2]]],
  ['auths wrapper', cfg('{"auths":{"r.tld":{"auth":"dTpw"}}}'), [['auths-wrapper', 'broken', 2]]],
  ['auths wrapper of type docker', docker('{"auths":{"r.tld":{"username":"u"}}}'), [['docker-type', 'warning', 2], ['auths-wrapper', 'broken', 2]]],
  ['auths wrapper beside credsStore', cfg('{"auths":{},"credsStore":"desktop"}'), [['auths-wrapper', 'broken', 2]]],
  ['broken JSON', cfg('{"r.tld":{"auth":"dTpw"}'), [['data-unreadable', 'broken', 2]]],
  ['a wrong type', cfg('{"r.tld":{"auth":true}}'), [['data-unreadable', 'broken', 2]]],
  ['an entry that is no base64', cfg('{"r.tld":{"auth":"%"}}'), [['entry-malformed', 'broken', 2]]],
  ['a password with a line end', cfg('{"r.tld":{"auth":"dTpwCg=="}}'), [['password-newline', 'broken', 2]]],
  ['keys equal without scheme', cfg('{"r.tld":{"auth":"dTpw"},"https://r.tld":{"auth":"dTpw"}}'), [['key-collision', 'broken', 2]]],
  ['path keys without host', cfg('{"r.tld/a":{"auth":"dTpw"},"r.tld/b":{"auth":"dTpx"}}'), [['paths-without-host', 'broken', 2]]],
  ['path keys without host, one login', cfg('{"r.tld/a":{"auth":"dTpw"},"r.tld/b":{"auth":"dTpw"}}'), []],
  ['a secret in a remark', `# old: ECS_ENGINE_AUTH_DATA=x\n${GOOD}`, [['commented-auth', 'warning', 1]]],
  ['a name that only contains ours', `MY_ECS_ENGINE_AUTH_DATA=x\n${GOOD}`, [['near-name', 'warning', 1]]],
  ['a nameless line', `${GOOD} =x\n`, [['empty-name', 'broken', 5]]],
  ['no final newline', GOOD.trimEnd(), [['no-final-newline', 'warning', 4]]],
  ['a backslash that gives our line to a bad name', `${TYPE}export A=b\\\n${DATA}`, [['export', 'warning', 2], ['secret-in-journal', 'broken', undefined]]],
  ['NUL', `A=x\0y\n${GOOD}`, [['nul-byte', 'broken', 1]]],
  ['too much', cfg(`{"r.tld":{"auth":"dTpw","x":"${'x'.repeat(131050)}"}}`), [['too-big', 'broken', 2]]],
  ...['docker.io', 'https://index.docker.io/v1', 'https://index.docker.io/v2/', 'index.docker.io', 'registry-1.docker.io', 'hub.docker.com', 'HTTPS://r.tld', 'myregistry', 'R.tld', 'r.tld/v2/', 'https://r.tld/v1', 'r.tld:443', 'u@r.tld', 'r.tld ']
    .map((key) => [`the key ${key}`, cfg(`{"${key}":{"auth":"dTpw"}}`), [['key-never-matches', 'broken', 2]]] as const),
  ...['https://index.docker.io/v1/', 'http://index.docker.io/v1/', 'index.docker.io/v1/', 'https://r.tld/', 'localhost', 'localhost:5000', '[::1]:5000', 'r.tld/team/']
    .map((key) => [`the key ${key}`, cfg(`{"${key}":{"auth":"dTpw"}}`), []] as const),
]

t.test('finds each fault, names its line and nothing else', async (t) => {
  for (const [title, file, expected] of cases) t.same(verdicts(file), expected, title)
})

t.test('bytes that are no text', async (t) => {
  const finding = lintEcsConfig(Buffer.concat([Buffer.from('A=1\nB=caf'), Buffer.from([0xe9]), Buffer.from(`\n${GOOD}`)]))
  t.match(finding, [{ id: 'not-utf8', verdict: 'broken', line: 2 }])
  t.match(lintEcsConfig(Buffer.from(`A=1\nB=x\uffff\n${GOOD}`)), [{ id: 'not-utf8', verdict: 'broken', line: 2 }], 'nor is a code point that is no character')
  t.same(lintEcsConfig(Buffer.concat([Buffer.from('# caf'), Buffer.from([0xe9]), Buffer.from(`\n${GOOD}`)])), [], 'a remark may hold them')
})

t.test('a finding says what is wrong, what it does and what to do', async (t) => {
  t.same(lint(`${GOOD}=x\n`), [{
    id: 'empty-name', verdict: 'broken', line: 5, message: 'line 5 begins with "=": Docker refuses a container with a nameless variable, so the ECS agent cannot start',
    fix: "delete line 5: sed -Ei '/^[[:space:]]*=/d' /etc/ecs/ecs.config",
  }])
  t.match(lint(`${TYPE}ECS_ENGINE_AUTH_DATA={\n"r.tld":{}\n}\n`)[0], { message: /lines 2 to 4/, fix: /sed -Ei '.*' \/etc\/ecs\/ecs\.config; then ecs-regcred sync/ })
})

t.test('the fixes, pasted one after the other and again, take the faulty lines and no other', async (t) => {
  const good = `ECS_CLUSTER=c\n# a remark\n${TYPE}${DATA}ECS_RESERVED_MEMORY=64\nOTHER=ECS_ENGINE_AUTH_DATA= {"x"}\n`
  const faults = [
    `#${DATA}`, `;${TYPE}`, `export ${DATA}`, 'ECS_ENGINE_AUTH_DATA ={}\n', 'Ecs_Engine_Auth_Type=dockercfg\n', `MY_${DATA}`, '=x\n', '  "auth": "dTpw"\n', '}\n', ']\n',
  ]
  const file = good.split(/(?<=\n)/).flatMap((line, index) => [...faults.slice(index * 2, index * 2 + 2), line]).join('')
  const path = join(t.testdir({ 'ecs.config': file }), 'ecs.config')
  const commands = lint(file).flatMap(({ fix }) => /sed -E?i '[^']*' \S+ecs\.config/.exec(fix)?.[0] ?? [])
  t.equal(commands.length, faults.length)
  for (const command of [...commands, ...commands]) execFileSync('sh', ['-c', command.replace('/etc/ecs/ecs.config', path)])
  t.equal(readFileSync(path, 'utf8'), good)
})

// Regression: these were to be mended by a pass, which writes nothing where the meaning is right already; and a line was named by its number.
t.test('the fix of a fault that the ECS agent copes with mends it, and changes nothing else', async (t) => {
  const rest = '# a remark\nECS_RESERVED_MEMORY= 64\nOTHER=ECS_ENGINE_AUTH_DATA= {"x"}\n'
  const old = 'ECS_ENGINE_AUTH_DATA={"r.tld":{"auth":"dTpx"}}\n'
  const files: Record<string, readonly [before: string, after: string]> = {
    'a space after =': [`${rest}${TYPE.replace('=', '= ')}${DATA.replace('=', '=\t ')}`, `${rest}${TYPE}${DATA}`],
    'lines that stand three times': [`${old}${TYPE}  ${old}${rest}${TYPE}${DATA}`, `${rest}${TYPE}${DATA}`],
    'two in a row, at the end without line feed': [`${TYPE}${rest}${old}${DATA}`, `${TYPE}${rest}${DATA}`],
    'export before others, a good line gone before it': [`export ${DATA}export A=b\n ${rest}  export C=d\n${TYPE}${DATA}`, `A=b\n ${rest}C=d\n${TYPE}${DATA}`],
    'a space before = of others': [`ECS_CLUSTER = c\n${rest}  ECS_LOGLEVEL  =info\n${TYPE}${DATA}`, `ECS_CLUSTER=c\n${rest}  ECS_LOGLEVEL=info\n${TYPE}${DATA}`],
    'what systemd reads otherwise': [`${rest}${TYPE}${DATA.replace('dTpw', 'dTp\\/')}`, rest],
  }
  for (const [title, [before, after]] of Object.entries(files)) {
    const path = join(t.testdir({ 'ecs.config': before }), 'ecs.config')
    const commands = lint(before).map(({ fix }) => /sed -Ez?i '[^']*' \S+ecs\.config/.exec(fix)?.[0] ?? `: ${fix}`)
    t.not(commands.length, 0, title)
    for (const command of [...commands, ...commands]) execFileSync('sh', ['-c', command.replace('/etc/ecs/ecs.config', path)])
    t.equal(readFileSync(path, 'utf8'), after, title)
    t.same(lintEcsConfig(readFileSync(path)), [], title)
  }
})

t.test('no finding shows a value', async (t) => {
  const canary = 'c4nary-hunter2'
  const base64 = Buffer.from(`u:${canary}`).toString('base64')
  const damaged = cases.map(([, file]) => file.replaceAll('dTpwdw==', `${base64}=`).replaceAll('dTpw', base64).replaceAll('"p"', `"${canary}"`).replaceAll('=x', `=${canary}`))
  const more = [`ECS_ENGINE_AUTH_TYPE=${canary}\n${DATA}`, cfg(`{"${canary}":{"auth":"dTpw"}}`), cfg(`{"u:${canary}@r.tld":{"auth":"dTpw"},"${canary}/a":{"auth":"x"}}`), `${canary}=ECS_ENGINE_AUTH_DATA=\n`, cfg(canary), cfg(`"${canary}"`)]
  for (const file of [...damaged, ...more]) {
    const output = JSON.stringify(lint(file))
    t.notMatch(output, canary)
    t.notMatch(output, base64)
  }
})

t.test('no file stops it', async () => {
  const vectors = JSON.parse(readFileSync(new URL('fixtures/ecs-agent-1.105.1.json', import.meta.url), 'utf8')) as { envfile: readonly { file_b64: string }[] }
  for (const { file_b64 } of vectors.envfile) lintEcsConfig(Buffer.from(file_b64, 'base64'))
  const piece = fc.constantFrom('ECS_ENGINE_AUTH_DATA=', 'ECS_ENGINE_AUTH_TYPE=', '{"r.tld":{', '"auth":"dTpw"', '}}', '\n', '\r', '\'', '"', '\\', '#', ' ', '=', '\0', '\ufeff', 'docker', 'cfg')
  fc.assert(fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => lint(pieces.join('')).every(({ message, fix }) => message !== '' && fix !== '')), { numRuns: 2000 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => lintEcsConfig(bytes).length >= 0))
})
