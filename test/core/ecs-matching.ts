import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { chooseEntry, imageRegistry, parseEngineAuth, sameMeaning } from '../../src/core/ecs-matching.js'
import type { AgentEntry, EngineAuth } from '../../src/core/ecs-matching.js'
import { decodeGoText } from '../../src/core/go-json.js'

/** What the ECS agent 1.105.1 answered. `auth` is null where it had no entry, and where its answer was random. */
type Vector = {
  readonly name: string
  readonly type: string
  readonly data_b64: string
  readonly image: string
  readonly auth: Record<string, string> | null
  readonly nondeterministic: boolean
  readonly possible: readonly string[] | null
  readonly warnings: readonly string[]
}

const vectors = JSON.parse(readFileSync(new URL('fixtures/ecs-agent-1.105.1.json', import.meta.url), 'utf8')) as { auth: readonly Vector[] }

t.test('chooses what the ECS agent 1.105.1 was seen to choose', (t) => {
  for (const vector of vectors.auth) {
    const auth = parseEngineAuth(vector.type, decodeGoText(Buffer.from(vector.data_b64, 'base64')))
    const choice = chooseEntry(auth, vector.image)
    const title = `${vector.name}: ${vector.image}`
    t.same(auth.warnings.map((warning) => `Warn ${warning}`), vector.warnings, `${title}: warnings`)
    t.equal(choice.deterministic, !vector.nondeterministic, `${title}: random or not`)
    if (vector.nondeterministic) {
      const users = [...auth.collisions.values()].flat().map(({ username }) => username).sort()
      t.same(users, vector.possible, `${title}: outcomes`)
      t.equal(choice.possible.length, vector.possible?.length, title)
    } else {
      t.same(choice.entry ? shown(choice.entry) : null, vector.auth, title)
    }
  }
  t.equal(vectors.auth.length, 73)
  t.end()
})

/** The entry in the form of the vectors: the JSON that goes to Docker. */
function shown(entry: AgentEntry): Record<string, string> {
  const identitytoken = entry.identityToken.reveal()
  return {
    username: entry.username,
    password: entry.password.reveal(),
    serveraddress: entry.serverAddress,
    ...(identitytoken === '' ? {} : { identitytoken }),
  }
}

const docker = (keys: readonly string[]) => parseEngineAuth('docker', JSON.stringify(Object.fromEntries(keys.map((key) => [key, { username: key, password: 'p' }]))))

t.test('two path keys without their host are random, and every outcome is named', async (t) => {
  const choice = chooseEntry(docker(['r.tld/a', 'r.tld/bbbb']), 'r.tld/a/x')
  t.equal(choice.deterministic, false)
  t.same(choice.possible, ['r.tld/a', 'r.tld/bbbb'])
  t.match(choice.reason, /random at each pull: r\.tld has path keys but no key of its own/)
  t.same(chooseEntry(docker(['r.tld/aa', 'r.tld/bb']), 'r.tld/bb/x').possible, ['r.tld/aa', 'r.tld/bb'], 'of the same length: the start stays')
  t.same(chooseEntry(docker(['r.tld/a', 'r.tld/bb']), 'r.tld/bb/x').possible, ['r.tld/bb'], 'longer: it takes over')
  t.same(chooseEntry(docker(['r.tld/é', 'r.tld/bb']), 'r.tld/bb/x').possible, ['r.tld/bb', 'r.tld/é'], 'length is in bytes')
  t.same(chooseEntry(docker(['r.tld/a', 'r.tld/bbbb', 'r.tld']), 'r.tld/a/x').possible, ['r.tld/a'])
})

t.test('a random choice among equal logins is no random login', async (t) => {
  const same = parseEngineAuth('docker', '{"r.tld/a":{"username":"u","password":"p"},"r.tld/b":{"username":"u","password":"p"}}')
  const choice = chooseEntry(same, 'r.tld/c/x')
  t.equal(choice.deterministic, true)
  t.same(choice.possible, ['r.tld/a', 'r.tld/b'])
})

t.test('the outcomes are those of the ECS agent\'s loop over a map in any order', async () => {
  const path = fc.stringMatching(/^[ab]{1,2}(\/[ab]{0,2})?$/)
  const registry = fc.constantFrom('r.tld', 'r.tld:5000', 'localhost', 'é.tld')
  const key = fc.tuple(fc.constantFrom('', 'http://', 'https://'), registry, fc.oneof(fc.constant(''), path.map((p) => `/${p}`))).map((parts) => parts.join(''))
  const image = fc.tuple(registry, path, fc.constantFrom('', ':1', '@sha256:ab')).map(([host, name, tag]) => `${host}/${name}${tag}`)
  fc.assert(fc.property(fc.uniqueArray(key, { maxLength: 6 }), image, fc.infiniteStream(fc.nat()), (keys, reference, numbers) => {
    const seen = new Set<string>()
    for (let round = 0; round < 300; round++) {
      const stripped = new Map(shuffled(keys, numbers).map((written) => [written.replace(/^https?:\/\//, ''), written]))
      const chosen = loopOfTheEcsAgent(shuffled([...stripped.keys()], numbers), reference)
      if (chosen !== undefined) seen.add(stripped.get(chosen) ?? '')
    }
    return [...seen].sort().join(' ') === chooseEntry(docker(keys), reference).possible.join(' ')
  }), { numRuns: 150 })
})

/** GetAuthconfig's loop, line by line, over keys in the order given. */
function loopOfTheEcsAgent(keys: readonly string[], image: string): string | undefined {
  const registry = imageRegistry(image)
  if (registry === undefined) return keys.find((key) => key === 'index.docker.io/v1/')
  let longest = keys.includes(registry) ? registry : ''
  for (const key of keys) {
    if (key.split('/')[0] !== registry) continue
    if (longest === '') longest = key
    else if (Buffer.byteLength(key) > Buffer.byteLength(longest) && image.startsWith(key)) longest = key
  }
  return longest === '' ? undefined : longest
}

/** Fisher and Yates's. */
function shuffled<T>(items: readonly T[], numbers: Iterator<number>): T[] {
  const result = [...items]
  for (let last = result.length - 1; last > 0; last--) {
    const other = (numbers.next().value as number) % (last + 1)
    const [a, b] = [result[last] as T, result[other] as T]
    result[last] = b
    result[other] = a
  }
  return result
}

t.test('encoding/json is read with its habits', async (t) => {
  const user = (auth: EngineAuth) => auth.entries.get('r.tld')?.username
  const cases: readonly [string, string, string | undefined][] = [
    ['field names in any case', '{"r.tld":{"UserName":"u","PASSWORD":"p"}}', 'u'],
    ['the long s folds to s', '{"r.tld":{"uſername":"u"}}', 'u'],
    ['of two spellings the later one', '{"r.tld":{"username":"a","USERNAME":"b","username":"c"}}', 'c'],
    ['null leaves what stood before', '{"r.tld":{"username":"a","username":null}}', 'a'],
    ['a wrong type in an overridden entry still loses everything', '{"r.tld":{"username":1},"r.tld":{"username":"u"}}', undefined],
    ['a wrong type in a field it does not know is nothing', '{"r.tld":{"username":"u","x":{"y":[1,{}]}}}', 'u'],
    ['a wrong type in a field that only docker has', '{"r.tld":{"username":"u","email":1}}', undefined],
    ['an entry that is null', '{"r.tld":{"username":"u"},"r.tld":null}', ''],
    ['an entry that is text', '{"r.tld":"u:p"}', undefined],
    ['a byte order mark', '\ufeff{"r.tld":{"username":"u"}}', undefined],
    ['text after the object', '{"r.tld":{"username":"u"}} # prod', undefined],
    ['white space round it', ' \t{"r.tld":{"username":"u"}}\r\n', 'u'],
    ['a lone surrogate', '{"r.tld":{"username":"\\ud800u\\ud83d\\ude00"}}', '\ufffdu😀'],
    ['a key named __proto__', '{"__proto__":{"username":"x"},"r.tld":{"username":"u"}}', 'u'],
    ['10000 levels', `{"r.tld":{"username":"u","x":${'['.repeat(9998)}${']'.repeat(9998)}}}`, 'u'],
    ['10001 levels', `{"r.tld":{"username":"u","x":${'['.repeat(9999)}${']'.repeat(9999)}}}`, undefined],
  ]
  for (const [name, data, expected] of cases) {
    const auth = parseEngineAuth('docker', data)
    t.equal(user(auth), expected, name)
    t.equal(auth.dropped, expected === undefined, name)
  }
  t.equal(user(parseEngineAuth('dockercfg', '{"r.tld":{"auth":"dTpw","email":1,"username":2}}')), 'u', 'dockercfg looks at auth only')
  t.equal(user(parseEngineAuth('dockercfg', '{"r.tld":{"auth":"dT\\r\\npw"}}')), 'u', 'line ends in base64 are skipped')
})

t.test('the type is trimmed and otherwise exact', async (t) => {
  const data = '{"r.tld":{"auth":"dTpw"}}'
  t.equal(parseEngineAuth(' dockercfg\r', data).entries.size, 1)
  t.same(parseEngineAuth('"dockercfg"', data).warnings, ['Unknown auth configuration: "dockercfg"'])
  t.same(parseEngineAuth('{"r.tld":{"auth":"c2VjcmV0"}}', undefined).warnings, ['Unknown auth configuration: [redacted]'])
  t.match(parseEngineAuth(undefined, data), { dropped: true, warnings: [] }, 'data without type: no credentials and no word about it')
  t.match(parseEngineAuth('dockercfg', undefined), { dropped: true, warnings: ['Could not parse \'dockercfg\' type auth config'] })
  t.match(parseEngineAuth(undefined, undefined), { dropped: false, warnings: [] })
})

t.test('a docker entry with only auth pulls anonymously', async (t) => {
  const { entry } = chooseEntry(parseEngineAuth('docker', '{"r.tld":{"auth":"dTpw"}}'), 'r.tld/x')
  t.match(entry, { anonymous: true, authIgnored: true })
  t.match(chooseEntry(parseEngineAuth('docker', '{"r.tld":{"identitytoken":"T"}}'), 'r.tld/x').entry, { anonymous: false, authIgnored: false })
})

t.test('meaning is compared, not text', async (t) => {
  const cfg = (data: string) => parseEngineAuth('dockercfg', data)
  const one = cfg('{"r.tld":{"auth":"dTpw"},"s.tld":{"auth":"dTpw"}}')
  t.ok(sameMeaning(one, cfg(' {"https://s.tld": {"email": "x", "auth": "dTpw"}, "r.tld": {"auth": "dTpw"}}')), 'order, space, scheme')
  t.ok(sameMeaning(cfg('{"r.tld":{"auth":"dTpw"}}'), parseEngineAuth('docker', '{"r.tld":{"username":"u","password":"p"}}')), 'the other type')
  t.notOk(sameMeaning(one, cfg('{"r.tld":{"auth":"dTpw"}}')), 'a registry less')
  t.notOk(sameMeaning(one, cfg('{"r.tld":{"auth":"dTpw"},"s.tld":{"auth":"dTpx"}}')), 'another password')
  t.notOk(sameMeaning(one, cfg('{"r.tld":{"auth":"dTpw"},"S.tld":{"auth":"dTpw"}}')), 'another key')
  t.notOk(sameMeaning(cfg('{}'), cfg('{')), 'nothing meant, and nothing understood')
  const random = cfg('{"r.tld":{"auth":"dTpw"},"http://r.tld":{"auth":"dTpx"}}')
  t.notOk(sameMeaning(random, random), 'a random winner is the same as nothing')
})

t.test('no secret shows in what it returns', async (t) => {
  const canary = 'c4nary-hunter2'
  const base64 = Buffer.from(`u:${canary}`).toString('base64')
  const all = [
    parseEngineAuth('docker', `{"r.tld":{"username":"u","password":"${canary}","identitytoken":"${canary}","registrytoken":"${canary}","auth":"${base64}"}}`),
    parseEngineAuth('dockercfg', `{"r.tld":{"auth":"${base64}"},"s.tld":{"auth":"${canary}"}}`),
    parseEngineAuth('dockercfg', canary),
  ]
  for (const auth of all) {
    const output = `${inspect(auth, { depth: 9 })} ${JSON.stringify([...auth.entries])} ${JSON.stringify(chooseEntry(auth, 'r.tld/x'))}`
    t.notMatch(output, canary)
    t.notMatch(output, base64)
  }
})
