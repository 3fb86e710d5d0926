#!/usr/bin/env node
/**
 * A fleet's day on a virtual clock: `npm run build && node scripts/simulate-fleet.mjs [--hosts 10000] [--hours 24] [--svg scripts/fleet.svg] [--write-readme]`
 *
 * When a host looks, retries and restarts is decided by the service's own functions (dist/core/decide.js); only the clock, Secrets Manager and the
 * time that a restart takes are made up. The day: all hosts boot within ten minutes and a third of them again at noon, the secret is rotated every
 * hour, EventBridge signals every host (by SSM Run Command, fifty at a time) after every second rotation, and from 06:00 to 07:00 Secrets Manager is away.
 * Ends with an error where a promise does not hold: every host has the newest version in bounded time, no herd, no call over the quota that is not repeated.
 */
import { writeFileSync, readFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { nextLook, restartWaitMs, splayOffsetMs } from '../dist/core/decide.js'

const { values: options } = parseArgs({
  options: { hosts: { type: 'string', default: '10000' }, hours: { type: 'string', default: '24' }, svg: { type: 'string' }, 'write-readme': { type: 'boolean' }, seed: { type: 'string', default: '1' } },
})
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** Of one account in one Region (https://aws.amazon.com/about-aws/whats-new/2025/03/aws-secrets-manager-increases-api-requests-seconds). */
const QUOTA = { DescribeSecret: 40_000, GetSecretValue: 10_000 }
/** The older of the two figures, both calls together, still in the user guide (…/userguide/reference_limits.html): the one that is simulated. */
const COMBINED_QUOTA = 10_000
/** What one Run Command reaches at once (`--max-concurrency`), and how long it is at one host. */
const SIGNALS = { atOnce: 50, takesMs: 500 }
const CALL_MS = 30
const RESTART_MS = 8 * SECOND

/** What is set for a fleet of that size. */
export function settingsFor(hosts) {
  if (hosts <= 1_000) return { intervalMs: 5 * MINUTE, splayMs: MINUTE, minRestartGapMs: MINUTE }
  if (hosts <= 10_000) return { intervalMs: 5 * MINUTE, splayMs: 10 * MINUTE, minRestartGapMs: MINUTE }
  return { intervalMs: 15 * MINUTE, splayMs: 30 * MINUTE, minRestartGapMs: MINUTE }
}

export function simulate({ hosts: count, hours, seed, settings = settingsFor(count) }) {
  const random = generator(seed)
  const end = hours * HOUR
  const outage = { from: 6 * HOUR, to: 7 * HOUR }
  const rotations = Array.from({ length: hours }, (_, n) => ({ at: n * HOUR + 30 * MINUTE, behind: count, last: 0 })).slice(0, hours)
  const currentAt = (now) => rotations.reduce((version, { at }, n) => (at <= now ? n + 1 : version), 0)
  const seconds = Math.ceil(end / SECOND) + 1
  const calls = new Int32Array(seconds)
  const throttled = new Int32Array(seconds)
  const restarts = new Int32Array(seconds)
  const behind = new Int32Array(seconds)
  const queue = new Queue()
  const hosts = Array.from({ length: count }, (_, n) => ({
    n, offset: splayOffsetMs(`i-${n.toString(16).padStart(17, '0')}`, settings.splayMs), known: -1, file: -1, running: -1, failures: 0, owedSince: undefined, lastRestart: undefined, turn: 0,
  }))
  for (const host of hosts) {
    queue.push(random() * 10 * MINUTE, host, 0)
    if (host.n % 3 === 0) queue.push(12 * HOUR + random() * 5 * MINUTE, host, 'boot')
  }
  for (const [n, { at }] of rotations.entries()) {
    if (n % 2 === 1) for (const host of hosts) queue.push(at + 2 * SECOND + Math.floor(host.n / SIGNALS.atOnce) * SIGNALS.takesMs, host, 'signal')
  }

  const call = (now) => {
    const second = Math.floor(now / SECOND)
    calls[second]++
    if (now >= outage.from && now < outage.to) return false
    if (calls[second] <= COMBINED_QUOTA) return true
    throttled[second]++
    return false
  }

  const caughtUp = ({ from, to }, now) => {
    for (let version = from + 1; version <= to; version++) {
      const rotation = rotations[version - 1]
      if (rotation === undefined) continue
      rotation.behind--
      rotation.last = Math.max(rotation.last, now)
      behind[Math.floor(rotation.at / SECOND)]++
      behind[Math.floor(now / SECOND)]--
    }
  }

  for (let event = queue.pop(); event !== undefined && event.at < end; event = queue.pop()) {
    const { at: now, host, turn } = event
    // A wake-up that another one has overtaken.
    if (typeof turn === 'number' && turn !== host.turn) continue
    if (turn === 'boot') {
      // Its ECS agent starts with the file as it stands, which pays a restart that was owed.
      caughtUp({ from: host.running, to: host.file }, now)
      Object.assign(host, { failures: 0, owedSince: undefined, running: host.file })
    }
    const pass = onePass(host, now, call, settings, currentAt)
    if (pass.restarted) {
      for (let t = now; t < Math.min(now + RESTART_MS, end); t += SECOND) restarts[Math.floor(t / SECOND)]++
    }
    if (pass.caughtUp !== undefined) caughtUp(pass.caughtUp, now)
    host.failures = pass.failed ? host.failures + 1 : 0
    queue.push(now + pass.tookMs + nextLook({ intervalMs: settings.intervalMs, failures: host.failures, lookAgainMs: pass.lookAgainMs }, random).waitMs, host, ++host.turn)
  }
  for (let t = 1; t < seconds; t++) behind[t] += behind[t - 1]
  // Those that are told of the last rotation after the day has ended are not behind.
  const whole = rotations.filter(({ at }) => at + 2 * settings.intervalMs + settings.splayMs + settings.minRestartGapMs < end)
  return { calls, throttled, restarts, behind, rotations: whole, settings, count, outage, seconds }
}

/** What src/reconcile.ts does, as far as time is concerned: the source, the file, the restart that is owed. */
function onePass(host, now, call, { splayMs, minRestartGapMs }, currentAt) {
  let tookMs = CALL_MS
  let failed = !call(now)
  if (!failed) {
    const current = currentAt(now)
    if (current !== host.known) {
      tookMs += CALL_MS
      if (call(now)) host.known = host.file = current
      else failed = true
    }
  }
  // The first start of the ECS agent reads the file that the boot unit has written: no restart is owed for it.
  if (host.running === -1 && host.file !== -1) host.running = host.file
  if (host.running === host.file) return { tookMs, failed, restarted: false, lookAgainMs: undefined }
  host.owedSince ??= now
  const waitMs = restartWaitMs({
    owedForMs: now - host.owedSince, splayOffsetMs: splayMs > 0 ? host.offset : 0,
    sinceLastRestartMs: host.lastRestart === undefined ? undefined : now - host.lastRestart, minRestartGapMs,
  })
  if (waitMs > 0) return { tookMs, failed, restarted: false, lookAgainMs: waitMs }
  const caughtUp = { from: host.running, to: host.file }
  Object.assign(host, { owedSince: undefined, lastRestart: now, running: host.file })
  return { tookMs: tookMs + RESTART_MS, failed, restarted: true, lookAgainMs: undefined, caughtUp }
}

/** By time; a binary heap. */
class Queue {
  #items = []
  push(at, host, turn) {
    const items = this.#items
    let i = items.push({ at, host, turn }) - 1
    for (let parent; i > 0 && items[parent = (i - 1) >> 1].at > items[i].at; i = parent) [items[i], items[parent]] = [items[parent], items[i]]
  }
  pop() {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (items.length === 0 || first === undefined) return first
    items[0] = last
    for (let i = 0; ;) {
      let least = i
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < items.length && items[child].at < items[least].at) least = child
      if (least === i) return first
      ;[items[i], items[least]] = [items[least], items[i]]
      i = least
    }
  }
}

/** mulberry32: the same day for the same seed. */
function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export function figures({ calls, throttled, restarts, rotations, settings, count, outage }) {
  const max = (list, from = 0, to = list.length) => list.subarray(from, to).reduce((most, value) => Math.max(most, value), 0)
  const ordinary = rotations.filter(({ at }) => at + HOUR < outage.from || at >= outage.to)
  return {
    hosts: count, intervalMs: settings.intervalMs, splayMs: settings.splayMs,
    callsMean: calls.reduce((sum, value) => sum + value, 0) / calls.length,
    callsMost: max(calls),
    afterOutage: max(calls, outage.to / SECOND, outage.to / SECOND + 120),
    throttled: throttled.reduce((sum, value) => sum + value, 0),
    restartingAtOnce: max(restarts),
    lastHostMs: Math.max(0, ...ordinary.map(({ at, last }) => last - at)),
    behindAtEnd: rotations.reduce((sum, { behind }) => Math.max(sum, behind), 0),
  }
}

/** The shape that is promised. @throws where it is not kept */
function assertShape(run) {
  const seen = figures(run)
  const { intervalMs, splayMs, minRestartGapMs } = run.settings
  const promise = (holds, what) => {
    if (!holds) throw new Error(`the simulated fleet breaks a promise: ${what}\n${JSON.stringify(seen)}`)
  }
  promise(seen.behindAtEnd === 0, 'a host never got a version')
  promise(seen.lastHostMs <= intervalMs + splayMs + minRestartGapMs + 2 * MINUTE, 'the last host came later than an interval, its place in the splay and the gap between restarts')
  promise(seen.throttled === 0, 'calls were throttled')
  // Twice as many as if all were spread evenly over the splay.
  promise(seen.restartingAtOnce <= Math.max(10, 2 * run.count * (RESTART_MS + SECOND) / Math.max(splayMs, SECOND)), 'a herd of restarts')
  // Full jitter up to a minute is half a minute on average, and then two calls for the version that came meanwhile: six deviations above that.
  const expected = 2 * run.count / 30
  promise(seen.afterOutage <= expected + 6 * Math.sqrt(expected) + 10, 'a herd when Secrets Manager came back')
  return seen
}

function picture(run) {
  const [width, height, left] = [960, 150, 90]
  const panels = [
    ['calls to Secrets Manager a second', run.calls, '#2a6fb0'],
    ['ECS agents restarting at once', run.restarts, '#b0552a'],
    ['hosts behind the newest version', run.behind, '#7a3fa0'],
  ]
  const minutes = Math.floor(run.seconds / 60)
  const panel = ([title, series, colour], n) => {
    const most = Array.from({ length: minutes }, (_, m) => series.subarray(m * 60, m * 60 + 60).reduce((top, value) => Math.max(top, value), 0))
    const top = Math.max(1, ...most)
    const y = 40 + n * (height + 45)
    const points = most.map((value, m) => `${(left + m / minutes * (width - left - 20)).toFixed(1)},${(y + height - value / top * height).toFixed(1)}`).join(' ')
    const hours = Array.from({ length: Math.floor(minutes / 180) + 1 }, (_, h) => `<text x="${(left + h * 180 / minutes * (width - left - 20)).toFixed(0)}" y="${y + height + 16}" text-anchor="middle">${String(h * 3).padStart(2, '0')}:00</text>`).join('')
    const [from, to] = [run.outage.from, run.outage.to].map((at) => left + at / MINUTE / minutes * (width - left - 20))
    return `<rect x="${from.toFixed(1)}" y="${y}" width="${(to - from).toFixed(1)}" height="${height}" fill="#d33" opacity="0.12"/>
<line x1="${left}" y1="${y + height}" x2="${width - 20}" y2="${y + height}" stroke="#888"/>
<text x="${left - 8}" y="${y + 10}" text-anchor="end">${top.toLocaleString('en')}</text><text x="${left - 8}" y="${y + height}" text-anchor="end">0</text>
<text x="${left}" y="${y - 8}" font-weight="bold">${title}</text>
<polyline fill="none" stroke="${colour}" stroke-width="1.3" points="${points}"/>${hours}`
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${40 + panels.length * (height + 45)}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>
${panels.map(panel).join('\n')}
</svg>
`
}

const duration = (ms) => (ms >= MINUTE ? `${Math.round(ms / MINUTE * 10) / 10} min` : `${Math.round(ms / SECOND)} s`)
const number = (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en'))

if (process.argv[1] === import.meta.filename) {
  const [hours, seed] = [Number(options.hours), Number(options.seed)]
  const run = simulate({ hosts: Number(options.hosts), hours, seed })
  assertShape(run)
  if (options.svg !== undefined) writeFileSync(options.svg, picture(run))
  const sizes = options['write-readme'] ? [100, 1_000, 10_000, 100_000] : [Number(options.hosts)]
  const rows = sizes.map((hosts) => assertShape(hosts === run.count ? run : simulate({ hosts, hours, seed })))
  const table = [
    '| hosts | `REGCRED_INTERVAL` | `REGCRED_SPLAY` | calls a second: mean, most | most in a second when Secrets Manager comes back | throttled | most ECS agents restarting at once | rotation to the last host |', '|---|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.hosts.toLocaleString('en')} | ${duration(row.intervalMs)} | ${duration(row.splayMs)} | ${number(row.callsMean)}, ${number(row.callsMost)} | ${number(row.afterOutage)} | ${row.throttled} | ${number(row.restartingAtOnce)} | ${duration(row.lastHostMs)} |`),
  ].join('\n')
  const readme = join(import.meta.dirname, '../README.md')
  if (options['write-readme'] && existsSync(readme)) {
    const block = `<!-- fleet:start -->\n${table}\n<!-- fleet:end -->`
    const text = readFileSync(readme, 'utf8')
    writeFileSync(readme, /<!-- fleet:start -->[^]*<!-- fleet:end -->/.test(text) ? text.replace(/<!-- fleet:start -->[^]*<!-- fleet:end -->/, () => block) : `${text.trimEnd()}\n\n## A fleet's day\n\n![A fleet's day](scripts/fleet.svg)\n\n${block}\n`)
  } else console.log(table)
  console.log(`quotas: ${COMBINED_QUOTA.toLocaleString('en')} a second for both calls together was simulated (DescribeSecret ${QUOTA.DescribeSecret.toLocaleString('en')}, GetSecretValue ${QUOTA.GetSecretValue.toLocaleString('en')} since March 2025)`)
}
