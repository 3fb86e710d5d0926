import fc from 'fast-check'
import t from 'tap'
import { parseCredentialDocument } from '../../src/core/credential-document.js'
import { Redacted } from '../../src/core/redacted.js'
import { mergeCredential, type Shape } from '../../src/fleet/merge-credential.js'

const REGISTRY = 'registry.example.com'
const NEW = { username: 'ci', password: new Redacted('n3w:pass') }
const AUTH = Buffer.from('ci:n3w:pass').toString('base64')
const OTHER = Buffer.from('bob:0ther').toString('base64')

function merge(text: string | undefined, shape?: Shape, registry = REGISTRY) {
  const current = text === undefined ? undefined : {
    text, source: 'secret s', registries: () => parseCredentialDocument(Buffer.from(text), { source: 'secret s', registry: REGISTRY }).registries,
  }
  return mergeCredential(current, registry, NEW, shape)
}

const CASES: readonly { title: string; before: string | undefined; after: string; change: string; shape?: Shape; registry?: string }[] = [
  { title: 'a new secret is a map of registries', before: undefined, after: `{"${REGISTRY}":{"username":"ci","password":"n3w:pass"}}`, change: 'created' },
  { title: 'an empty object is as good as a new secret', before: ' {} ', after: `{"${REGISTRY}":{"username":"ci","password":"n3w:pass"}}`, change: 'created' },
  { title: 'a new secret can be a docker config.json', before: undefined, shape: 'docker', after: `{"auths":{"${REGISTRY}":{"auth":"${AUTH}"}}}`, change: 'created' },
  { title: 'a new secret can be what repositoryCredentials reads', before: undefined, shape: 'plain', after: '{"username":"ci","password":"n3w:pass"}', change: 'created' },
  {
    title: 'in a docker config.json the auth is replaced and every other byte stays',
    before: `{\n  "HttpHeaders": {"User-Agent": "x"}, "n": 1.50,\n  "auths": {\n    "https://${REGISTRY}/v2/": { "auth": "b2xkOm9sZA==", "email": "a@b" },\n    "ghcr.io": {"auth":"${OTHER}"}\n  }\n}\n`,
    after: `{\n  "HttpHeaders": {"User-Agent": "x"}, "n": 1.50,\n  "auths": {\n    "https://${REGISTRY}/v2/": {"email":"a@b","auth":"${AUTH}"},\n    "ghcr.io": {"auth":"${OTHER}"}\n  }\n}\n`,
    change: 'replaced',
  },
  {
    title: 'a further registry is spaced like the ones before it',
    before: `{\n  "auths": {\n    "ghcr.io": {"auth": "${OTHER}"}\n  }\n}`,
    after: `{\n  "auths": {\n    "ghcr.io": {"auth": "${OTHER}"},\n    "${REGISTRY}": {"auth":"${AUTH}"}\n  }\n}`,
    change: 'added',
  },
  { title: 'a bare dockercfg keeps its style', before: `{"ghcr.io":{"auth":"${OTHER}"}}`, after: `{"ghcr.io":{"auth":"${OTHER}"},"${REGISTRY}":{"auth":"${AUTH}"}}`, change: 'added' },
  {
    title: 'a registry-keyed map keeps its own member names',
    before: `{"${REGISTRY}":{"user":"old","token":"old","note":{"n":1e2}},"ghcr.io":{"username":"bob","password":"0ther"}}`,
    after: `{"${REGISTRY}":{"note":{"n":100},"user":"ci","token":"n3w:pass"},"ghcr.io":{"username":"bob","password":"0ther"}}`,
    change: 'replaced',
  },
  {
    title: 'both names of Docker Hub get the login',
    before: '{"docker.io":{"username":"a","password":"b"},"https://index.docker.io/v1/":{"username":"a","password":"b"}}', registry: 'https://index.docker.io/v1/',
    after: '{"docker.io":{"username":"ci","password":"n3w:pass"},"https://index.docker.io/v1/":{"username":"ci","password":"n3w:pass"}}', change: 'replaced',
  },
  {
    title: 'in a list the item is found by any of its names, and a new one is like its neighbour',
    before: '[{"server":"ghcr.io","username":"bob","password":"0ther"}]',
    after: `[{"server":"ghcr.io","username":"bob","password":"0ther"},{"server":"${REGISTRY}","username":"ci","password":"n3w:pass"}]`, change: 'added',
  },
  {
    title: "Bottlerocket's list is replaced in place", before: `{"credentials":[{"registry":"${REGISTRY}","username":"old","password":"old"}]}`,
    after: `{"credentials":[{"registry":"${REGISTRY}","username":"ci","password":"n3w:pass"}]}`, change: 'replaced',
  },
  // Regression: names in another case of their letters, which the hosts read, got a second login beside them, which the hosts refuse.
  { title: 'auths in any case of its letters', before: `{"Auths":{"ghcr.io":{"Auth":"${OTHER}"}}}`, after: `{"Auths":{"ghcr.io":{"Auth":"${OTHER}"},"${REGISTRY}":{"Auth":"${AUTH}"}}}`, change: 'added' },
  {
    title: 'an entry whose names are in another case keeps them', before: `{"${REGISTRY}":{"Username":"old","PASSWORD":"old","IdentityToken":""}}`,
    after: `{"${REGISTRY}":{"Username":"ci","PASSWORD":"n3w:pass"}}`, change: 'replaced',
  },
  { title: 'a list whose names are in another case', before: `[{"Registry":"${REGISTRY}","User":"old","Token":"old"}]`, after: `[{"Registry":"${REGISTRY}","User":"ci","Token":"n3w:pass"}]`, change: 'replaced' },
  { title: 'one login whose names are in another case', before: `{"Host":"${REGISTRY}","Username":"old","Password":"old"}`, after: `{"Host":"${REGISTRY}","Username":"ci","Password":"n3w:pass"}`, change: 'replaced' },
  { title: 'a plain pair keeps its names', before: '{"username":"octocat","accessToken":"ghp_EXAMPLEOLD"}', after: '{"username":"ci","accessToken":"n3w:pass"}', change: 'replaced' },
  { title: 'plain text stays plain text', before: 'ci:0ld', after: 'ci:n3w:pass', change: 'replaced' },
  { title: 'base64 stays base64', before: Buffer.from('ci:0ld').toString('base64'), after: AUTH, change: 'replaced' },
  { title: 'an identity token goes: it would be the old login', before: `{"auths":{"${REGISTRY}":{"identitytoken":"old"}}}`, after: `{"auths":{"${REGISTRY}":{"auth":"${AUTH}"}}}`, change: 'replaced' },
  {
    title: 'another shape is written anew with every registry it held', before: `{"auths":{"ghcr.io":{"auth":"${OTHER}"}}}`, shape: 'registries',
    after: `{"ghcr.io":{"username":"bob","password":"0ther"},"${REGISTRY}":{"username":"ci","password":"n3w:pass"}}`, change: 'converted',
  },
]

for (const { title, before, after, change, shape, registry } of CASES) {
  t.test(title, async (t) => {
    const merged = merge(before, shape, registry)
    t.equal(merged.text, after)
    t.equal(merged.change, change)
  })
}

t.test('a placeholder that waits for its first password is replaced', async (t) => {
  t.equal(merge('{"username":"changeme","password":"changeme"}').text, '{"username":"ci","password":"n3w:pass"}')
})

t.test('one login for another registry has no place for this one', async (t) => {
  t.throws(() => merge('{"registry":"ghcr.io","username":"bob","password":"0ther"}'), { code: 'E_CONFLICT' })
  t.equal(merge('{"registry":"ghcr.io","username":"bob","password":"0ther"}', 'registries').change, 'converted')
})

t.test('the plain shape has room for one login', async (t) => {
  t.throws(() => merge(`{"auths":{"ghcr.io":{"auth":"${OTHER}"}}}`, 'plain'), { code: 'E_CONFLICT' })
})

const CONFIG = `{\n  "auths": {\n    "ghcr.io": {"auth": "${OTHER}"}\n  }\n}`
const MERGED = `{\n  "auths": {\n    "ghcr.io": {"auth": "${OTHER}"},\n    "${REGISTRY}": {"auth":"${AUTH}"}\n  }\n}`
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const secret = (holder: 'data' | 'stringData', value: string): string => `{"kind":"Secret", "apiVersion":"v1","metadata":{"name":"x"},"${holder}":{".dockerconfigjson":${JSON.stringify(value)}}}\n`

// Regression: each of these was refused, though the service reads them all: a document is to keep its own shape.
const INSIDE: readonly { title: string; before: string; after: string; shape: string }[] = [
  { title: "a Kubernetes secret's stringData", before: secret('stringData', CONFIG), after: secret('stringData', MERGED), shape: 'a docker config.json in a Kubernetes secret' },
  { title: "a Kubernetes secret's data", before: secret('data', base64(CONFIG)), after: secret('data', base64(MERGED)), shape: 'a docker config.json in base64 in a Kubernetes secret' },
  { title: 'a bare copy of its data', before: JSON.stringify({ '.dockercfg': `{"ghcr.io":{"auth":"${OTHER}"}}` }), after: JSON.stringify({ '.dockercfg': `{"ghcr.io":{"auth":"${OTHER}"},"${REGISTRY}":{"auth":"${AUTH}"}}` }), shape: 'a map of registries in a Kubernetes secret' },
  { title: 'a bare copy that holds it as an object', before: `{".dockerconfigjson":${CONFIG}}`, after: `{".dockerconfigjson":${MERGED}}`, shape: 'a docker config.json' },
  { title: 'an empty Kubernetes secret', before: '{".dockerconfigjson":""}', after: JSON.stringify({ '.dockerconfigjson': `{"auths":{"${REGISTRY}":{"auth":"${AUTH}"}}}` }), shape: 'a docker config.json in a Kubernetes secret' },
  { title: 'base64', before: `${base64(CONFIG)}\n`, after: `${base64(MERGED)}\n`, shape: 'a docker config.json in base64' },
  { title: 'quoted text', before: JSON.stringify(CONFIG), after: JSON.stringify(MERGED), shape: 'a docker config.json in a JSON string' },
  {
    title: 'an ecs.config, of which the last line counts', shape: 'a map of registries in an ecs.config',
    before: `ECS_CLUSTER=prod\r\nECS_ENGINE_AUTH_DATA={}\r\nECS_ENGINE_AUTH_TYPE=dockercfg\r\n  ECS_ENGINE_AUTH_DATA={"ghcr.io":{"auth":"${OTHER}"}}\r\nA=b`,
    after: `ECS_CLUSTER=prod\r\nECS_ENGINE_AUTH_DATA={}\r\nECS_ENGINE_AUTH_TYPE=dockercfg\r\n  ECS_ENGINE_AUTH_DATA={"ghcr.io":{"auth":"${OTHER}"},"${REGISTRY}":{"auth":"${AUTH}"}}\r\nA=b`,
  },
]

for (const { title, before, after, shape } of INSIDE) {
  t.test(`a document inside of another keeps its place: ${title}`, async (t) => {
    const merged = merge(before)
    t.equal(merged.text, after)
    t.equal(merged.shape, shape)
    const { registries } = parseCredentialDocument(Buffer.from(after), { source: 's' })
    t.equal(registries.get(REGISTRY)?.password.reveal(), 'n3w:pass')
    t.equal(registries.get('ghcr.io')?.username, title.includes('empty') ? undefined : 'bob')
  })
}

t.test('a document inside of another is written anew where a shape is asked for', async (t) => {
  for (const { before } of INSIDE.filter(({ title }) => !title.includes('empty'))) t.match(merge(before, 'registries'), { change: 'converted', text: new RegExp(`"${REGISTRY}":\\{"username":"ci"`) })
  t.match(merge(`${base64(CONFIG)}\n`, 'registries').text, /^\{"ghcr\.io":\{"username":"bob","password":"0ther"\},"registry\.example\.com":/)
})

t.test('where the place cannot be told nothing is edited', async (t) => {
  for (const text of [
    '{"kind":"Secret","data":{}}', '{".dockerconfigjson":null}', `export ECS_ENGINE_AUTH_DATA={"ghcr.io":{"auth":"${OTHER}"}}\n`,
    `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA='{"ghcr.io":{"auth":"${OTHER}"}}'\n`,
  ]) t.throws(() => merge(text), { code: 'E_UNKNOWN_SHAPE', details: { fix: /--shape/ } }, text)
})

t.test('text that is no credential is not replaced', async (t) => {
  t.throws(() => merge('registry: yes\npassword: x\n'), { code: 'E_UNKNOWN_SHAPE' })
})

t.test('whatever the map holds, the new login is read back and the others stay', async () => {
  const name = fc.constantFrom('ghcr.io', 'quay.io', 'docker.io', `${REGISTRY}:5000`, REGISTRY, 'acme.jfrog.io/team')
  const word = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => /^[^:\p{C}\s{}<>$]+$/u.test(text))
  const entry = fc.oneof(
    fc.record({ username: word, password: word }),
    fc.tuple(word, word).map(([user, password]) => ({ auth: Buffer.from(`${user}:${password}`).toString('base64'), email: 'a@b' })),
  )
  const around = fc.constantFrom((text: string) => text, base64, JSON.stringify, (text: string) => secret('data', base64(text)), (text: string) => secret('stringData', text))
  fc.assert(fc.property(fc.dictionary(name, entry, { minKeys: 1 }), fc.boolean(), fc.constantFrom(undefined, 2, '\t'), around, (map, wrapped, indent, inside) => {
    const text = inside(JSON.stringify(wrapped ? { x: [1, { y: null }], auths: map } : map, null, indent))
    const before = parseCredentialDocument(Buffer.from(text), { source: 's' }).registries
    const after = parseCredentialDocument(Buffer.from(merge(text).text), { source: 's' }).registries
    const shown = (registries: typeof before) => [...registries].map(([key, { username, password }]) => [key, username, password.reveal()])
    const expected = new Map([...before, [REGISTRY, NEW] as const])
    return JSON.stringify(shown(after).sort()) === JSON.stringify(shown(expected).sort())
  }), { numRuns: 500 })
})
