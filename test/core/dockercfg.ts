import fc from 'fast-check'
import t from 'tap'
import type { Credential, Registries } from '../../src/core/credential.js'
import { meantCredential, renderAuthData, toDockercfg } from '../../src/core/dockercfg.js'
import { renderEcsConfig, readEngineAuth } from '../../src/core/ecs-config.js'
import { chooseEntry, parseEngineAuth } from '../../src/core/ecs-matching.js'
import { Redacted } from '../../src/core/redacted.js'
import { canonicalRegistry, HUB_KEY } from '../../src/core/registry-name.js'

const login = (username: string, password = 'pw'): Credential => ({ username, password: new Redacted(password) })
const registries = (...names: string[]): Registries => new Map(names.map((name) => [name, login(`user-of-${name.replace(/\W/g, '-')}`)]))
const keys = (...names: string[]) => [...toDockercfg(registries(...names)).dockercfg.keys()].sort()

t.test('a host is its own key, and Docker Hub has the ECS agent\'s', (t) => {
  t.same(keys('r.io', 'r.io:5000', HUB_KEY), [HUB_KEY, 'r.io', 'r.io:5000'])
  t.end()
})

t.test('a path becomes the keys that carry its boundary', (t) => {
  t.same(keys('r.io', 'r.io/team'), ['r.io', 'r.io/team/', 'r.io/team:', 'r.io/team@'])
  t.end()
})

t.test('a host with paths alone gets a key of its own, and a warning names the entry it repeats', (t) => {
  const { dockercfg, warnings } = toDockercfg(registries('r.io/longer', 'r.io/bb', 'r.io/aa'))
  t.equal(dockercfg.get('r.io')?.username, 'user-of-r-io-aa')
  t.match(warnings, [{ code: 'W_BARE_HOST', message: /r\.io\/aa/ }])
  t.equal(warnings.length, 1)
  t.same(toDockercfg(registries('r.io', 'r.io/aa')).warnings, [])
  t.end()
})

t.test('entries that the ECS agent never uses are left out; where nothing remains, that is refused with the reason', (t) => {
  const ecr = '123456789012.dkr.ecr.eu-west-1.amazonaws.com'
  const { dockercfg, warnings } = toDockercfg(registries('r.io', ecr, 'docker.io/acme'))
  t.same([...dockercfg.keys()], ['r.io'])
  t.same(warnings.map(({ code }) => code), ['W_ECR_HOST', 'W_HUB_PATH'])
  t.throws(() => toDockercfg(registries(ecr, `${ecr}/app`)), { code: 'E_EMPTY', message: /ECS agent signs in to ECR itself/ })
  t.throws(() => toDockercfg(new Map()), { code: 'E_EMPTY' })
  t.equal(renderAuthData(toDockercfg(new Map(), { allowEmpty: true }).dockercfg), '{}')
  t.equal(meantCredential(registries(ecr), `${ecr}/app:1`), undefined)
  t.end()
})

t.test('the text has its keys sorted and nothing that needs an escape', (t) => {
  const dockercfg = toDockercfg(new Map([['r.io/b', login('u', '"\\\' $`=#\t')], ['a.io', login('u', 'é')]])).dockercfg
  const data = renderAuthData(dockercfg)
  t.match(data, /^\{"a\.io":\{"auth":"dTrDqQ=="\},"r\.io":/)
  t.match(data, /^[!-~]+$/)
  t.notMatch(data, /[\\' ]/)
  t.same(Object.keys(JSON.parse(data) as object), ['a.io', 'r.io', 'r.io/b/', 'r.io/b:', 'r.io/b@'])
  t.end()
})

t.test('a key that would need an escape is a bug, not a line of ecs.config', (t) => {
  for (const key of ['r.io"', 'r.io\n', "r.io'", 'r io', 'r.io\\']) t.throws(() => renderAuthData(new Map([[key, login('u')]])), { code: 'E_BUG' })
  t.end()
})

t.test('the text fits into one string of an environment, to the byte', (t) => {
  const exact = '{"r.io":{"auth":""}}'.length
  const room = Math.floor((131_050 - exact) / 4) * 3 - 2
  const data = renderAuthData(new Map([['r.io', login('u', 'x'.repeat(room))]]))
  t.ok(data.length <= 131_050 && data.length > 131_045)
  t.throws(() => renderAuthData(new Map([['r.io', login('u', 'x'.repeat(room + 3))]])), { code: 'E_TOO_BIG', message: /131050/ })
  t.end()
})

t.test('the entry meant is the longest name that is the image\'s or a parent path of it', (t) => {
  const all = registries('r.io', 'r.io/a', 'r.io/a/b', 'h.io:5000/x', HUB_KEY)
  const meant: readonly (readonly [string, string | undefined])[] = [
    ['r.io/a/b:1', 'r.io/a/b'], ['r.io/a/b/c@sha256:00', 'r.io/a/b'], ['r.io/a/bc:1', 'r.io/a'], ['r.io/a:1', 'r.io/a'], ['r.io/ab:1', 'r.io'], ['r.io/z:1@sha256:00', 'r.io'],
    ['h.io:5000/x', 'h.io:5000/x'], ['h.io:5000/y:1', undefined], ['h.io/x:1', undefined], ['nginx', HUB_KEY], ['acme/app:1', HUB_KEY], ['docker.io/acme/app:1', HUB_KEY],
    ['registry-1.docker.io/acme/app@sha256:00', HUB_KEY], ['r.io:5000', HUB_KEY], ['xr.io/a:1', undefined],
  ]
  for (const [image, key] of meant) t.equal(meantCredential(all, image)?.key, key, image)
  t.equal(meantCredential(registries('r.io'), 'nginx:1'), undefined)
  t.end()
})

// Few letters, so that names begin one another, meet and nest.
const part = fc.string({ unit: fc.constantFrom('a', 'b', '-'), minLength: 1, maxLength: 3 }).filter((text) => /^[ab]/.test(text) && /[ab]$/.test(text))
const host = fc.constantFrom('r.io', 'r.io:50', 'r.io:500', 'xr.io', 'localhost', 'localhost:5000', 'r.ioa')
const path = fc.array(part, { maxLength: 3 }).map((parts) => parts.join('/'))
const name = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(host, path).map(([first, rest]) => (rest ? `${first}/${rest}` : first)) },
  { weight: 1, arbitrary: fc.constantFrom('docker.io', 'https://index.docker.io/v1/', 'hub.docker.com', 'docker.io/a') },
)
const reference = fc.tuple(
  fc.oneof(fc.tuple(host, path).filter(([, rest]) => rest !== '').map((both) => both.join('/')), path.filter((text) => text !== ''), path.filter((text) => text !== '').map((text) => `docker.io/${text}`)),
  fc.constantFrom(':a', ':b', ':1', ':a-b', `@sha256:${'a'.repeat(64)}`, `:a@sha256:${'b'.repeat(64)}`),
).map((both) => both.join(''))

t.test('for every image with a tag or a digest, the ECS agent picks what the user means, on every start', (t) => {
  let compared = 0
  let withPaths = 0
  fc.assert(fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 8 }), fc.array(reference, { minLength: 1, maxLength: 20 }), (names, images) => {
    const meant: Registries = new Map(names.map((each, index) => [canonicalRegistry(each), login(`user${index}`, `pw${index}`)]))
    const { dockercfg, warnings } = toDockercfg(meant, { allowEmpty: true })
    const file = renderEcsConfig(Buffer.from('ECS_CLUSTER=x\n'), renderAuthData(dockercfg))
    const auth = readEngineAuth(file)
    if (auth.warnings.length > 0 || auth.collisions.size > 0 || auth.entries.size !== dockercfg.size) throw new Error('the ECS agent warns')
    for (const image of images) {
      const choice = chooseEntry(auth, image)
      const [first = ''] = image.split('/', 1)
      const expected = meantCredential(meant, image)?.credential
        ?? ([...meant.keys()].some((each) => each !== HUB_KEY && !each.startsWith('docker.io/') && each.startsWith(`${first}/`)) ? dockercfg.get(first) : undefined)
      if (!choice.deterministic || choice.entry?.username !== expected?.username || choice.entry?.password.reveal() !== expected?.password.reveal()) {
        throw new Error(`${image}: the ECS agent picks ${choice.key}, meant is ${expected?.username}`)
      }
      compared += 1
      if (meantCredential(meant, image)?.key.includes('/')) withPaths += 1
    }
    const bare = new Set([...meant.keys()].filter((each) => each.includes('/') && each !== HUB_KEY && !each.startsWith('docker.io/')).map((each) => each.split('/', 1)[0]).filter((each) => !meant.has(each ?? '')))
    if (warnings.filter(({ code }) => code === 'W_BARE_HOST').length !== bare.size) throw new Error('a warning is missing')
  }), { numRuns: 3000 })
  t.ok(compared > 10_000 && withPaths > 2_000, `${compared} images compared, ${withPaths} of them by a path`)
  t.end()
})

t.test('without the boundary keys that property does not hold', (t) => {
  const raw = parseEngineAuth('dockercfg', renderAuthData(registries('r.io', 'r.io/a')))
  t.not(chooseEntry(raw, 'r.io/ab:1').key, meantCredential(registries('r.io', 'r.io/a'), 'r.io/ab:1')?.key)
  t.end()
})
