import fc from 'fast-check'
import t from 'tap'
import { decideEcsAgent, type EcsAgentFacts, holdsFile, pollDelayMs, restartWaitMs, splayOffsetMs } from '../../src/core/decide.js'

const running: EcsAgentFacts = { job: 'running', holdsFile: true, changePending: false, restartBegun: false }

void t.test('what is done with the ECS agent', async (t) => {
  const cases: [string, Partial<EcsAgentFacts>, string][] = [
    ['it holds the file', {}, 'nothing'],
    ['it holds the file and nobody has seen it healthy', { changePending: true }, 'nothing'],
    ['it runs without it: a restart is owed, whoever wrote the file', { holdsFile: false }, 'restart'],
    ['it is being started and holds something else', { job: 'starting', holdsFile: false }, 'restart'],
    ['it is being started', { job: 'starting', holdsFile: null }, 'look-again'],
    ['its supervisor runs, and no ECS agent', { job: 'running', holdsFile: null }, 'look-again'],
    ['it has not been started since boot', { job: 'not-started', holdsFile: null, changePending: true }, 'nothing'],
    ['an administrator stopped it', { job: 'stopped', holdsFile: null, changePending: true }, 'nothing'],
    ['we stopped it and were killed before the start', { job: 'stopped', holdsFile: null, changePending: true, restartBegun: true }, 'restart'],
    ['its container was restarted past its job, with what it held', { job: 'stopped', holdsFile: false, outlivesJob: true }, 'restart'],
    ['its container was restarted past its job, and holds the file', { job: 'stopped', holdsFile: true, outlivesJob: true }, 'nothing'],
    ['it is being stopped', { job: 'stopped', holdsFile: false, outlivesJob: false }, 'nothing'],
    ['it ended with its terminal status', { job: 'failed', exitStatus: 5, holdsFile: null, changePending: true }, 'leave-down'],
    ['it failed after a change of ours', { job: 'failed', exitStatus: 1, holdsFile: null, changePending: true }, 'restart'],
    ['it failed for good and our way back was cut short', { job: 'failed', exitStatus: 5, holdsFile: null, restartBegun: true }, 'restart'],
    ['it failed, and not by our change', { job: 'failed', exitStatus: 1, holdsFile: null }, 'leave-down'],
    ['there is none', { job: 'absent', holdsFile: null }, 'nothing'],
    ['the init system says nothing and nothing is known', { job: 'unknown', holdsFile: null }, 'nothing'],
    ['the init system says nothing and it holds something else', { job: 'unknown', holdsFile: false }, 'restart'],
  ]
  for (const [title, facts, action] of cases) t.equal(decideEcsAgent({ ...running, ...facts }), action, title)
})

void t.test('what tells whether it holds the file', async (t) => {
  const nothing = { container: undefined, changePending: false }
  t.equal(holdsFile({ ...nothing, container: 'same', jobStartedAtUs: 1, writtenAtUs: 10 ** 9 }), true, 'its own environment is proof')
  t.equal(holdsFile({ ...nothing, container: 'different', jobStartedAtUs: 10 ** 9, writtenAtUs: 1 }), false)
  t.equal(holdsFile({ ...nothing, container: 'none', jobStartedAtUs: 10 ** 9 }), null, 'no container, nobody who holds anything')
  t.equal(holdsFile({ ...nothing, jobStartedAtUs: 2_000_000, writtenAtUs: 1_000_000 }), true, 'started after the write')
  t.equal(holdsFile({ ...nothing, jobStartedAtUs: 1_000_000, writtenAtUs: 2_000_000 }), false, 'started before it')
  t.equal(holdsFile({ ...nothing, jobStartedAtUs: 1_995_000, writtenAtUs: 2_000_000 }), true, 'within a tick of the kernel')
  t.equal(holdsFile({ ...nothing, listenerStartedAtUs: 3_000_000, writtenAtUs: 2_000_000 }), true)
  t.equal(holdsFile({ ...nothing, jobStartedAtUs: 5 }), true, 'not written on this boot')
  t.equal(holdsFile({ ...nothing, listenerStartedAtUs: 1, restartTakenAtUs: 3_000_000, writtenAtUs: 2_000_000, changePending: true }), true, 'an order taken after the write')
  t.equal(holdsFile({ ...nothing, restartTakenAtUs: 1_000_000, writtenAtUs: 2_000_000 }), false, 'the order of the change before')
  t.equal(holdsFile(nothing), null)
  t.equal(holdsFile({ ...nothing, changePending: true }), false, 'after a change of ours, not knowing is a no')
})

void t.test('a restart waits for the later of its place and the gap', async (t) => {
  const due = { owedForMs: 0, splayOffsetMs: 0, sinceLastRestartMs: undefined, minRestartGapMs: 60_000 }
  t.equal(restartWaitMs(due), 0, 'there was none on this boot')
  t.equal(restartWaitMs({ ...due, sinceLastRestartMs: 20_000 }), 40_000)
  t.equal(restartWaitMs({ ...due, sinceLastRestartMs: 90_000 }), 0)
  t.equal(restartWaitMs({ ...due, splayOffsetMs: 50_000, owedForMs: 10_000, sinceLastRestartMs: 20_000 }), 40_000)
  t.equal(restartWaitMs({ ...due, splayOffsetMs: 50_000, owedForMs: 5_000, sinceLastRestartMs: 20_000 }), 45_000)
})

void t.test('a host has its own fixed place in the window, and a fleet fills it evenly', async (t) => {
  fc.assert(fc.property(fc.string(), fc.integer({ min: 1, max: 3_600_000 }), (id, windowMs) => {
    const place = splayOffsetMs(id, windowMs)
    return place >= 0 && place < windowMs && place === splayOffsetMs(id, windowMs)
  }))
  const tenths = Array<number>(10).fill(0)
  for (let host = 0; host < 10_000; host++) tenths[Math.floor(splayOffsetMs(`i-${host.toString(16).padStart(17, '0')}`, 60_000) / 6_000)]! += 1
  t.ok(tenths.every((count) => count > 900 && count < 1_100), `tenths of the window hold ${tenths.join(', ')}`)
})

void t.test('a poll comes up to a fifth early, never late', async (t) => {
  t.equal(pollDelayMs(300_000, 0), 240_000)
  t.equal(pollDelayMs(300_000, 0.9999), 299_994)
})
