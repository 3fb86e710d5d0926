import fc from 'fast-check'
import t from 'tap'
import { deploymentBounds, deploymentLimits, roomWarnings, type RoomFacts } from '../../src/fleet/deployment-room.js'

const HALF = { minimumHealthyPercent: 50, maximumPercent: 200 }
const facts = (over: Partial<RoomFacts>): RoomFacts => ({
  ...HALF, desiredCount: 1, daemon: false, hostPorts: [], taskCpu: 256, taskMemory: 512, instances: [{ cpu: 1024, memory: 2048, usedPorts: [22, 51678] }], ...over,
})

t.test('the minimum is rounded up and the maximum down, as ECS does', async (t) => {
  t.same(deploymentBounds({ desiredCount: 1, ...HALF }), { mayStop: 0, mayAdd: 1 })
  t.same(deploymentBounds({ desiredCount: 3, ...HALF }), { mayStop: 1, mayAdd: 3 })
  t.same(deploymentBounds({ desiredCount: 3, minimumHealthyPercent: 67, maximumPercent: 133 }), { mayStop: 0, mayAdd: 0 })
  t.same(deploymentBounds({ desiredCount: 41, ...HALF }), { mayStop: 20, mayAdd: 41 })
})

t.test('a deployment that can neither stop nor start a task is warned of', async (t) => {
  t.match(roomWarnings(facts({ maximumPercent: 100 })), [/would wait for ever/])
  t.match(roomWarnings(facts({ desiredCount: 3, minimumHealthyPercent: 67, maximumPercent: 133 })), [/67 % of 3 is 3 tasks/])
})

t.test('a single task needs an instance with a free port, and room', async (t) => {
  t.same(roomWarnings(facts({})), [])
  t.match(roomWarnings(facts({ hostPorts: [8080], instances: [{ cpu: 1024, memory: 2048, usedPorts: [8080] }] })), [/host port 8080 is taken/])
  t.same(roomWarnings(facts({ hostPorts: [8080], instances: [{ cpu: 0, memory: 0, usedPorts: [8080] }, { cpu: 1024, memory: 2048, usedPorts: [] }] })), [])
  t.match(roomWarnings(facts({ taskMemory: 4096 })), [/no container instance has 256 CPU units and 4096 MiB left/])
  t.match(roomWarnings(facts({ instances: [] })), [/no room/])
})

t.test('where a task may stop first, ports and room do not matter', async (t) => {
  t.same(roomWarnings(facts({ desiredCount: 2, hostPorts: [80], instances: [] })), [])
})

t.test('what could not be looked at is not warned of', async (t) => {
  t.same(roomWarnings(facts({ instances: undefined })), [])
})

t.test('a daemon service never goes beyond 100 %', async (t) => {
  t.same(deploymentLimits(HALF, true, 'logs'), { minimumHealthyPercent: 50, maximumPercent: 100 })
  t.throws(() => deploymentLimits({ minimumHealthyPercent: 100, maximumPercent: 200 }, true, 'logs'), { code: 'E_USAGE', message: /^logs: / })
})

t.test('no warning means that ECS may stop or start at least one task', async () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 100 }), fc.integer({ min: 100, max: 200 }), (desiredCount, min, max) => {
    const warned = roomWarnings(facts({ desiredCount, minimumHealthyPercent: min, maximumPercent: max, instances: undefined })).length > 0
    const { mayStop, mayAdd } = deploymentBounds({ desiredCount, minimumHealthyPercent: min, maximumPercent: max })
    return warned === (mayStop === 0 && mayAdd === 0)
  }))
})
