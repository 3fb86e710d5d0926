import t, { type Test } from 'tap'
import { Redacted } from '../../src/core/redacted.js'
import { probeImage, type ImageProbeResult } from '../../src/registry/manifest.js'
import { readQuota, tellQuota } from '../../src/registry/quota.js'
import { basic, serve, type Reply, type Seen, type StandIn } from '../fixtures/registry/server.js'

const canary = 'c4n4ry-p4ssw0rd'
const right = { username: 'ci', password: new Redacted(canary) }
const never = new AbortController().signal
const digest = `sha256:${'ab'.repeat(32)}`

/** A registry whose token server knows the right login, and which answers `manifest` to whoever has a token for the right repository. */
const registry = (t: Test, manifest: Reply, refuse: Reply = { status: 401 }): Promise<StandIn> => serve(t, ({ path, query, authorization }, self) => {
  if (path === '/token') return authorization === basic('ci', canary) ? { status: 200, body: { token: `for-${query.get('scope')}` } } : refuse
  if (authorization === undefined) return { status: 401, headers: { 'www-authenticate': `Bearer realm="${self}/token",service="s"` } }
  return authorization === 'Bearer for-repository:team/app:pull' ? manifest : { status: 401 }
})

async function probe(image: string, credential: typeof right | undefined = right): Promise<ImageProbeResult> {
  const result = await probeImage(image, credential, { insecure: [], timeoutMs: 10_000 }, never)
  if (JSON.stringify(result).includes(canary)) throw new Error('the password is shown')
  return result
}

t.test('an image that may be pulled, asked by HEAD with every type of manifest', async (t) => {
  const { host, requests } = await registry(t, { status: 200, headers: { 'docker-content-digest': digest } })
  t.match(await probe(`${host}/team/app:v1`), { image: `${host}/team/app:v1`, verdict: 'accepted', class: 'ok', digest })
  const head = requests.at(-1) as Seen
  t.strictSame([head.method, head.path], ['HEAD', '/v2/team/app/manifests/v1'])
  for (const type of ['oci.image.index.v1', 'docker.distribution.manifest.list.v2', 'docker.distribution.manifest.v2']) t.match(head.accept, type)
  t.notOk(requests.some(({ method, path }) => method === 'GET' && path.includes('manifests')), 'GET would count as a pull')
  await probe(`${host}/team/app@${digest}`)
  t.equal(requests.at(-1)?.path, `/v2/team/app/manifests/${digest}`)
})

t.test('a scope that the challenge names as well is asked for once', async (t) => {
  const { host, requests } = await serve(t, ({ path, authorization }, self) => path === '/token' ? { status: 200, body: { token: 'x' } }
    : authorization === undefined ? { status: 401, headers: { 'www-authenticate': `Bearer realm="${self}/token",scope="repository:app:pull other"` } } : { status: 200 })
  await probe(`${host}/app`)
  t.strictSame(requests[1]?.query.getAll('scope'), ['repository:app:pull', 'other'])
})

t.test('what a registry says no with', async (t) => {
  for (const [manifest, expected] of [
    [{ status: 401 }, { verdict: 'refused', class: 'not-found', reason: /does not exist, or the account has no right/ }],
    [{ status: 403 }, { verdict: 'refused', class: 'forbidden' }],
    [{ status: 404 }, { verdict: 'refused', class: 'not-found', reason: /no such image for this account/ }],
    [{ status: 429, headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600', 'retry-after': '60' } },
      { verdict: 'unknown', class: 'rate-limited', quota: { limit: 100, remaining: 0, windowSeconds: 21600 }, reason: /0 of 100 pulls are left in any 6 h: try again in 60 s/ }],
    [{ status: 307, headers: { location: 'https://cdn.example.com/x?sig=1' } }, { verdict: 'unknown', class: 'redirect', reason: /cdn\.example\.com \(307\)/ }],
    [{ status: 502 }, { verdict: 'unknown', class: 'server-error' }],
    [{ status: 204 }, { verdict: 'unknown', class: 'not-a-registry' }],
  ] as const satisfies readonly (readonly [Reply, object])[]) {
    const { host } = await registry(t, manifest)
    t.match(await probe(`${host}/team/app`), expected, String(manifest.status))
  }
  const { host } = await registry(t, { status: 200 }, { status: 403, body: { errors: [{ code: 'DENIED', message: 'denied' }] } })
  t.match(await probe(`${host}/team/app`, { username: 'ci', password: new Redacted('wrong-one') }), { verdict: 'refused', class: 'forbidden', reason: /403: denied/ })
})

t.test('with Basic a 401 is about the login', async (t) => {
  const { host } = await serve(t, () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } }))
  t.match(await probe(`${host}/app`), { verdict: 'refused', class: 'unauthorized' })
})

t.test('without a credential the pull is anonymous, and a registry that gives no token for that says so', async (t) => {
  const { host, requests } = await registry(t, { status: 200 })
  t.match(await probeImage(`${host}/team/app`, undefined, { insecure: [], timeoutMs: 5000 }, never), { verdict: 'refused', class: 'unauthorized' })
  t.ok(requests.every(({ authorization, query }) => authorization === undefined && !query.has('account')))
  const withUser = await serve(t, ({ path, authorization }, self) => path === '/token' ? { status: 200, body: { token: 'x' } }
    : authorization === undefined ? { status: 401, headers: { 'www-authenticate': `Bearer realm="${self.replace('//', '//evil:user@')}/token"` } } : { status: 200 })
  t.match(await probeImage(`${withUser.host}/app`, undefined, { insecure: [], timeoutMs: 5000 }, never), { class: 'ok' })
  t.equal(withUser.requests[1]?.authorization, undefined, 'a user in the realm is not taken for one')
  const basicOnly = await serve(t, () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } }))
  t.match(await probeImage(`${basicOnly.host}/app`, undefined, { insecure: [], timeoutMs: 5000 }, never), { class: 'unauthorized', reason: /no credential for it/ })
})

t.test('a registry whose /v2/ asks nobody gets no credential, as with Docker', async (t) => {
  const open = await serve(t, () => ({ status: 200 }))
  t.match(await probe(`${open.host}/app`), { verdict: 'accepted' })
  t.ok(open.requests.every(({ authorization }) => authorization === undefined))
  const half = await serve(t, ({ path }) => ({ status: path === '/v2/' ? 200 : 401 }))
  t.match(await probe(`${half.host}/app`), { verdict: 'refused', class: 'unauthorized', reason: /Docker never sends/ })
})

t.test('what is no image is not asked for', async (t) => {
  t.match(await probe('Not An Image'), { verdict: 'refused', class: 'not-found', reason: /not the name of an image/ })
})

t.test("Docker Hub's quota", async (t) => {
  t.strictSame(readQuota({ headers: { 'ratelimit-limit': '200;w=21600', 'ratelimit-remaining': '76;w=21600' } }), { limit: 200, remaining: 76, windowSeconds: 21600 })
  t.strictSame(readQuota({ headers: { 'ratelimit-limit': '200', 'ratelimit-remaining': '76' } }), { limit: 200, remaining: 76, windowSeconds: 0 })
  for (const headers of [{}, { 'ratelimit-limit': '200' }, { 'ratelimit-limit': 'many', 'ratelimit-remaining': 'few' }]) t.equal(readQuota({ headers }), undefined)
  t.equal(tellQuota({ limit: 200, remaining: 76, windowSeconds: 21600 }), '; 76 of 200 pulls are left in any 6 h')
  t.equal(tellQuota({ limit: 10, remaining: 1, windowSeconds: 0 }), '; 1 of 10 pulls are left')
  t.equal(tellQuota(undefined), '')
})
