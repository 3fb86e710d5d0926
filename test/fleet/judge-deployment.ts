import type { Deployment, Service, Task } from '@aws-sdk/client-ecs'
import t from 'tap'
import { judgeDeployment, printable, reportTask } from '../../src/fleet/judge-deployment.js'

const OURS = 'ecs-svc/2'
const IMAGE = 'registry.example.com/app:1'
const DENIED = 'CannotPullContainerError: Error response from daemon: unauthorized: authentication required'

const deployment = (over: Partial<Deployment> = {}): Deployment => ({
  id: OURS, status: 'PRIMARY', rolloutState: 'IN_PROGRESS', desiredCount: 2, runningCount: 0, pendingCount: 0, failedTasks: 0, ...over,
})
const old = (over: Partial<Deployment> = {}): Deployment => deployment({ id: 'ecs-svc/1', status: 'ACTIVE', rolloutState: 'COMPLETED', runningCount: 2, ...over })
const service = (...deployments: Deployment[]): Service => ({ serviceName: 'web', desiredCount: 2, deployments })
let number = 0
const task = (over: Partial<Task> = {}): Task => ({
  taskArn: `arn:aws:ecs:eu-west-1:123456789012:task/c/${number++}`, startedBy: OURS, lastStatus: 'RUNNING', pullStartedAt: new Date(), containers: [{ image: IMAGE }], ...over,
})
const stopped = (reason: string): Task => task({ lastStatus: 'STOPPED', stoppedReason: 'Task failed to start', containers: [{ image: IMAGE, reason }] })
const done = service(deployment({ rolloutState: 'COMPLETED', runningCount: 2 }))

t.test('it goes on until ECS says that it is complete', async (t) => {
  const state = judgeDeployment(service(deployment({ runningCount: 1, pendingCount: 1 }), old()), OURS, [task()], true)
  t.equal(state.verdict, undefined)
  t.same(state.counts, { desired: 2, running: 1, pending: 1, old: 2, failed: 0 })
})

t.test('every task running on a fresh pull is the good end', async (t) => {
  t.match(judgeDeployment(done, OURS, [task(), task()], true), { verdict: 'fresh', reason: 'all 2 tasks run on a fresh pull' })
})

t.test('a complete deployment whose tasks are not all listed yet is looked at again', async (t) => {
  t.equal(judgeDeployment(done, OURS, [task()], true).verdict, undefined)
})

t.test('a running task with a CannotPull reason ran on the image that the host still had', async (t) => {
  const state = judgeDeployment(done, OURS, [task(), task({ containers: [{ image: IMAGE, reason: DENIED }] })], true)
  t.match(state, { verdict: 'cached', reason: /1 of 2 running tasks could not pull/ })
  t.match(state.tasks[1], { status: 'RUNNING', class: 'denied', reason: DENIED })
})

t.test('a running task that nothing was pulled for says nothing of the credential', async (t) => {
  const unpulled: Task = { ...task(), pullStartedAt: undefined }
  t.match(judgeDeployment(done, OURS, [task(), unpulled], true), { verdict: 'cached', reason: /started without a pull/ })
})

t.test('three refused tasks are enough, two are not, and a lost network is waited for', async (t) => {
  const going = service(deployment({ pendingCount: 1 }), old())
  t.equal(judgeDeployment(going, OURS, [stopped(DENIED), stopped(DENIED)], true).verdict, undefined)
  t.match(judgeDeployment(going, OURS, [stopped(DENIED), stopped(DENIED), stopped(DENIED)], true), { verdict: 'failed', reason: /3 tasks could not pull/ })
  const lost = stopped('CannotPullContainerError: dial tcp: i/o timeout')
  t.match(judgeDeployment(going, OURS, [lost, lost, lost], true), { verdict: undefined, reason: /i\/o timeout/ })
})

t.test('where a circuit breaker is on, its end is waited for', async (t) => {
  const guarded = { ...service(deployment({ pendingCount: 1 }), old()), deploymentConfiguration: { deploymentCircuitBreaker: { enable: true, rollback: true } } }
  t.match(judgeDeployment(guarded, OURS, [stopped(DENIED), stopped(DENIED), stopped(DENIED)], true), { verdict: undefined, counts: { failed: 3 } })
})

t.test('a task of another deployment does not count', async (t) => {
  const foreign = { ...stopped(DENIED), startedBy: 'ecs-svc/1' }
  t.same(judgeDeployment(service(deployment(), old()), OURS, [foreign, foreign, foreign], true).tasks, [])
})

t.test('tasks that failed before all went well leave their mark in the reason', async (t) => {
  t.match(judgeDeployment(done, OURS, [stopped(DENIED), task(), task()], true), { verdict: 'fresh', reason: /after 1 that could not pull: a host may still be behind/ })
})

t.test('a circuit breaker that gives up or rolls back is recognised', async (t) => {
  const words = 'ECS deployment circuit breaker: tasks failed to start.'
  t.match(judgeDeployment(service(deployment({ rolloutState: 'FAILED', rolloutStateReason: words })), OURS, [stopped(DENIED)], true), { verdict: 'failed', reason: /circuit breaker.*; CannotPull/ })
  const back = old({ status: 'PRIMARY', rolloutState: 'IN_PROGRESS', rolloutStateReason: 'ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.' })
  t.match(judgeDeployment(service(back, deployment({ status: 'ACTIVE', rolloutState: 'FAILED', rolloutStateReason: words })), OURS, [], true), { verdict: 'rolled-back' })
  t.match(judgeDeployment(service(back), OURS, [], true), { verdict: 'rolled-back' }, 'once ours is no longer listed')
})

// Regression: `rollout --watch` after a circuit breaker had put the old revision back called that "fresh", exit status 0.
t.test('a deployment that is itself the way back is no success, however well its tasks run', async (t) => {
  for (const rolloutState of ['IN_PROGRESS', 'COMPLETED'] as const) {
    const back = deployment({ rolloutState, runningCount: 2, rolloutStateReason: 'ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/2.' })
    t.match(judgeDeployment(service(back), OURS, [task(), task()], false), { verdict: 'rolled-back', reason: /circuit breaker/ })
  }
})

t.test('a deployment that somebody else starts meanwhile takes its place', async (t) => {
  const other = deployment({ id: 'ecs-svc/3' })
  t.match(judgeDeployment(service(other, deployment({ status: 'ACTIVE' })), OURS, [], true), { verdict: 'superseded', reason: /ecs-svc\/3/ })
})

t.test('an answer of ECS from before the update is not taken for a rival deployment', async (t) => {
  t.equal(judgeDeployment(service(old({ status: 'PRIMARY' })), OURS, [], false).verdict, undefined)
})

t.test('without a rollout state the counts decide', async (t) => {
  const { rolloutState: _, ...bare } = deployment({ runningCount: 2 })
  t.equal(judgeDeployment(service(bare), OURS, [task(), task()], true).verdict, 'fresh')
  t.equal(judgeDeployment(service(bare, old()), OURS, [task(), task()], true).verdict, undefined)
})

t.test("a container's failed pull tells more than the task's own words", async (t) => {
  t.equal(reportTask(stopped(DENIED)).reason, DENIED)
  t.equal(reportTask(task({ lastStatus: 'STOPPED', stoppedReason: DENIED, containers: [{ image: IMAGE, reason: '' }] })).class, 'denied')
  t.equal(reportTask(task({ lastStatus: 'PENDING' })).class, 'starting')
})

t.test('text of another machine cannot steer the terminal', async (t) => {
  t.equal(printable('a\u001b[2J\nb\u009bc'), 'a [2J b c')
})
