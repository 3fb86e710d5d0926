import t from 'tap'
import { parseChallenges } from '../../src/registry/challenge.js'

const read = (header?: string): unknown => parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])

for (const [title, header, expected] of [
  ['Docker Hub', 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"', [['bearer', { realm: 'https://auth.docker.io/token', service: 'registry.docker.io' }]]],
  ['a comma and a space in quotes', 'Bearer realm="https://r/t",scope="repository:a/b:pull,push repository:c:pull"',
    [['bearer', { realm: 'https://r/t', scope: 'repository:a/b:pull,push repository:c:pull' }]]],
  ['two challenges in one header', 'Bearer realm="https://r/t", service="s", Basic realm="r, and more"',
    [['bearer', { realm: 'https://r/t', service: 's' }], ['basic', { realm: 'r, and more' }]]],
  ['Basic before Bearer', 'Basic realm="Artifactory Realm", Bearer realm="https://r/t"', [['basic', { realm: 'Artifactory Realm' }], ['bearer', { realm: 'https://r/t' }]]],
  ['other cases and spaces', 'BEARER Realm = "https://r/t" ,SERVICE=s', [['bearer', { realm: 'https://r/t', service: 's' }]]],
  ['a scheme alone', 'Negotiate, Basic', [['negotiate', {}], ['basic', {}]]],
  ['a token in place of parameters', 'Negotiate YII==, Basic realm="x"', [['negotiate', { yii: '=' }], ['basic', { realm: 'x' }]]],
  ['an escaped quote', 'Basic realm="say \\"a\\", b"', [['basic', { realm: 'say "a", b' }]]],
  ['the same parameter twice: the first', 'Bearer realm="https://r/t",realm="https://evil/t"', [['bearer', { realm: 'https://r/t' }]]],
  ['a quote that is never closed', 'Bearer service="s",realm="https://r/t', [['bearer', { service: 's', realm: '' }]]],
  ['parameters of nothing', 'realm="x"', []],
  ['junk', '";;;', []],
  ['an empty header', '', []],
] as const) t.test(title, async (t) => { t.strictSame(read(header), expected) })

t.test('no header', async (t) => { t.strictSame(read(), []) })

t.test('a hostile header costs no time', async (t) => {
  const started = performance.now()
  parseChallenges(`Bearer realm="${'\\"'.repeat(8000)}`)
  parseChallenges(`Bearer ${'a= '.repeat(5000)}`)
  parseChallenges(', '.repeat(8000))
  t.ok(performance.now() - started < 500)
})
