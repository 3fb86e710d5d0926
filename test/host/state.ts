import t from 'tap'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { elapsedMs, fingerprint, now, readLastGood, readState, removeStateTemps, saveLastGood, writeState } from '../../src/host/state.js'

t.test('what is written is read again, private', async (t) => {
  const stateDir = join(t.testdir(), 'lib/ecs-regcred')
  const { state, problem } = await readState(stateDir)
  t.equal(problem, undefined)
  t.match(state, { schema: 1, fingerprintKey: /^[0-9a-f]{64}$/ })
  state.setAside = { version: 'v1', reason: 'exit 5', at: '2026-01-01T00:00:00.000Z' }
  await writeState(stateDir, state)
  t.strictSame((await readState(stateDir)).state, state)
  t.equal(statSync(stateDir).mode & 0o777, 0o700)
  t.equal(statSync(join(stateDir, 'state.json')).mode & 0o777, 0o600)
})

t.test('a file that cannot be used is no state, and why is said without quoting it', async (t) => {
  const cases: [string, RegExp][] = [
    ['{"canary-5ecret', /state\.json is not JSON/],
    ['', /is not JSON/],
    ['null', /another version/],
    ['{"schema":2}', /another version/],
    ['{"schema":1,"fingerprintKey":"short"}', /no fingerprint key/],
  ]
  for (const [text, problem] of cases) {
    const stateDir = t.testdir({ 'state.json': text })
    const read = await readState(stateDir)
    t.match(read, { state: { schema: 1, fingerprintKey: /^[0-9a-f]{64}$/ }, problem })
    t.notMatch(read.problem, 'canary')
  }
})

t.test('a damaged field is a field that is not there, and the others stay', async (t) => {
  // Regression: one that was no object, or lacked what a pass takes for granted, ended every pass with status 70, and the service with it, for ever.
  const moment = { bootId: 'boot', monotonicUs: 1, at: '' }
  const fields = {
    rendered: { version: 'v1', fingerprint: 'f', registries: [] }, lastRestart: moment, futileRestart: { fingerprint: 'f', at: moment }, lastSuccess: '2026-01-01T00:00:00.000Z',
    refused: { version: 'v2', registries: [], reason: '', at: moment, tries: 1 }, setAside: { version: 'v3', reason: '', at: '' }, probes: {},
  }
  const whole = { schema: 1, fingerprintKey: 'ab'.repeat(32), ...fields }
  t.strictSame((await readState(t.testdir({ 'state.json': JSON.stringify(whole) }))).state, whole)
  for (const name of Object.keys(fields)) {
    for (const damaged of [5, true, null, [], ...(name === 'probes' ? [] : [{}]), ...(name === 'lastSuccess' ? [] : ['x'])]) {
      if (name === 'probes' && Array.isArray(damaged)) continue
      const { state, problem } = await readState(t.testdir({ 'state.json': JSON.stringify({ ...whole, [name]: damaged }) }))
      t.equal(problem, undefined)
      const { [name]: _, ...others } = whole as Record<string, unknown>
      t.strictSame(state, others, `${name}: ${JSON.stringify(damaged)}`)
    }
  }
})

t.test('a file that cannot be read at all is an error: starting anew would forget what was set aside', async (t) => {
  await t.rejects(readState(t.testdir({ 'state.json': {} })), { code: 'E_STATE', exitCode: 74 })
  const { state } = await readState(join(t.testdir(), 'none'))
  await t.rejects(writeState(join(t.testdir({ file: '' }), 'file/dir'), state), { code: 'E_STATE', message: /file\/dir.*ENOTDIR/ })
})

t.test('the last good copy keeps bytes, and that there was no file', async (t) => {
  const stateDir = t.testdir()
  t.equal(await readLastGood(stateDir), undefined)
  const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x41, 0x3d, 0xff, 0x00, 0x0d, 0x0a])
  for (const kept of [bytes, Buffer.alloc(0), undefined]) {
    await saveLastGood(stateDir, kept)
    t.strictSame(await readLastGood(stateDir), { bytes: kept })
  }
  t.equal(statSync(join(stateDir, 'last-good.ecs.config')).mode & 0o777, 0o600)
})

t.test('a fingerprint tells texts apart, differs on every machine and tells nothing of the text', async (t) => {
  const key = 'ab'.repeat(32)
  t.match(fingerprint(key, 'canary'), /^[0-9a-f]{16}$/)
  t.equal(fingerprint(key, 'canary'), fingerprint(key, Buffer.from('canary')))
  t.not(fingerprint(key, 'canary'), fingerprint(key, 'Canary'))
  t.not(fingerprint(key, 'canary'), fingerprint('cd'.repeat(32), 'canary'))
})

t.test('time that passed is counted within one boot only, whatever the clock on the wall does', async (t) => {
  const since = { ...now(), at: '2000-01-01T00:00:00.000Z' }
  const until = { ...since, monotonicUs: since.monotonicUs + 1_500_000, at: '1999-01-01T00:00:00.000Z' }
  t.equal(elapsedMs(since, until), 1500)
  t.equal(elapsedMs({ ...since, bootId: 'another' }, until), undefined)
  const later = elapsedMs(since, now())
  t.ok(later !== undefined && later >= 0 && later < 60_000)
})

t.test('what killed processes left half written goes', async (t) => {
  const stateDir = t.testdir({ 'state.json': '{}', '.state.json.ecs-regcred-0.1.1-00000000.tmp': '', '.last-good.ecs.config.ecs-regcred-0.1.1-00000000.tmp': '' })
  writeFileSync(join(stateDir, 'other'), '')
  t.equal(await removeStateTemps(stateDir), 2)
  t.strictSame(readdirSync(stateDir).sort(), ['other', 'state.json'])
  t.equal(readFileSync(join(stateDir, 'state.json'), 'utf8'), '{}')
})
