import t, { type Test } from 'tap'
import { Redacted } from '../../src/core/redacted.js'
import { probeRegistry, type ProbeOptions, type ProbeResult } from '../../src/registry/probe.js'
import { apiHost } from '../../src/registry/endpoint.js'
import { makeAuthority } from '../fixtures/registry/certificate.js'
import { basic, basicRegistry, denied, serve, serveRaw, tokenRegistry, type Reply, type Seen } from '../fixtures/registry/server.js'

const canary = 'c4n4ry-p4ssw0rd'
const right = { username: 'ci', password: new Redacted(canary) }
const wrong = { username: 'ci', password: new Redacted('wr0ng-p4ssw0rd') }
const authorityForAll = makeAuthority()
const never = new AbortController().signal

/** Probes, and sees to it that no result holds a password. */
async function probe(t: Test, registry: string, options: Partial<ProbeOptions> & { credential?: typeof right } = {}): Promise<ProbeResult> {
  const { credential = right, ...rest } = options
  const result = await probeRegistry(registry, credential, { insecure: [], timeoutMs: 10_000, ...rest }, never)
  const shown = JSON.stringify(result)
  for (const secret of [credential.password.reveal(), basic('ci', credential.password.reveal()).slice(6)]) t.notMatch(shown, secret)
  t.equal(result.registry, registry)
  return result
}

t.test('a registry with htpasswd', async (t) => {
  const { host, requests } = await serve(t, basicRegistry('ci', canary))
  t.match(await probe(t, host), { verdict: 'accepted', class: 'ok' })
  t.strictSame(requests.map(({ method, path, authorization }) => [method, path, authorization]), [['GET', '/v2/', undefined], ['GET', '/v2/', basic('ci', canary)]],
    'the credential is shown only once it is asked for')
  t.match(await probe(t, host, { credential: wrong }), { verdict: 'refused', class: 'unauthorized', reason: /refuses this username and password \(401: authentication required\)/ })
})

t.test('a registry with a token server', async (t) => {
  const { host, requests } = await serve(t, tokenRegistry('ci', canary))
  t.match(await probe(t, host), { verdict: 'accepted' })
  const [hello, token, verify, ...more] = requests
  t.match([hello, verify], [{ path: '/v2/', authorization: undefined }, { path: '/v2/', authorization: 'Bearer tok-en.of~the_day' }])
  t.match(token, { method: 'GET', path: '/token', authorization: basic('ci', canary) })
  t.strictSame(Object.fromEntries(token?.query ?? []), { service: 'stand-in', client_id: 'ecs-regcred', account: 'ci' })
  t.strictSame(more, [])
  t.match(await probe(t, host, { credential: wrong }), { verdict: 'refused', class: 'unauthorized' })
})

t.test('a token server of its own, which the registry names', async (t) => {
  const auth = await serve(t, ({ authorization }) => authorization === basic('ci', canary) ? { status: 200, body: { access_token: 'tok-en.of~the_day' } } : { status: 401 })
  const { host, requests } = await serve(t, tokenRegistry('x', 'x', { challenge: () => `Bearer realm="${auth.url}/token?tenant=7",service="registry.docker.io"` }))
  t.match(await probe(t, host), { verdict: 'accepted' })
  t.equal(auth.requests[0]?.query.get('tenant'), '7', 'what the realm already asks for stays')
  t.notOk(requests.some(({ authorization }) => authorization?.startsWith('Basic')), 'the registry itself never sees the password')
})

t.test('the habits of those who say no', async (t) => {
  for (const [who, refuse, expected] of [
    ['Docker Hub', { status: 401, body: { details: 'incorrect username or password' } }, { verdict: 'refused', class: 'unauthorized', reason: /incorrect username or password/ }],
    ['GHCR', { status: 403, body: denied('DENIED', 'denied') }, { verdict: 'refused', class: 'forbidden', reason: /403: denied/ }],
    ['GitLab', { status: 403, body: denied('DENIED', 'access forbidden') }, { verdict: 'refused', class: 'forbidden' }],
    ['GitLab of late', { status: 401, body: denied('UNAUTHORIZED', 'HTTP Basic: Access denied.') }, { verdict: 'refused', reason: /HTTP Basic: Access denied/ }],
    ['Quay', { status: 400, body: denied('UNAUTHORIZED', 'Could not find robot with username') }, { verdict: 'refused', class: 'unauthorized' }],
    ['ECR', { status: 400, body: denied('DENIED', 'Your Authorization Token is invalid.') }, { verdict: 'refused', class: 'forbidden' }],
    ['an edge that counts', { status: 429, headers: { 'retry-after': '30' }, body: denied('TOOMANYREQUESTS', 'too many failed login attempts') },
      { verdict: 'unknown', class: 'rate-limited', reason: /too many failed login attempts.*try again in 30 s/ }],
    // Regression: what is left of the quota was told for an image only.
    ['an edge that tells what is left', { status: 429, headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600' } },
      { verdict: 'unknown', class: 'rate-limited', reason: /\(429\); 0 of 100 pulls are left in any 6 h: try again later/ }],
    ['an edge that counts and blames', { status: 429, body: denied('DENIED', 'slow down') }, { verdict: 'unknown', class: 'rate-limited' }],
    ['a token server that is down', { status: 503, body: '<html>oops</html>' }, { verdict: 'unknown', class: 'server-error', reason: /503\)/ }],
    ['a token server that is not there', { status: 404 }, { verdict: 'unknown', class: 'not-a-registry' }],
    ['a login page', { status: 200, body: '<html>log in</html>' }, { verdict: 'unknown', class: 'not-a-registry', reason: /without a token/ }],
    ['a token that is none', { status: 200, body: { token: 'a\r\nX-Evil: b' } }, { verdict: 'unknown', class: 'not-a-registry' }],
    ['a bare 400', { status: 400, body: 'what?' }, { verdict: 'unknown', class: 'not-a-registry' }],
  ] as const satisfies readonly (readonly [string, Reply, object])[]) {
    await t.test(who, async (t) => {
      const { host } = await serve(t, tokenRegistry('someone', 'else', { refuse }))
      t.match(await probe(t, host), expected)
    })
  }
})

t.test('Artifactory: a relative realm, other cases, two challenges in headers of their own', async (t) => {
  const { host } = await serve(t, (request, self) => {
    const reply = tokenRegistry('ci', canary)({ ...request, path: request.path.replace(/^\/artifactory.*/, '/token') }, self)
    return reply.status === 401 && reply.headers ? { ...reply, headers: { 'www-authenticate': ['basic realm="Artifactory, Realm"', 'BEARER Realm = "/artifactory/api/docker/null/v2/token" , Service="a"'] } } : reply
  })
  t.match(await probe(t, host), { verdict: 'accepted' })
})

t.test('a token server that is not there, with Basic on offer too, is no reason to stop', async (t) => {
  const { host } = await serve(t, (request, self) => {
    if (request.path === '/gone') return { status: 404 }
    const reply = basicRegistry('ci', canary)(request)
    return reply.status === 401 ? { ...reply, headers: { 'www-authenticate': `Bearer realm="${self}/gone", Basic realm="r"` } } : reply
  })
  t.match(await probe(t, host), { verdict: 'accepted' })
  t.match(await probe(t, host, { credential: wrong }), { verdict: 'refused' })
})

t.test('a realm without service, and scopes that the challenge itself wants', async (t) => {
  const { host, requests } = await serve(t, tokenRegistry('ci', canary, { challenge: (self) => `Bearer realm="${self}/token",scope="group/a:pull group/b:pull"` }))
  t.match(await probe(t, host), { verdict: 'accepted' })
  t.strictSame(requests[1]?.query.getAll('scope'), ['group/a:pull', 'group/b:pull'])
  t.notOk(requests[1]?.query.has('service'))
})

t.test('a token that the registry does not honour is a refusal, as it is for docker login', async (t) => {
  const { host } = await serve(t, tokenRegistry('ci', canary, { token: { token: 'of-someone-else' } }))
  t.match(await probe(t, host), { verdict: 'refused', class: 'unauthorized' })
})

t.test('usernames and passwords of all kinds arrive as they are', async (t) => {
  for (const [username, password] of [['$oauthtoken', 'nvapi-EXAMPLE'], ['robot$ci+pull', 'Xy9+/=&?#'], ['jürgen', 'pässwörd✓'], ['ci', 'pa:ss:word'], ['_json_key', '{\n"a": 1}\n']] as const) {
    const { host, requests } = await serve(t, tokenRegistry(username, password))
    t.match(await probeRegistry(host, { username, password: new Redacted(password) }, { insecure: [], timeoutMs: 5000 }, never), { verdict: 'accepted' }, username)
    t.equal(requests[1]?.query.get('account'), username)
  }
})

t.test('a registry that asks nobody', async (t) => {
  const open = await serve(t, () => ({ status: 200, body: {} }))
  t.match(await probe(t, open.host), { verdict: 'unknown', class: 'anonymous', reason: /lets everyone in/ })
  const nexus = await serve(t, (request) => request.authorization === undefined ? { status: 200 } : basicRegistry('ci', canary)(request))
  t.match(await probe(t, nexus.host, { credential: wrong }), { verdict: 'refused' }, 'but refuses a wrong password')
  t.match(await probe(t, nexus.host), { class: 'anonymous' }, 'and cannot say more of a right one')
  const mixed = await serve(t, (request, self) => request.path === '/v2/' && request.authorization === undefined ? { status: 200 } : tokenRegistry('ci', canary)(request, self))
  t.match(await probe(t, mixed.host), { verdict: 'accepted' }, 'or wants a token once it is shown one')
})

t.test('a path key is tried at its host', async (t) => {
  const { host, requests } = await serve(t, basicRegistry('ci', canary))
  t.match(await probe(t, `${host}/team-a`), { verdict: 'accepted' })
  t.ok(requests.every(({ path }) => path === '/v2/'))
})

t.test('Docker Hub answers at another name than its own', async (t) => {
  t.equal(apiHost('https://index.docker.io/v1/'), 'registry-1.docker.io')
  t.equal(apiHost('registry.example.com:5000'), 'registry.example.com:5000')
})

t.test('what stands in the way before any credential is shown is no refusal', async (t) => {
  for (const [reply, kind] of [
    [{ status: 403, body: denied('DENIED', 'address not allowed') }, 'blocked'],
    [{ status: 400, body: denied('UNAUTHORIZED', 'x') }, 'blocked'],
    [{ status: 404 }, 'not-a-registry'],
    [{ status: 429 }, 'rate-limited'],
    [{ status: 500 }, 'server-error'],
    [{ status: 204 }, 'not-a-registry'],
    [{ status: 401 }, 'not-a-registry'],
    [{ status: 401, headers: { 'www-authenticate': 'Negotiate' } }, 'not-a-registry'],
    [{ status: 401, headers: { 'www-authenticate': 'Bearer service="x"' } }, 'not-a-registry'],
    [{ status: 401, headers: { 'www-authenticate': 'Bearer realm="http://["' } }, 'not-a-registry'],
  ] as const satisfies readonly (readonly [Reply, string])[]) {
    const { host, requests } = await serve(t, () => reply)
    t.match(await probe(t, host), { verdict: 'unknown', class: kind }, JSON.stringify(reply))
    t.ok(requests.every(({ authorization }) => authorization === undefined), 'nothing was sent')
  }
})

t.test('no credential follows a redirect', async (t) => {
  const elsewhere = await serve(t, () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="phish"' } }))
  const location = `${elsewhere.url}/v2/?and=more`
  const redirect = { status: 307, headers: { location } }
  const registries: Record<string, (request: Seen, self: string) => Reply> = {
    'at the greeting': () => redirect,
    'at the login': (request) => request.authorization === undefined ? { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } } : redirect,
    'at the token server': tokenRegistry('not', 'him', { refuse: redirect }),
    'with the token': (request, self) => request.authorization?.startsWith('Bearer') ? redirect : tokenRegistry('ci', canary)(request, self),
    'without a place': () => ({ status: 302 }),
  }
  for (const [where, answer] of Object.entries(registries)) {
    const { host } = await serve(t, answer)
    const { verdict, class: kind, reason } = await probe(t, host)
    t.strictSame([verdict, kind], ['unknown', 'redirect'], where)
    t.notMatch(reason, 'and=more', 'only the host is named')
  }
  t.strictSame(elsewhere.requests, [])
})

t.test('no credential goes to a token server without TLS, unless the operator says so', async (t) => {
  const auth = await serve(t, () => ({ status: 200, body: { token: 'tok-en.of~the_day' } }))
  // 0.0.0.0 reaches this machine and is not in loopback's range.
  const port = auth.host.split(':')[1]
  const { host } = await serve(t, tokenRegistry('ci', canary, { challenge: () => `Bearer realm="http://0.0.0.0:${port}/token"` }))
  t.match(await probe(t, host), { verdict: 'unknown', class: 'insecure-realm', reason: /0\.0\.0\.0.*not sent/ })
  t.strictSame(auth.requests, [])
  t.match(await probe(t, host, { insecure: [`0.0.0.0:${port}`] }), { verdict: 'accepted' })
  for (const realm of ['ftp://127.0.0.1/token', 'file:///etc/passwd', 'javascript:1', 'http://127.0.0.1.evil.example/token', 'http://127.evil.example/']) {
    const server = await serve(t, tokenRegistry('ci', canary, { challenge: () => `Bearer realm="${realm}"` }))
    t.match(await probe(t, server.host), { verdict: 'unknown', class: 'insecure-realm' }, realm)
  }
})

t.test('a user in the realm does not replace the credential', async (t) => {
  const { host, requests } = await serve(t, tokenRegistry('ci', canary, { challenge: (self) => `Bearer realm="${self.replace('//', '//evil:user@')}/token"` }))
  t.match(await probe(t, host), { verdict: 'accepted' })
  t.equal(requests[1]?.authorization, basic('ci', canary))
})

t.test('plain http is for loopback and for the hosts that the operator names', async (t) => {
  const { host, requests } = await serve(t, basicRegistry('ci', canary))
  const other = `0.0.0.0:${host.split(':')[1]}`
  t.match(await probe(t, other), { verdict: 'unknown', class: 'no-tls', reason: /REGCRED_PROBE_INSECURE/ })
  t.strictSame(requests, [])
  for (const name of [other, '0.0.0.0']) t.match(await probe(t, other, { insecure: [name] }), { verdict: 'accepted' }, name)
})

t.test('TLS', async (t) => {
  const authority = authorityForAll
  const dir = t.testdir({ 'ca.pem': `# our own\n${makeAuthority('Another').cert}${authority.cert}`, 'not-pem': 'hello', 'broken.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' })
  const caFile = `${dir}/ca.pem`
  const { host, requests } = await serve(t, tokenRegistry('ci', canary), authority.issue())
  t.match(await probe(t, host, { caFile }), { verdict: 'accepted' })
  requests.length = 0

  t.match(await probe(t, host), { verdict: 'unknown', class: 'tls', reason: /not trusted here.*REGCRED_PROBE_CA_FILE/ }, 'a CA that nobody named')
  t.match(await probe(t, host, { insecure: [host] }), { class: 'tls' }, 'and a bad certificate never leads to plain http')
  const expired = await serve(t, basicRegistry('ci', canary), authority.issue({ days: -1 }))
  t.match(await probe(t, expired.host, { caFile }), { class: 'tls', reason: /expired.*clock/ })
  const another = await serve(t, basicRegistry('ci', canary), authority.issue({ names: ['other.example.com'] }))
  t.match(await probe(t, another.host, { caFile }), { class: 'tls', reason: /another name/ })
  for (const [file, reason] of [['missing', /missing.*cannot be read \(ENOENT\)/], ['not-pem', /not a PEM file/], ['broken.pem', /not a PEM file/]] as const) {
    t.match(await probe(t, host, { caFile: `${dir}/${file}` }), { verdict: 'unknown', class: 'settings', reason }, file)
  }
  for (const server of [{ requests }, expired, another]) t.strictSame(server.requests, [], 'nothing was sent')
})

t.test('a registry with TLS may name a token server on loopback, and its own', async (t) => {
  const caFile = t.testdir({ 'ca.pem': authorityForAll.cert }) + '/ca.pem'
  const plain = await serve(t, () => ({ status: 200, body: { token: 'tok-en.of~the_day' } }))
  const { host } = await serve(t, tokenRegistry('ci', canary, { challenge: () => `Bearer realm="${plain.url}/token"` }), authorityForAll.issue())
  t.match(await probe(t, host, { caFile }), { verdict: 'accepted' })
})

t.test('a network in trouble', async (t) => {
  for (const [what, talk, kind] of [
    ['reset', (socket) => socket.resetAndDestroy(), 'connection'],
    ['closed without a word', (socket) => socket.end(), 'connection'],
    ['garbage', (socket) => socket.end('220 mail.example.com ESMTP\r\n'), 'not-a-registry'],
    ['cut short', (socket) => socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 500\r\n\r\n{'), 'connection'],
  ] as const satisfies readonly (readonly [string, Parameters<typeof serveRaw>[1], string])[]) {
    const host = await serveRaw(t, talk)
    t.match(await probe(t, host), { verdict: 'unknown', class: kind }, what)
  }
  const hang = await serveRaw(t, () => undefined)
  t.match(await probe(t, hang, { timeoutMs: 80 }), { verdict: 'unknown', class: 'timeout', reason: /within 0\.08 s/ })
  const drip = await serveRaw(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const timer = setInterval(() => socket.write('x: y\r\n'), 5)
    socket.on('close', () => clearInterval(timer))
  })
  t.match(await probe(t, drip, { timeoutMs: 200 }), { verdict: 'unknown' }, 'a drip ends within the bound')
  t.match(await probe(t, '127.0.0.1:1'), { verdict: 'unknown', class: 'connection', reason: /ECONNREFUSED/ }, 'nobody listens')
  t.match(await probe(t, 'no-such-host.invalid'), { verdict: 'unknown', class: 'dns', reason: /cannot be resolved/ })
})

t.test('one bound for the whole conversation, not for each request of it', async (t) => {
  const hanging = await serveRaw(t, () => undefined)
  const { host } = await serve(t, tokenRegistry('ci', canary, { challenge: () => `Bearer realm="http://${hanging}/token"` }))
  const started = performance.now()
  t.match(await probe(t, host, { timeoutMs: 150 }), { class: 'timeout', reason: new RegExp(hanging) }, 'the one that hangs is named')
  t.ok(performance.now() - started < 2000)

  const slow = await serve(t, tokenRegistry('ci', canary), undefined, 150)
  t.match(await probe(t, slow.host, { timeoutMs: 250 }), { class: 'timeout' }, 'each answer comes in time, all of them together do not')
})

t.test('a long answer is not read to its end', async (t) => {
  const host = await serveRaw(t, (socket) => {
    socket.write(`HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n\r\n${'x'.repeat(100_000)}`)
  })
  const { reason, class: kind } = await probe(t, host)
  t.equal(kind, 'not-a-registry')
  t.ok(reason.length < 400)
})

t.test('a server that repeats what it was sent is not quoted', async (t) => {
  for (const echo of [canary, basic('ci', canary), encodeURIComponent(canary), canary.slice(0, 8)]) {
    const { host } = await serve(t, (request) => ({ ...basicRegistry('x', 'x')(request), body: denied('UNAUTHORIZED', `bad login ${echo}`) }))
    t.match(await probe(t, host), { verdict: 'refused', reason: /\(401\)/ })
  }
  const token = await serve(t, (request, self) => request.authorization?.startsWith('Bearer')
    ? { status: 500, body: denied('X', `bad token ${request.authorization}`) } : tokenRegistry('ci', canary)(request, self))
  t.notMatch((await probe(t, token.host)).reason, 'tok-en')
})

t.test('what is no host is not asked, and not repeated', async (t) => {
  for (const name of ['', ' ', 'ci:c4n4ry-p4ssw0rd@127.0.0.1', 'a b', 'x?y', 'x#y', 'r.io:99999', '\\evil']) {
    const { verdict, class: kind, reason } = await probeRegistry(name, right, { insecure: [], timeoutMs: 5000 }, never)
    t.strictSame([verdict, kind], ['unknown', 'not-a-registry'], name)
    t.notMatch(reason, canary)
  }
})

t.test('an abort is no verdict', async (t) => {
  for (const [reason, expected] of [[new Error('stopping'), { message: 'stopping' }], [undefined, { name: 'AbortError' }], [new DOMException('late', 'TimeoutError'), { message: 'late' }]] as const) {
    const controller = new AbortController()
    const host = await serveRaw(t, () => controller.abort(reason))
    await t.rejects(probeRegistry(host, right, { insecure: [], timeoutMs: 5000 }, controller.signal), expected)
  }
})
