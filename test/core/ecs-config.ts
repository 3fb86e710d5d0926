import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { readEngineAuth, readEnvironment, redactedDiff, renderEcsConfig, replaceAuthLines } from '../../src/core/ecs-config.js'
import { chooseEntry } from '../../src/core/ecs-matching.js'

const bytes = (text: string) => Buffer.from(text)
const text = (file: Uint8Array) => Buffer.from(file).toString('latin1')

type Vector = { readonly name: string; readonly file_b64: string; readonly ecs_init: Record<string, string> }
const vectors = JSON.parse(readFileSync(new URL('fixtures/ecs-agent-1.105.1.json', import.meta.url), 'utf8')) as { envfile: readonly Vector[] }

t.test('reads what ecs-init was seen to read', async (t) => {
  for (const { name, file_b64, ecs_init } of vectors.envfile) {
    t.same(Object.fromEntries(readEnvironment(Buffer.from(file_b64, 'base64'))), ecs_init, name)
  }
  t.equal(vectors.envfile.length, 26)
})

t.test('white space is Go\'s', async (t) => {
  t.same([...readEnvironment(bytes('\u0085\u00a0A=1\u3000\u2028\n\ufeffB=2\n C =3 \n'))], [['A', '1'], ['\ufeffB', '2'], ['C ', '3']])
  t.same([...readEnvironment(Buffer.from('A=\xe2\x82x\x85\n', 'latin1'))], [['A', '\ufffd\ufffdx\ufffd']], 'each byte that is no text becomes U+FFFD')
})

const DATA = '{"r.tld":{"auth":"dTpw"}}'
const OURS = `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${DATA}\n`

t.test('the two lines go where the first of their kind stood, else to the end', async (t) => {
  const cases: readonly [string, string, string][] = [
    ['no file', '', OURS],
    ['no credentials yet', 'ECS_CLUSTER=c\n', `ECS_CLUSTER=c\n${OURS}`],
    ['no final newline', 'ECS_CLUSTER=c', `ECS_CLUSTER=c\n${OURS}`],
    ['in place', 'A=1\nECS_ENGINE_AUTH_DATA={}\nB=2\nECS_ENGINE_AUTH_TYPE=docker\nC=3', `A=1\n${OURS}B=2\nC=3\n`],
    ['repeated, indented, CRLF, blank', 'ECS_ENGINE_AUTH_TYPE=docker\r\nA=1\r\n\tECS_ENGINE_AUTH_DATA=x\r\nECS_ENGINE_AUTH_DATA=', `${OURS}A=1\r\n`],
    ['only white space at the end', 'A=1\n  ', `A=1\n  \n${OURS}`],
    ['names that ecs-init takes for others', '#ECS_ENGINE_AUTH_DATA=a\nexport ECS_ENGINE_AUTH_DATA=b\nECS_ENGINE_AUTH_DATA =c\necs_engine_auth_data=d\nECS_ENGINE_AUTH_DATA\n',
      `#ECS_ENGINE_AUTH_DATA=a\nexport ECS_ENGINE_AUTH_DATA=b\nECS_ENGINE_AUTH_DATA =c\necs_engine_auth_data=d\nECS_ENGINE_AUTH_DATA\n${OURS}`],
    ['a name behind a byte order mark', '\ufeffECS_ENGINE_AUTH_DATA=a\n', `\ufeffECS_ENGINE_AUTH_DATA=a\n${OURS}`],
    ['the later lines of pretty-printed JSON', 'ECS_ENGINE_AUTH_DATA={\n  "r.tld": {"auth":"dTpw"}\n}\nA=1\n', `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${DATA}\n  "r.tld": {"auth":"dTpw"}\n}\nA=1\n`],
  ]
  for (const [name, before, after] of cases) t.equal(Buffer.from(renderEcsConfig(bytes(before), DATA)).toString(), after, name)
  t.equal(text(renderEcsConfig(undefined, DATA)), OURS)
})

t.test('a bare carriage return behind our name is refused: settings would vanish with the line', async (t) => {
  const file = bytes('A=1\nECS_ENGINE_AUTH_DATA=hunter2\rECS_CLUSTER=prod\n')
  for (const edit of [() => renderEcsConfig(file, DATA), () => replaceAuthLines(file, undefined)]) {
    t.throws(edit, { code: 'E_ECS_CONFIG', details: { line: 2 } })
    try { edit() } catch (error) { t.notMatch(JSON.stringify(error), 'hunter2') }
  }
  t.equal(text(renderEcsConfig(bytes('A=1\rB=2\n'), DATA)), `A=1\rB=2\n${OURS}`, 'in other lines it is theirs')
  t.throws(() => renderEcsConfig(undefined, '{}\nECS_CLUSTER=x'), { code: 'E_BUG' }, 'data of more lines than one is a bug of ours')
})

// Arbitrary files: bytes of any value, lines likely to be near ours.
const oddLine = fc.oneof(
  fc.constantFrom('ECS_CLUSTER=c', '', '# note \\', 'export A=b', '#ECS_ENGINE_AUTH_DATA=x', 'ECS_ENGINE_AUTH_DATA', '=x', '\ufeff', 'A="b', 'ECS_ENGINE_AUTH_DATAX=1').map((line) => bytes(line)),
  fc.constantFrom('ECS_ENGINE_AUTH_DATA=x', ' ECS_ENGINE_AUTH_TYPE=docker \r', '\u00a0\u2028ECS_ENGINE_AUTH_DATA={"a', 'ECS_ENGINE_AUTH_TYPE=').map((line) => bytes(line)),
  fc.uint8Array({ maxLength: 12 }).map((line) => Buffer.from(line)),
)
const file = fc.tuple(fc.array(oddLine, { maxLength: 10 }), fc.boolean())
  .map(([lines, end]) => Buffer.concat(lines.flatMap((line, index) => (index < lines.length - 1 || end ? [line, bytes('\n')] : [line]))))
const data = fc.dictionary(fc.domain(), fc.base64String().map((auth) => ({ auth })), { maxKeys: 3 }).map((map) => JSON.stringify(map))

/** Lines that are not ours, by the plain definition: ecs-init's reading of that line alone has neither name. */
function foreignLines(whole: Uint8Array): string[] {
  const lines = text(whole).split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines.filter((line) => {
    const names = [...readEnvironment(Buffer.from(line, 'latin1')).keys()]
    return !names.includes('ECS_ENGINE_AUTH_TYPE') && !names.includes('ECS_ENGINE_AUTH_DATA')
  })
}

t.test('for any file and any credentials', async (t) => {
  fc.assert(fc.property(file, data, data, (before, first, second) => {
    const once = renderEcsConfig(before, first)
    t.same(foreignLines(once), foreignLines(before), 'foreign lines keep their bytes and order')
    t.equal(readEnvironment(once).get('ECS_ENGINE_AUTH_DATA'), first, 'the ECS agent reads the data as rendered')
    t.equal(readEnvironment(once).get('ECS_ENGINE_AUTH_TYPE'), 'dockercfg')
    t.equal(text(renderEcsConfig(once, first)), text(once), 'once more changes nothing')
    t.equal(text(once).at(-1), '\n')
    t.equal(text(renderEcsConfig(once, second)), text(renderEcsConfig(before, second)), 'what was there before leaves no trace')
    const back = replaceAuthLines(renderEcsConfig(once, second), once)
    t.equal(text(back), text(once), 'the way back')
  }), { numRuns: 500 })
})

t.test('a rollback brings back the lines as they stood and keeps what others changed since', async (t) => {
  const before = bytes('A=1\n  ECS_ENGINE_AUTH_TYPE=docker\r\nB=2\nECS_ENGINE_AUTH_DATA={"r.tld":{}}')
  const current = bytes(`A=1\n${OURS}B=3\nC=4\n`)
  t.equal(text(replaceAuthLines(current, before)), 'A=1\n  ECS_ENGINE_AUTH_TYPE=docker\r\nECS_ENGINE_AUTH_DATA={"r.tld":{}}\nB=3\nC=4\n')
  t.equal(text(replaceAuthLines(current, undefined)), 'A=1\nB=3\nC=4\n')
  t.equal(text(replaceAuthLines(current, bytes('Z=1\n'))), 'A=1\nB=3\nC=4\n')
  t.equal(text(replaceAuthLines(bytes('A=1'), before)), 'A=1\n  ECS_ENGINE_AUTH_TYPE=docker\r\nECS_ENGINE_AUTH_DATA={"r.tld":{}}\n')
  t.equal(text(replaceAuthLines(undefined, undefined)), '')
})

t.test('the file\'s credentials and whether there are any', async (t) => {
  const auth = readEngineAuth(bytes(`ECS_ENGINE_AUTH_DATA=x\n${OURS}`))
  t.match(auth, { typeSet: true, dataSet: true, dropped: false })
  t.equal(chooseEntry(auth, 'r.tld/x').entry?.username, 'u')
  t.match(readEngineAuth(undefined), { typeSet: false, dataSet: false, dropped: false })
  t.match(readEngineAuth(bytes(`${OURS}ECS_ENGINE_AUTH_DATA=\n`)), { typeSet: true, dataSet: false, dropped: true }, 'a later blank wins')
})

t.test('a diff names registries and fields, and shows no value', async (t) => {
  const old = bytes('ECS_CLUSTER=c\nECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={"r.tld":{"username":"u","password":"hunter2"},"s.tld":{"Password":"hunter2"}}\nA=1\n')
  t.equal(redactedDiff(old, renderEcsConfig(old, DATA)), [
    '--- ecs.config',
    '+++ ecs.config',
    '@@ line 2 @@',
    '-ECS_ENGINE_AUTH_TYPE=docker',
    '-ECS_ENGINE_AUTH_DATA={"r.tld":{"username":"[redacted]","password":"[redacted]"},"s.tld":{"password":"[redacted]"}}',
    '+ECS_ENGINE_AUTH_TYPE=dockercfg',
    '+ECS_ENGINE_AUTH_DATA={"r.tld":{"auth":"[redacted, changed]"}}',
    '',
  ].join('\n'))
  t.equal(redactedDiff(bytes(OURS), bytes(OURS)), '')
  t.equal(redactedDiff(undefined, bytes('ECS_CLUSTER=x\nSECRET=y\nfoo\n')), '--- ecs.config\n+++ ecs.config\n@@ line 1 @@\n+ECS_CLUSTER=[not shown]\n+[a line that is not shown]\n+[a line that is not shown]\n')
})

t.test('no form of a credential gets into a diff', async (t) => {
  const canary = 'c4nary-hunter2'
  const forms = [
    `ECS_ENGINE_AUTH_DATA='{"r.tld":{"auth":"${canary}"}}'`, `ECS_ENGINE_AUTH_DATA={"r.tld":{"auth":"${canary}"`, `ECS_ENGINE_AUTH_TYPE=${canary}`,
    `#ECS_ENGINE_AUTH_DATA=${canary}`, `export ECS_ENGINE_AUTH_DATA=${canary}`, `ECS_ENGINE_AUTH_DATA = ${canary}`, `\ufeffECS_ENGINE_AUTH_DATA=${canary}`,
    `ECS_ENGINE_AUTH_DATA={"${canary}":{"auth":"x"}}`, `ECS_ENGINE_AUTH_DATA={"https://u:${canary}@r.tld":{"auth":"x"}}`, `ECS_ENGINE_AUTH_DATA={"r.tld":"${canary}"}`,
    `ECS_ENGINE_AUTH_DATA={"r.tld":{"${canary}":"x","auth":["${canary}"]}}`, `ECS_ENGINE_AUTH_DATA={\n"auth":"${canary}="\n}`, `${canary}=x`, `A=1\rECS_ENGINE_AUTH_DATA=${canary}`,
    `ECS_ENGINE_AUTH_DATA="${canary}"`, `ECS_ENGINE_AUTH_DATA=${canary}`, `ECS_ENGINE_AUTH_DATA={"u:${canary}":{}}`,
  ]
  for (const form of forms) {
    for (const diff of [redactedDiff(bytes(form), bytes(OURS)), redactedDiff(bytes(OURS), bytes(form))]) {
      t.notMatch(diff, canary)
      t.not(diff, '', form)
    }
  }
})
