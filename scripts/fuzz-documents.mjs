#!/usr/bin/env node
/*
 * Throws documents at the document parser and at the ecs.config editor, made by rules and then damaged, and holds for each:
 *   - nothing is thrown but a ServiceError that is no E_BUG, and no piece of a secret is in its text;
 *   - a document left whole gives exactly the registries and credentials that it was made from;
 *   - what is rendered is read by the ported ECS agent, for images below, beside and at each registry, as the user means it, on every start;
 *   - every line of ecs.config that is not ours keeps its bytes.
 *
 *   npm run build && node scripts/fuzz-documents.mjs [--inputs 1000000] [--seed 1] [--only INDEX]
 *
 * The same seed gives the same inputs. A failure prints seed, index and input, and exits 1; `--only INDEX` runs that one again.
 */
import { inspect, parseArgs } from 'node:util'
import { mergeRegistries, parseCredentialDocument } from '../dist/core/credential-document.js'
import { meantCredential, renderAuthData, toDockercfg } from '../dist/core/dockercfg.js'
import { readEngineAuth, renderEcsConfig } from '../dist/core/ecs-config.js'
import { chooseEntry } from '../dist/core/ecs-matching.js'
import { ServiceError } from '../dist/errors.js'

const HUB = 'https://index.docker.io/v1/'
const OURS = /ECS_ENGINE_AUTH_(TYPE|DATA)/
const HOSTS = ['r.io', 'ghcr.io', 'registry.example.com', 'r.io:5000', 'localhost', 'localhost:5000', 'acme.jfrog.io', 'quay.io', '10.0.0.1:443']
const PATHS = ['', '', '', 'a', 'ab', 'a/b', 'a/bc', 'team-a', 'team-a/app', 'team']
const HUB_NAMES = ['docker.io', HUB, 'index.docker.io', 'https://registry-1.docker.io/v2/', 'hub.docker.com', 'Docker.io/v1']
const BYTES = [...Buffer.from('{}[]",:\\\'\n\r\t \0=@/?#*é"')].concat(0xff, 0xfe, 0xef, 0xbb, 0xbf, 0x80, 0x7f, 0x1b)

// A frame of a stack is no part of what is judged, and collecting them is most of the cost of an error.
Error.stackTraceLimit = 0

const { values } = parseArgs({ options: { inputs: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' }, only: { type: 'string' } } })
const seed = Number(values.seed)
const first = values.only === undefined ? 0 : Number(values.only)
const last = values.only === undefined ? Number(values.inputs) : first + 1
const figures = { refused: {}, rendered: 0, exact: 0, images: 0, byPath: 0, edited: 0, editRefused: 0, empty: 0 }
const started = performance.now()

for (let index = first; index < last; index += 1) {
  const random = mulberry32((seed * 0x9e3779b1 + index * 0x85ebca6b) >>> 0)
  const made = makeInput(random)
  try {
    judge(made, random)
  } catch (error) {
    console.error(`FAILED: --seed ${seed} --only ${index}\n${error}\noptions ${JSON.stringify(made.options)}\ninput (base64) ${made.bytes.toString('base64')}\necs.config (base64) ${made.current?.toString('base64')}`)
    process.exit(1)
  }
  if (index % 100_000 === 99_999) console.error(`${index + 1} inputs, ${Math.round((index + 1 - first) / seconds())} a second`)
}
const refused = Object.values(figures.refused).reduce((sum, count) => sum + count, 0)
console.log(`${last - first} inputs in ${seconds().toFixed(1)} s, ${Math.round((last - first) / seconds())} a second, seed ${seed}`)
console.log(`rendered ${figures.rendered} (whole documents, compared with what they were made from: ${figures.exact}), empty ${figures.empty}, refused ${refused}:`)
console.log(Object.entries(figures.refused).sort(([, a], [, b]) => b - a).map(([code, count]) => `  ${code} ${count}`).join('\n'))
console.log(`images asked of the ECS agent: ${figures.images}, of which meant by a path: ${figures.byPath}`)
console.log(`ecs.config edited ${figures.edited} times, refused ${figures.editRefused}`)

function seconds() {
  return (performance.now() - started) / 1000
}

function judge({ bytes, options, current, secrets, expected }, random) {
  let registries
  let edited = false
  try {
    const parsed = parseCredentialDocument(bytes, { source: 'the input', ...options })
    registries = mergeRegistries([{ source: 'the input', registries: parsed.registries }])
    checkLeak(parsed.warnings.map(({ message }) => message).join('\n'), secrets)
    if (expected) checkExact(registries, expected)
    const { dockercfg, warnings } = toDockercfg(registries, { allowEmpty: options.allowEmpty })
    checkLeak(warnings.map(({ message }) => message).join('\n'), secrets)
    const authData = renderAuthData(dockercfg)
    if (dockercfg.size === 0) figures.empty += 1
    else figures.rendered += 1
    edited = true
    checkFile(current, authData, registries, dockercfg, secrets, random)
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code === 'E_BUG') throw error
    checkLeak(textOf(error, random), secrets)
    if (expected && registries === undefined) throw new Error(`a whole document was refused: ${error.message}`)
    figures.refused[error.code] = (figures.refused[error.code] ?? 0) + 1
  }
  // The editor by itself, where no document came so far.
  if (!edited) checkEdit(current, '{"r.io":{"auth":"dTpw"}}', secrets, random)
}

/** Everything that could be printed of an error; the costly half for one in sixteen. */
function textOf(error, random) {
  const text = `${error.message}\n${JSON.stringify(error)}`
  return random() < 1 / 16 ? `${text}\n${inspect(error, { showHidden: true, depth: 9 })}` : text
}

/** Six characters in a row of a secret, eight of its base64: fewer stand in any text by chance. Eight lower-case letters are a word, which a name may be. */
function checkLeak(text, secrets) {
  if (text === '') return
  for (const { value, width } of secrets) {
    for (let at = 0; at + width <= value.length; at += 1) {
      const piece = value.slice(at, at + width)
      if (text.includes(piece) && !/^[a-z]+$/.test(piece)) throw new Error(`a piece of a secret in: ${text}`)
    }
  }
}

function checkExact(registries, expected) {
  figures.exact += 1
  const same = registries.size === expected.size && [...expected].every(([name, { username, password }]) => {
    const found = registries.get(name)
    return found?.username === username && found.password.reveal() === password
  })
  if (!same) throw new Error(`read otherwise than made: ${[...registries.keys()]} for ${[...expected.keys()]}`)
}

function checkFile(current, authData, registries, dockercfg, secrets, random) {
  const file = checkEdit(current, authData, secrets, random)
  if (file === undefined) return
  const auth = readEngineAuth(file)
  if (auth.type !== 'dockercfg' || auth.dropped || auth.warnings.length > 0 || auth.collisions.size > 0 || auth.entries.size !== dockercfg.size) {
    throw new Error(`the ECS agent does not take all of it: ${auth.warnings}`)
  }
  for (const image of imagesFor([...registries.keys()], random)) {
    const meant = meantCredential(registries, image)
    const [host] = image.split('/', 1)
    const hasPaths = [...registries.keys()].some((name) => name.startsWith(`${host}/`) && dockercfg.has(`${name}/`))
    const wanted = meant?.credential ?? (hasPaths ? dockercfg.get(host) : undefined)
    const choice = chooseEntry(auth, image)
    if (!choice.deterministic || choice.entry?.username !== wanted?.username || choice.entry?.password.reveal() !== wanted?.password.reveal()) {
      throw new Error(`${image}: the ECS agent picks ${choice.key}, meant is ${meant?.key}`)
    }
    figures.images += 1
    if (meant?.key.includes('/') && meant.key !== HUB) figures.byPath += 1
  }
}

/** The edited file, or undefined where the editor refused the one that stands there. */
function checkEdit(current, authData, secrets, random) {
  let file
  try {
    file = renderEcsConfig(current, authData)
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code === 'E_BUG') throw error
    checkLeak(textOf(error, random), secrets)
    figures.editRefused += 1
    return undefined
  }
  figures.edited += 1
  const foreign = (bytes) => Buffer.from(bytes ?? []).toString('latin1').split('\n').filter((line) => !OURS.test(line)).join('\n').replace(/\n+$/, '')
  if (foreign(file) !== foreign(current)) throw new Error('a line that is not ours changed')
  const again = renderEcsConfig(file, authData)
  if (!Buffer.from(again).equals(Buffer.from(file))) throw new Error('a second edit changed the file')
  return file
}

/** At, below and beside each name, and where names nearly meet. */
function imagesFor(names, random) {
  const pool = names.slice(below(random, 3), 6).flatMap((name) => (name === HUB ? ['nginx', 'acme/app', 'docker.io/acme/app'] : [name, `${name}/app`, `${name}x/app`, `${name}-b`, name.replace(/\/[^/]*$/, '/other'), `${name.split('/')[0]}/z`]))
  return pool.filter((name) => name.includes('/') || names.includes(HUB)).slice(0, 8).map((name) => name + pick(random, [':1', ':latest', `@sha256:${'a'.repeat(64)}`, `:1@sha256:${'b'.repeat(64)}`]))
}

// ---- what is thrown at them

function makeInput(random) {
  const secrets = []
  const entries = makeEntries(random, secrets)
  const { document, options, exact } = makeDocument(random, entries, secrets)
  let bytes = Buffer.from(document)
  const whole = random() < 0.25
  if (!whole) bytes = damage(random, bytes)
  let current = random() < 0.1 ? undefined : makeEcsConfig(random, secrets)
  if (current && random() < 0.5) current = damage(random, current)
  if (random() < 0.03 && current) bytes = current
  const expected = whole && exact && bytes !== current ? new Map(entries.map(({ name, username, password }) => [name, { username, password }])) : undefined
  return { bytes, options, current, secrets, expected }
}

/** Registries by canonical name, each once, with a user and a password of its own. */
function makeEntries(random, secrets) {
  const entries = new Map()
  for (let count = 1 + below(random, 5); count > 0; count -= 1) {
    const isHub = random() < 0.15
    const host = pick(random, HOSTS)
    const path = pick(random, PATHS)
    const name = isHub ? HUB : path ? `${host}/${path}` : host
    const written = isHub ? pick(random, HUB_NAMES) : decorate(random, host, path)
    entries.set(name, { name, written, username: `u${below(random, 100)}${pick(random, ['', '+x', '$r', '-ü'])}`, password: makeSecret(random, secrets) })
  }
  for (const { username, password } of entries.values()) secrets.push({ value: base64(`${username}:${password}`), width: 8 })
  return [...entries.values()]
}

function decorate(random, host, path) {
  const cased = random() < 0.2 ? host.toUpperCase() : host
  return pick(random, ['', '', 'https://', 'http://']) + cased + (path ? `/${path}` : pick(random, ['', '', '/', '/v2/', '/v1'])) + (path && random() < 0.2 ? '/' : '')
}

/** Every few characters one that neither a host nor a word has, so that no piece of it can be shown by right. */
function makeSecret(random, secrets) {
  let value = ''
  for (let count = 3 + below(random, 5); count > 0; count -= 1) {
    value += pick(random, 'QXZJVWKqxzjvwk') + below(random, 10) + pick(random, 'QXZJVWKqxzjvwk') + pick(random, ['_', '!', '_', '~', ':', '✓', '"', '\\', '$'])
  }
  secrets.push({ value, width: 6 })
  return value
}

/** `exact`: the document means `entries`, no more and no less. */
function makeDocument(random, entries, secrets) {
  const options = {
    registry: random() < 0.3 ? pick(random, [...HOSTS, 'not a host', `u:${makeSecret(random, secrets)}@r.io`]) : undefined,
    username: random() < 0.1 ? 'ci' : undefined,
    keepNewline: random() < 0.1,
    allowEmpty: random() < 0.2,
  }
  // With a user of the settings, entries that have a user of their own still mean themselves.
  const map = Object.fromEntries(entries.map((entry) => [entry.written, makeEntry(random, entry)]))
  const distinct = Object.keys(map).length === entries.length
  const text = (value) => JSON.stringify(value, null, pick(random, [undefined, 2, '\t']))
  switch (below(random, 13)) {
    case 0: return { document: text({ auths: map, ...makeNoise(random, secrets) }), options, exact: distinct }
    case 1: return { document: text(map), options, exact: distinct }
    case 2: return { document: text(listOf(random, entries)), options, exact: true }
    case 3: return { document: text({ credentials: listOf(random, entries) }), options, exact: true }
    case 4: return { document: text({ [pick(random, ['.dockerconfigjson'])]: pick(random, [text, (value) => base64(text(value))])({ auths: map }) }), options, exact: distinct }
    case 5: return { document: text({ kind: 'Secret', data: { '.dockercfg': base64(text(map)) } }), options, exact: distinct }
    case 6: return { document: text(text({ auths: map })), options, exact: distinct }
    case 7: return { document: text({ docker: random() < 0.5 ? map : text(map), other: makeSecret(random, secrets) }), options: { ...options, jsonKey: pick(random, ['docker', 'docker', 'nothing']) }, exact: false }
    case 8: return { document: pick(random, [(login) => login, base64])(`${entries[0].username}:${entries[0].password}`) + pick(random, ['', '\n', '\r\n']), options, exact: false }
    case 9: return { document: text(listOf(random, entries)[0]), options, exact: entries.length === 1 }
    case 10: return { document: `ECS_CLUSTER=x\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${JSON.stringify(map)}\n`, options, exact: distinct }
    case 11: return { document: text(makeNonsense(random, secrets, 3)), options, exact: false }
    default: return { document: text({ auths: { ...map, ...makeBadEntries(random, secrets) }, ...makeNoise(random, secrets) }), options, exact: false }
  }
}

function makeEntry(random, { username, password }) {
  return pick(random, [
    () => ({ auth: base64(`${username}:${password}`) }),
    () => ({ auth: base64(`${username}:${password}`), email: 'a@b.c' }),
    () => ({ auth: base64(`${username}:${password}`), username, password }),
    () => ({ auth: base64(`${username}:${password}`).replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_') }),
    () => ({ [pick(random, ['username', 'user', 'login'])]: username, [pick(random, ['password', 'token', 'accessToken', 'access_token', 'pat', 'apiKey'])]: password }),
  ])()
}

function listOf(random, entries) {
  return entries.map((entry) => ({ [pick(random, ['registry', 'server', 'host', 'hostname', 'url', 'serveraddress'])]: entry.written, ...makeEntry(random, entry) }))
}

/** Members beside `auths` that mean nothing to us. */
function makeNoise(random, secrets) {
  return pick(random, [
    () => ({}), () => ({ HttpHeaders: { 'User-Agent': makeSecret(random, secrets) } }), () => ({ credsStore: pick(random, ['desktop', 'osxkeychain', makeSecret(random, secrets)]) }),
    () => ({ credHelpers: { [makeSecret(random, secrets)]: makeSecret(random, secrets) } }), () => ({ currentContext: 'x', plugins: {} }), () => ({ [makeSecret(random, secrets)]: null }),
  ])()
}

/** Entries in which everything that people do wrong is done, secrets in the place of names included. */
function makeBadEntries(random, secrets) {
  const secret = makeSecret(random, secrets)
  return pick(random, [
    () => ({ [`https://u:${secret}@r.io`]: { auth: base64('a:b') } }), () => ({ [secret]: { username: 'a', password: secret } }), () => ({ [`r.io?${secret}`]: {} }), () => ({ [`r.io:${secret}`]: {} }),
    () => ({ 'r.io/x:1': { auth: secret } }), () => ({ 'x.io': { auth: secret } }), () => ({ 'x.io': { auth: base64(secret) } }), () => ({ 'x.io': { identitytoken: secret } }),
    () => ({ 'x.io': { username: secret, password: '' } }), () => ({ 'x.io': { username: 'a', password: `${secret}\n${secret}` } }), () => ({ 'x.io': secret }), () => ({ 'x.io': { auth: [secret] } }),
    () => ({ 'x.io': { username: 'a', password: secret, token: secret } }), () => ({ 'x.io': { auth: base64(`a:${secret}`), password: 'other' } }), () => ({ auths: { 'x.io': { auth: secret } } }),
    () => ({ 'x.io': { auth: base64(`a:${secret}\0`) } }), () => ({ 'x.io': {} }), () => ({ '1.dkr.ecr.x.amazonaws.com': { username: 'AWS', password: secret } }), () => ({ 'docker.io/x': { username: 'a', password: secret } }),
  ])()
}

function makeNonsense(random, secrets, depth) {
  if (depth === 0 || random() < 0.3) return pick(random, [() => null, () => 1.5, () => true, () => '', () => makeSecret(random, secrets)])()
  const children = Array.from({ length: below(random, 4) }, () => makeNonsense(random, secrets, depth - 1))
  if (random() < 0.3) return children
  const names = ['auths', 'auth', 'username', 'password', 'registry', 'credentials', 'data', '.dockerconfigjson', 'credsStore', 'credHelpers', 'r.io', '__proto__', 'foo', makeSecret(random, secrets)]
  return Object.fromEntries(children.map((child) => [pick(random, names), child]))
}

function makeEcsConfig(random, secrets) {
  const secret = makeSecret(random, secrets)
  const lines = [
    'ECS_CLUSTER=prod', '', '# comment', 'ECS_ENGINE_AUTH_TYPE=docker', 'ECS_ENGINE_AUTH_TYPE=dockercfg', `ECS_ENGINE_AUTH_DATA={"r.io":{"auth":"${base64(`u:${secret}`)}"}}`,
    `ECS_ENGINE_AUTH_DATA='{"r.io":{"username":"u","password":"${secret.replace(/["\\]/g, '')}"}}'`, `#ECS_ENGINE_AUTH_DATA=${secret}`, `export ECS_ENGINE_AUTH_DATA=${secret}`, 'ECS_ENGINE_AUTH_DATA={', '  "r.io": {', '}',
    '=x', 'ECS_LOGLEVEL = info', 'A=\u00e9\u2028', 'NO_EQUALS', 'ECS_RESERVED_PORTS=[22, 80]\\', '\tX="a',
  ]
  const chosen = Array.from({ length: below(random, 8) }, () => pick(random, lines))
  return Buffer.from(chosen.join(pick(random, ['\n', '\n', '\r\n'])) + pick(random, ['', '\n', '\n\n']))
}

/** One to four wounds of a kind that happens: a byte, a cut, a lost or a doubled piece, another encoding. */
function damage(random, bytes) {
  let damaged = bytes
  for (let count = 1 + below(random, 4); count > 0; count -= 1) {
    const at = below(random, damaged.length + 1)
    const to = Math.min(damaged.length, at + below(random, 20))
    const insert = (piece) => Buffer.concat([damaged.subarray(0, at), piece, damaged.subarray(at)])
    damaged = pick(random, [
      () => insert(Buffer.from([pick(random, BYTES)])), () => insert(Buffer.from([below(random, 256)])), () => damaged.subarray(0, at), () => damaged.subarray(Math.min(at, 40)),
      () => Buffer.concat([damaged.subarray(0, at), damaged.subarray(to)]), () => insert(damaged.subarray(at, to)), () => Buffer.concat([damaged, damaged]),
      () => Buffer.concat([damaged.subarray(0, at), Buffer.from([pick(random, BYTES)]), damaged.subarray(at + 1)]),
      () => (random() < 0.1 ? Buffer.from(damaged.toString('latin1'), 'utf16le') : damaged), () => (random() < 0.1 ? insert(Buffer.from('['.repeat(2000))) : damaged),
      () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), damaged]),
    ])()
  }
  return damaged
}

function base64(text) {
  return Buffer.from(text).toString('base64')
}

function below(random, limit) {
  return Math.floor(random() * limit)
}

function pick(random, choices) {
  return choices[below(random, choices.length)]
}

/** Small, fast and the same everywhere; Math.random has no seed. */
function mulberry32(state) {
  let a = state
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
