import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { canonicalRegistry, HUB_KEY, leftOut } from '../../src/core/registry-name.js'
import { ServiceError } from '../../src/errors.js'

t.test('every name of Docker Hub is the one key that the ECS agent looks up', (t) => {
  for (const host of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com', 'hub.docker.com', 'Docker.IO']) {
    for (const name of [host, `https://${host}`, `http://${host}/`, `https://${host}/v1`, `https://${host}/v1/`, `${host}/v2/`, `HTTPS://${host}/v2`]) {
      t.equal(canonicalRegistry(name), HUB_KEY, name)
    }
  }
  t.equal(canonicalRegistry('https://index.docker.io/v1/user'), 'docker.io/user')
  t.equal(canonicalRegistry('docker.io/acme/app'), 'docker.io/acme/app')
  t.end()
})

t.test('scheme, case of the host, /v1, /v2 and final slashes do not count', (t) => {
  const same: readonly (readonly [string, string])[] = [
    ['https://Registry.Example.com:5000/v2/', 'registry.example.com:5000'], ['registry.example.com/', 'registry.example.com'], ['localhost', 'localhost'],
    ['localhost:5000', 'localhost:5000'], ['registry:5000', 'registry:5000'], ['10.0.0.1:5000/v1', '10.0.0.1:5000'], ['https://acme.jfrog.io/team-a/', 'acme.jfrog.io/team-a'],
    ['acme.jfrog.io/Team_A/b.c', 'acme.jfrog.io/Team_A/b.c'], ['quay.io/v2/x', 'quay.io/v2/x'], ['r.io//', 'r.io'], ['r.io:443', 'r.io:443'],
  ]
  for (const [name, canonical] of same) {
    t.equal(canonicalRegistry(name), canonical, name)
    t.equal(canonicalRegistry(canonical), canonical, `${canonical} is canonical`)
  }
  t.end()
})

t.test('what is no registry is refused, and a login in it is not shown', (t) => {
  const login = 'Zq7!xWv9'
  const refused: readonly (readonly [string, RegExp])[] = [
    ['', /empty/], ['r .io', /space/], [' r.io', /space/], ['r.io\n', /space or a control/], [`https://ci:${login}@r.io`, /login before "@": r\.io/], [`${login}@r.io/x`, /login/],
    [`https://r.io/?t=${login}`, /"\?"/], [`r.io#${login}`, /"#"/], ['r.io/app:1.2', /tag.*: r\.io\/app/], [`r.io/ci:${login}`, /tag/], ['alpine:latest', /tag/], [`ci:${login}`, /tag/],
    ['r.io/app@sha256:0123abcd', /digest or a login after "@": r\.io\/app/], ['*.example.com', /wildcard.*: example\.com/], ['[::1]:5000', /IPv6/], ['::1', /IPv6/], ['fe80::1/x', /IPv6/],
    ['ftp://r.io', /scheme/], ['//r.io', /not a host/], ['://r.io', /scheme/], ['myreg', /neither domain nor port: myreg/], ['myreg/app', /neither/], ['-r.io', /not a host/], ['r..io', /not a host/],
    ['r_x.io', /not a host/], ['r.io:', /port/], ['r.io:0', /port/], ['r.io:65536', /port/], ['r.io:99999999', /port/], ['r.io/a//b', /path/], ['r.io/../x', /path/], ['r.io/a%2f', /path/],
    [`r.io/${'a'.repeat(600)}`, /path/], [`${'a'.repeat(300)}.io`, /not a host/],
  ]
  for (const [name, says] of refused) {
    try {
      canonicalRegistry(name, { source: 'x', path: 'auths' })
      t.fail(`took ${name}`)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      t.equal(error.code, 'E_REGISTRY_KEY', name)
      t.match(error.message, says)
      t.match(error.details, { source: 'x', path: 'auths', fix: /./ })
      t.notMatch(inspect(error) + JSON.stringify(error), /Zq7!|q7!x|7!xW|!xWv|xWv9/)
    }
  }
  t.end()
})

// Regression: `wJalr-XUtnFEMI` in a registry's place was shown in lower case, in which it reads as two words.
t.test('a token in the place of a registry is not shown in lower case either', (t) => {
  for (const token of ['wJalr-XUtnFEMI', 'Qvvj-vQPp-qPpJp', 'https://QvvjvQPp/app']) {
    try {
      canonicalRegistry(token)
      t.fail(`took ${token}`)
    } catch (error) {
      t.match(error, { code: 'E_REGISTRY_KEY', message: /^a registry's name has neither domain nor port; the ECS agent/ })
    }
  }
  t.end()
})

t.test('a name is canonical or refused, whatever it is', (t) => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl({ withQueryParameters: true }), fc.domain()), (name) => {
    try {
      const canonical = canonicalRegistry(name)
      if (canonicalRegistry(canonical) !== canonical) throw new Error(`${canonical} is not canonical`)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
    }
  }), { numRuns: 2000 })
  t.end()
})

t.test('ECR and paths under Docker Hub are left out', (t) => {
  for (const host of ['123456789012.dkr.ecr.eu-west-1.amazonaws.com', '123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/app', '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn', '123456789012.dkr-ecr.eu-west-1.on.aws']) {
    t.match(leftOut(host), { code: 'W_ECR_HOST' }, host)
  }
  t.match(leftOut('docker.io/acme'), { code: 'W_HUB_PATH' })
  for (const host of [HUB_KEY, 'public.ecr.aws', 'r.io/x.dkr.ecr.y', 'registry.example.com']) t.equal(leftOut(host), undefined, host)
  t.end()
})
