/**
 * The probe against the real thing: docker-registry (2.8, Debian's package) with htpasswd, and with a token server that signs as the distribution's
 * specification says. Needs `docker-registry` and `htpasswd` (apt-get install docker-registry apache2-utils); skipped without them.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { Redacted } from '../../src/core/redacted.js'
import { probeImage } from '../../src/registry/manifest.js'
import { probeRegistry } from '../../src/registry/probe.js'
import { makeAuthority } from '../fixtures/registry/certificate.js'
import { basic, serve } from '../fixtures/registry/server.js'

const installed = ['docker-registry', 'htpasswd'].every((program) => {
  try {
    execFileSync('which', [program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})
const options = { skip: installed ? false : 'needs docker-registry and htpasswd' }
const never = new AbortController().signal
const right = { username: 'ci', password: new Redacted('r1ght pässword/+') }
const wrong = { username: 'ci', password: new Redacted('wr0ng') }
const basicAuth = basic('ci', right.password.reveal())

t.test('htpasswd over TLS with a private CA', options, async (t) => {
  const authority = makeAuthority()
  const { cert, key } = authority.issue()
  const dir = t.testdir({ 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key, data: {} })
  execFileSync('htpasswd', ['-iBc', `${dir}/htpasswd`, 'ci'], { input: right.password.reveal(), stdio: ['pipe', 'ignore', 'ignore'] })
  const host = await startRegistry(t, dir, `{ htpasswd: { realm: Registry, path: ${dir}/htpasswd } }`, `, tls: { certificate: ${dir}/cert.pem, key: ${dir}/key.pem }`)
  const probeOptions = { caFile: `${dir}/ca.pem`, insecure: [], timeoutMs: 10_000 }

  t.match(await probeRegistry(host, right, probeOptions, never), { verdict: 'accepted' })
  t.match(await probeRegistry(host, wrong, probeOptions, never), { verdict: 'refused', class: 'unauthorized' })
  t.match(await probeRegistry(host, right, { ...probeOptions, caFile: undefined }, never), { verdict: 'unknown', class: 'tls' })

  t.match(await probeImage(`${host}/team/app:v1`, right, probeOptions, never), { verdict: 'refused', class: 'not-found' })
  await pushEmptyImage(host, `${dir}/ca.pem`, basicAuth)
  t.match(await probeImage(`${host}/team/app:v1`, right, probeOptions, never), { verdict: 'accepted', digest: /^sha256:/ })
  t.match(await probeImage(`${host}/team/app:v1`, wrong, probeOptions, never), { verdict: 'refused', class: 'unauthorized' })
  t.match(await probeImage(`${host}/team/app:v1`, undefined, probeOptions, never), { verdict: 'refused', class: 'unauthorized' })
})

t.test('a token server', options, async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  // docker-registry trusts the keys of certificates: the issuing authority's own key signs here, so a bundle of one certificate is enough.
  const authority = makeAuthority('token signer', { publicKey, privateKey })
  const dir = t.testdir({ 'bundle.pem': authority.cert, data: {} })
  const tokens = await serve(t, ({ query, authorization }) => {
    if (authorization !== basicAuth) return { status: 401, body: { details: 'incorrect username or password' } }
    const access = query.getAll('scope').map((scope) => scope.split(':')).filter(([, name]) => name === 'team/app')
      .map(([type, name, actions = '']) => ({ type, name, actions: actions.split(',') }))
    return { status: 200, body: { token: signToken(publicKey, privateKey, access) } }
  })
  const host = await startRegistry(t, dir, `{ token: { realm: "${tokens.url}/auth", service: test-registry, issuer: test-issuer, rootcertbundle: ${dir}/bundle.pem } }`)
  const probeOptions = { insecure: [], timeoutMs: 10_000 }

  t.match(await probeRegistry(host, right, probeOptions, never), { verdict: 'accepted' })
  t.equal(tokens.requests.at(-1)?.query.get('service'), 'test-registry')
  t.match(await probeRegistry(host, wrong, probeOptions, never), { verdict: 'refused', class: 'unauthorized', reason: /incorrect username or password/ })
  t.match(await probeImage(`${host}/team/app:v1`, right, probeOptions, never), { verdict: 'refused', class: 'not-found', reason: /404/ })
  t.match(await probeImage(`${host}/other/app:v1`, right, probeOptions, never), { verdict: 'refused', class: 'not-found', reason: /401.*no right/ })
})

/** @returns its host and port, once it listens */
async function startRegistry(t: Test, dir: string, auth: string, http = ''): Promise<string> {
  const port = await freePort()
  const { writeFileSync } = await import('node:fs')
  writeFileSync(`${dir}/config.yml`, [
    'version: 0.1', `storage: { filesystem: { rootdirectory: ${dir}/data } }`, 'log: { level: info, accesslog: { disabled: true } }',
    `http: { addr: "127.0.0.1:${port}", secret: test${http} }`, `auth: ${auth}`, '',
  ].join('\n'))
  const child = spawn('docker-registry', ['serve', `${dir}/config.yml`], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const log: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    log.push(line)
    if (line.includes('listening on')) break
  }
  child.stderr.resume() // a full pipe would stop it
  if (child.exitCode !== null) throw new Error(`docker-registry did not start: ${log.join('\n')}`)
  return `127.0.0.1:${port}`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** An OCI image without layers, by the registry's own API. */
async function pushEmptyImage(host: string, caFile: string, authorization: string): Promise<void> {
  const { httpRequest } = await import('../../src/http-request.js')
  const { readFileSync } = await import('node:fs')
  const call = (method: string, path: string, type: string, body?: string) => httpRequest(new URL(path, `https://${host}`), {
    method, ca: readFileSync(caFile, 'utf8'), timeoutMs: 10_000, headers: { authorization, 'content-type': type }, body,
  }, never)
  const upload = await call('POST', '/v2/team/app/blobs/uploads/', 'application/octet-stream')
  const digest = `sha256:${createHash('sha256').update('{}').digest('hex')}`
  const location = new URL(String(upload.headers.location), `https://${host}`)
  location.searchParams.set('digest', digest)
  await call('PUT', `${location.pathname}${location.search}`, 'application/octet-stream', '{}')
  const type = 'application/vnd.docker.distribution.manifest.v2+json'
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: type, config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: 2, digest }, layers: [] })
  const { status, body } = await call('PUT', '/v2/team/app/manifests/v1', type, manifest)
  if (status !== 201) throw new Error(`push: ${status} ${body.toString()}`)
}

/** A token as docs/spec/auth/jwt.md of the distribution says; `kid` is libtrust's fingerprint of the key. */
function signToken(publicKey: KeyObject, privateKey: KeyObject, access: object[]): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const head = encode({ typ: 'JWT', alg: 'ES256', kid: keyId(publicKey) })
  const claims = encode({ iss: 'test-issuer', sub: 'ci', aud: 'test-registry', exp: now + 300, nbf: now - 10, iat: now, jti: randomUUID(), access })
  const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')
  return `${head}.${claims}.${signature}`
}

/** SHA-256 of the public key, its first 30 bytes in base32, in groups of four. */
function keyId(publicKey: KeyObject): string {
  const bytes = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest().subarray(0, 30)
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const base32 = (bits.match(/.{5}/g) ?? []).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(five, 2)]).join('')
  return (base32.match(/.{4}/g) ?? []).join(':')
}
