import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Refusal, serveAws, type Actions, type Call } from '../fixtures/aws/json-endpoint.js'
import { renderScreen } from '../../src/cli/rollout-screen.js'
import { runCommandLine } from '../fixtures/command-line.js'
import { PROGRAM } from '../fixtures/machine.js'

const IMAGE = 'registry.example.com/app:1'
const DENIED = "CannotPullContainerError: Error response from daemon: pull access denied for registry.example.com/app, repository does not exist or may require 'docker login'"
const OWN = { minimumHealthyPercent: 100, maximumPercent: 150, deploymentCircuitBreaker: { enable: false, rollback: false } }
const now = (): number => Date.now() / 1000

type Fate = 'fresh' | 'denied' | 'cached' | 'pending' | 'rolled-back'
type Service = { fate: Fate; over?: Record<string, unknown>; images?: string[]; polls?: number }

/** A cluster as ECS answers for it: a forced deployment comes to the end that its service's fate says, at the second look. */
async function cluster(t: Test, services: Record<string, Service>, over: Actions = {}): Promise<Call[]> {
  const deployed = new Map<string, number>()
  const settings = new Map<string, unknown>()
  const nameOf = (text: string): string => text.split('/').at(-1) ?? ''
  const describe = (name: string): unknown => {
    const { fate, over: fields } = services[name] ?? { fate: 'fresh' as const }
    const looks = deployed.get(name)
    if (looks !== undefined) deployed.set(name, looks + 1)
    const started = looks !== undefined
    const ended = (looks ?? 0) >= 2
    const one = (id: string, more: object): object => ({ id, status: 'PRIMARY', rolloutState: 'IN_PROGRESS', desiredCount: 2, runningCount: 0, pendingCount: 2, failedTasks: 0, ...more })
    const complete = { rolloutState: 'COMPLETED', runningCount: 2, pendingCount: 0 }
    const deployments = !started ? [one(`ecs-svc/${name}-1`, complete)]
      : ended && (fate === 'fresh' || fate === 'cached') ? [one(`ecs-svc/${name}-2`, complete)]
        : ended && fate === 'rolled-back' ? [one(`ecs-svc/${name}-1`, { rolloutStateReason: 'ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.' }), one(`ecs-svc/${name}-2`, { status: 'ACTIVE', rolloutState: 'FAILED', rolloutStateReason: 'ECS deployment circuit breaker: tasks failed to start.' })]
          : [one(`ecs-svc/${name}-2`, {}), one(`ecs-svc/${name}-1`, { ...complete, status: 'ACTIVE' })]
    return {
      serviceName: name, serviceArn: `arn:aws:ecs:eu-west-1:123456789012:service/prod/${name}`, status: 'ACTIVE', desiredCount: 2, launchType: 'EC2', schedulingStrategy: 'REPLICA',
      taskDefinition: `${name}:1`, deploymentConfiguration: settings.get(name) ?? OWN, deployments, events: [], ...fields,
    }
  }
  const taskArn = (name: string, number: number): string => `arn:aws:ecs:eu-west-1:123456789012:task/prod/${name}-${number}`
  return serveAws(t, {
    ListServices: () => ({ serviceArns: Object.keys(services).map((name) => `arn:aws:ecs:eu-west-1:123456789012:service/prod/${name}`) }),
    DescribeServices: ({ services: names }: { services: string[] }) => ({ services: names.map(nameOf).filter((name) => name in services).map(describe) }),
    DescribeTaskDefinition: ({ taskDefinition }) => ({
      taskDefinition: { family: taskDefinition, containerDefinitions: (services[String(taskDefinition).split(':')[0] ?? '']?.images ?? [IMAGE]).map((image) => ({ name: 'app', image, cpu: 128, memory: 256, portMappings: [{ containerPort: 80, hostPort: 8080 }] })) },
    }),
    ListContainerInstances: () => ({ containerInstanceArns: ['arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/host-1'] }),
    DescribeContainerInstances: () => ({
      containerInstances: [{ containerInstanceArn: 'x/host-1', status: 'ACTIVE', agentConnected: true, remainingResources: [{ name: 'CPU', integerValue: 1024 }, { name: 'MEMORY', integerValue: 1024 }, { name: 'PORTS', stringSetValue: ['22', '8080'] }] }],
    }),
    UpdateService: ({ service, forceNewDeployment, deploymentConfiguration }) => {
      settings.set(service, deploymentConfiguration)
      if (forceNewDeployment === true) deployed.set(service, 0)
      return { service: describe(service) }
    },
    ListTasks: ({ serviceName, desiredStatus }) => {
      const fate = services[serviceName]?.fate
      if (!deployed.has(serviceName)) return { taskArns: [] }
      if (desiredStatus === 'RUNNING') return { taskArns: fate === 'fresh' || fate === 'cached' ? [taskArn(serviceName, 1), taskArn(serviceName, 2)] : [] }
      return { taskArns: fate === 'denied' || fate === 'rolled-back' ? [1, 2, 3].map((number) => taskArn(serviceName, number)) : [] }
    },
    DescribeTasks: ({ tasks }: { tasks: string[] }) => ({
      tasks: tasks.map((arn) => {
        const name = nameOf(arn).replace(/-\d+$/, '')
        const fate = services[name]?.fate
        const failed = fate === 'denied' || fate === 'rolled-back'
        return {
          taskArn: arn, startedBy: `ecs-svc/${name}-2`, containerInstanceArn: 'arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/host-1',
          lastStatus: failed ? 'STOPPED' : 'RUNNING', pullStartedAt: now(), pullStoppedAt: now(), ...(failed ? { stoppedReason: 'Task failed to start' } : {}),
          containers: [{ image: IMAGE, ...(failed || (fate === 'cached' && arn.endsWith('1')) ? { reason: DENIED } : {}) }],
        }
      }),
    }),
    ...over,
  })
}

const updates = (calls: readonly Call[]): unknown[] => calls.filter(({ action }) => action === 'UpdateService').map(({ input }) => input)

t.test('a service whose tasks all pull ends well, and has its own percentages back', async (t) => {
  const calls = await cluster(t, { web: { fate: 'fresh' } })
  const { status, stdout, stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 0, stderr)
  t.match(stdout, /^web {2}fresh +all 2 tasks run on a fresh pull\n1 of 1 service well\n$/)
  t.match(stderr, /web {2}rolling {2}0\/2 running, 2 starting, 2 old/)
  t.notMatch(stdout + stderr, '\u001b')
  t.same(updates(calls), [
    { cluster: 'prod', service: 'web', forceNewDeployment: true, deploymentConfiguration: { ...OWN, minimumHealthyPercent: 50, maximumPercent: 200 } },
    { cluster: 'prod', service: 'web', deploymentConfiguration: OWN },
  ])
})

t.test('a refused pull ends with 77, the reason and what to do, and starts no further service', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const calls = await cluster(t, { a: { fate: 'denied' }, b: { fate: 'denied' }, c: { fate: 'denied' }, d: { fate: 'denied' }, e: { fate: 'denied' }, f: { fate: 'fresh' } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--all', '--json'])
  t.equal(status, 77)
  const document = JSON.parse(stdout)
  t.match(document, { ok: false, code: 'E_REGISTRY_REFUSED' })
  t.same(document.services.map(({ service }: { service: string }) => service), names)
  t.match(document.services[0], { verdict: 'failed', tasks: [{ task: 'a-1', status: 'STOPPED', class: 'denied', reason: DENIED, containerInstance: 'host-1' }, {}, {}] })
  t.match(document.services[5], { verdict: 'not-started', reason: /the registry refused/ })
  t.notOk(updates(calls).some((input) => (input as { service: string }).service === 'f'))
  t.equal(updates(calls).length, 10, 'each that was started was put back')
})

t.test('a person reads which task failed, on which host, and what to do', async (t) => {
  await cluster(t, { web: { fate: 'denied' } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 77)
  t.match(stdout, /^web {2}failed +3 tasks could not pull their image; ECS goes on trying\n {2}task web-1 STOPPED on host-1: CannotPullContainerError: .*\n/)
  t.match(stdout, /\n {2}denied: the registry refused the credential/)
})

t.test('running tasks on a cached image are no success', async (t) => {
  await cluster(t, { web: { fate: 'cached' } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 77)
  t.match(stdout, /web {2}cached .*1 of 2 running tasks could not pull and run on the image that the host still had\n {2}task web-1 RUNNING on host-1: CannotPull/)
})

t.test("the circuit breaker's rollback is told", async (t) => {
  await cluster(t, { web: { fate: 'rolled-back', over: { deploymentConfiguration: { ...OWN, deploymentCircuitBreaker: { enable: true, rollback: true } } } } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 77)
  t.match(stdout, /web {2}rolled-back .*circuit breaker/)
})

t.test('a service that CodeDeploy deploys is refused before anything is started', async (t) => {
  const calls = await cluster(t, { blue: { fate: 'fresh', over: { deploymentController: { type: 'CODE_DEPLOY' } } }, web: { fate: 'fresh' } })
  const named = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'blue', '--service', 'web'])
  t.equal(named.status, 69)
  t.match(named.stderr, /service blue is deployed by CodeDeploy, and ECS refuses a forced deployment there/)
  t.same(updates(calls), [])
  const all = await runCommandLine(['rollout', '--cluster', 'prod', '--all', '--json'])
  t.equal(all.status, 69)
  t.match(JSON.parse(all.stdout), { ok: false, code: 'E_UNSUPPORTED', services: [{ service: 'blue', verdict: 'unsupported' }, { service: 'web', verdict: 'fresh' }] })
})

t.test('a service that wants no task is left alone', async (t) => {
  const calls = await cluster(t, { idle: { fate: 'fresh', over: { desiredCount: 0 } } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--all'])
  t.equal(status, 0)
  t.match(stdout, /idle {2}nothing-to-do/)
  t.same(updates(calls), [])
})

t.test('a daemon service is given 100 % at most', async (t) => {
  const calls = await cluster(t, { daemon: { fate: 'fresh', over: { schedulingStrategy: 'DAEMON' } } })
  await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'daemon'])
  t.match(updates(calls)[0], { deploymentConfiguration: { minimumHealthyPercent: 50, maximumPercent: 100 } })
})

t.test('no room for a new task, and images that are not ours, are warned of before', async (t) => {
  await cluster(t, { web: { fate: 'fresh', over: { desiredCount: 1 } }, ecr: { fate: 'fresh', images: ['123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1'] } })
  const { stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--all'])
  t.match(stderr, /^warning: ecr: all its images are in Amazon ECR/m)
  t.match(stderr, /^warning: web: no room: 50 % of 1 is 1 task \(rounded up\), so no old task may stop first, and host port 8080 is taken on every container instance/m)
})

// Regression: such a service names no launch type, so the container instances were looked at, and room was missed where none is needed.
t.test('a service on Fargate by its capacity providers is warned of as such, and not for the room on container instances', async (t) => {
  const strategy = (...providers: string[]) => ({ desiredCount: 1, launchType: undefined, capacityProviderStrategy: providers.map((capacityProvider) => ({ capacityProvider, weight: 1 })) })
  await cluster(t, { web: { fate: 'fresh', over: strategy('FARGATE', 'FARGATE_SPOT') }, own: { fate: 'fresh', over: strategy('my-asg') } })
  const { stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--all'])
  t.match(stderr, /^warning: web: its tasks run on Fargate, where no ecs\.config is read/m)
  t.notMatch(stderr, /web: no room/)
  t.match(stderr, /^warning: own: no room/m)
})

t.test('time that is up is 75, with the command to look again, and the percentages are back', async (t) => {
  const calls = await cluster(t, { web: { fate: 'pending' } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web', '--timeout', '1s'])
  t.equal(status, 75)
  t.match(stdout, /web {2}timed-out .*not settled after 1 s/)
  t.match(stdout, 'to look again: ecs-regcred rollout --cluster prod --service web --watch')
  t.match(updates(calls).at(-1), { deploymentConfiguration: OWN })
})

t.test('an interrupt leaves the deployment going, and says how to look again and what to put back', async (t) => {
  const calls = await cluster(t, { web: { fate: 'pending' } })
  const stopping = new AbortController()
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'], {
    signal: stopping.signal, onStderr: (text) => { if (text.includes('rolling')) stopping.abort() },
  })
  t.equal(status, 75)
  t.match(stdout, 'web  interrupted')
  const command = /aws ecs update-service --cluster prod --service web --deployment-configuration '(.*)'/.exec(stdout)
  t.same(JSON.parse(command?.[1] ?? ''), OWN)
  t.match(stdout, '--watch')
  t.equal(updates(calls).length, 1)
})

t.test('--watch follows what is under way and changes nothing', async (t) => {
  const calls = await cluster(t, { web: { fate: 'pending', over: {} } })
  const { status } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web', '--watch', '--timeout', '1s'])
  t.equal(status, 75)
  t.same(updates(calls), [])
})

t.test('throttling and a passing fault are waited out', async (t) => {
  let faults = 0
  const calls = await cluster(t, { web: { fate: 'fresh' } }, {
    ListTasks: ({ desiredStatus }) => {
      if (faults++ % 4 === 2) throw new Refusal('ThrottlingException', 'Rate exceeded')
      return { taskArns: desiredStatus === 'RUNNING' ? ['x/web-1', 'x/web-2'] : [] }
    },
  })
  const { status, stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 0, stderr)
  t.ok(faults > 3)
  t.equal(updates(calls).length, 2)
})

t.test('a right that is missing is told with the statement to add, and nothing is started', async (t) => {
  const denied = new Refusal('AccessDeniedException', 'User: arn:aws:sts::123456789012:assumed-role/ops/me is not authorized to perform: ecs:UpdateService on resource: arn:aws:ecs:eu-west-1:123456789012:service/prod/web because no identity-based policy allows the ecs:UpdateService action')
  await cluster(t, { web: { fate: 'fresh' } }, { UpdateService: () => { throw denied } })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 77)
  t.match(stdout, /web {2}not-started .*ecs:UpdateService/)
  t.match(stdout, /fix: add to the policies of role ops/)
})

t.test('percentages that cannot be put back are told with the command', async (t) => {
  const updated: unknown[] = []
  await cluster(t, { web: { fate: 'fresh' } }, {
    UpdateService: (input) => {
      updated.push(input)
      if (updated.length > 1) throw new Refusal('ServiceNotActiveException', 'the service is draining')
      return { service: { serviceName: 'web', deployments: [{ id: 'ecs-svc/web-1', status: 'PRIMARY' }] } }
    },
    DescribeServices: () => ({ services: [{ serviceName: 'web', status: 'ACTIVE', desiredCount: 2, deploymentConfiguration: OWN, deployments: [{ id: 'ecs-svc/web-1', status: 'PRIMARY', rolloutState: 'COMPLETED', desiredCount: 0, runningCount: 0 }] }] }),
  })
  const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web'])
  t.equal(status, 69)
  t.match(stdout, /could not be put back: .*the service is draining/)
  t.match(stdout, 'to put its own percentages back: aws ecs update-service')
})

t.test('a mistyped service or cluster is told with what is near', async (t) => {
  await cluster(t, { frontend: { fate: 'fresh' } })
  const { status, stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'frontent'])
  t.equal(status, 69)
  t.match(stderr, 'there is no service frontent in cluster prod; did you mean frontend?')
})

t.test('on a terminal the lines are drawn over, and none is wider than it', async (t) => {
  await cluster(t, { 'a-service-with-a-rather-long-name': { fate: 'denied' }, web: { fate: 'fresh' } })
  const { stdout, stderr } = await runCommandLine(['rollout', '--cluster', 'prod', '--all'], { terminal: { columns: 40, rows: 10 } })
  const screens = stderr.split('\r\u001b[J')
  t.ok(screens.length > 3)
  t.match(stderr, /\u001b\[3A\r\u001b\[J/)
  t.match(stdout, '\u001b[32m')
  const lines = screens.flatMap((screen) => screen.replace(/\u001b\[[\d;]*[A-Za-z]/g, '').split('\n')).filter((line) => !line.startsWith('warning'))
  t.same(lines.filter((line) => [...line].length >= 40), [])
  t.equal(screens.at(-1), '', 'nothing is left behind')
})

t.test('NO_COLOR and a dumb terminal are respected', async (t) => {
  await cluster(t, { web: { fate: 'fresh' } })
  const plain = await runCommandLine(['rollout', '--cluster', 'prod', '--all'], { terminal: { columns: 80, rows: 24 }, environment: { NO_COLOR: '1' } })
  t.notMatch(plain.stdout + plain.stderr, /\u001b\[\d+m/)
  const dumb = await runCommandLine(['rollout', '--cluster', 'prod', '--all'], { terminal: { columns: 80, rows: 24 }, environment: { TERM: 'dumb' } })
  t.notMatch(dumb.stdout + dumb.stderr, '\u001b')
})

t.test('what cannot be meant is refused with 64', async (t) => {
  for (const args of [[], ['--cluster', 'prod'], ['--cluster', 'prod', '--all', '--service', 'web'], ['--cluster', 'prod', '--all', '--min-healthy', '120'],
    ['--cluster', 'prod', '--all', '--max-percent', '50'], ['--cluster', 'prod', '--all', '--min-healthy', '100', '--max-percent', '100'], ['--cluster', 'prod', '--all', '--timeout', 'soon'],
    // Regression: with no time at all it started a deployment of every service, and followed none.
    ['--cluster', 'prod', '--all', '--timeout', '0s']]) {
    const { status, stderr } = await runCommandLine(['rollout', ...args])
    t.equal(status, 64, `${args.join(' ')}: ${stderr}`)
  }
})


t.test('Ctrl-C ends the built program in good order: 75, and the deployment is left going', async (t) => {
  const calls = await cluster(t, { web: { fate: 'pending' } })
  const child = spawn(process.execPath, [PROGRAM, 'rollout', '--cluster', 'prod', '--service', 'web'], { env: { ...process.env, HOME: '/nonexistent' } })
  t.teardown(() => child.kill('SIGKILL'))
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { if (chunk.includes('rolling')) child.kill('SIGINT') })
  const [status] = await once(child, 'close')
  t.equal(status, 75)
  t.match(stdout, /web {2}interrupted/)
  t.match(stdout, 'to put its own percentages back: aws ecs update-service --cluster prod --service web')
  t.equal(updates(calls).length, 1)
})

t.test('a terminal that is gone, or a reader who has seen enough, ends nothing: the percentages are put back', async (t) => {
  const calls = await cluster(t, { web: { fate: 'pending' } })
  const child = spawn(process.execPath, [PROGRAM, 'rollout', '--cluster', 'prod', '--service', 'web', '--timeout', '3s'], { env: { ...process.env, HOME: '/nonexistent' } })
  t.teardown(() => child.kill('SIGKILL'))
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  child.stderr.once('data', () => {
    child.stderr.destroy()
    child.kill('SIGHUP')
  })
  t.same(await once(child, 'close'), [75, null])
  t.match(stdout, 'web  timed-out')
  t.match(updates(calls).at(-1), { deploymentConfiguration: OWN })
})

t.test("a service's name that holds the word of its state is not painted for it", async (t) => {
  const progress = { service: 'fresh', phase: 'ended', verdict: 'fresh', reason: '', counts: { desired: 1, running: 1, pending: 0, old: 0, failed: 0 } } as const
  const lines = renderScreen(['fresh'], new Map([['fresh', progress]]), { columns: 80, rows: 24, paint: (_, text) => `<${text}>`, title: '' })
  t.match(lines[1], /^ {2}fresh {2}<fresh>/)
})

t.test('rights that following needs are looked at before anything is changed', async (t) => {
  const calls = await cluster(t, { web: { fate: 'fresh' } }, {
    ListTasks: () => ({ taskArns: ['x/web-1'] }),
    DescribeTasks: () => { throw new Refusal('AccessDeniedException', 'User: arn:aws:iam::123456789012:user/ops is not authorized to perform: ecs:DescribeTasks') },
  })
  t.match(await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web']), { status: 77, stderr: /ecs:DescribeTasks/ })
  t.same(updates(calls), [])
})

t.test('at a narrow terminal, Ctrl-C takes the live lines away and leaves the verdict', async (t) => {
  const calls = await cluster(t, { 'a-service-with-a-rather-long-name': { fate: 'pending' } })
  // `script` lends the terminal; the command sets its size, as a window does.
  const command = `trap : INT; stty cols 40 rows 10; ${process.execPath} ${PROGRAM} rollout --cluster prod --all; echo "status $?"`
  const child = spawn('script', ['-qefc', command, '/dev/null'], { env: { ...process.env, HOME: '/nonexistent', TERM: 'xterm', NO_COLOR: '' } })
  t.teardown(() => child.kill('SIGKILL'))
  let shown = ''
  let interrupted = false
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    if (interrupted || !shown.includes('rolling')) return
    interrupted = true
    child.stdin.write('\u0003')
  })
  await once(child, 'close')
  t.match(shown, /rolling/)
  const [live = '', verdict = ''] = [shown.slice(0, shown.lastIndexOf('\u001b[J')), shown.slice(shown.lastIndexOf('\u001b[J'))]
  const lines = live.replaceAll(/\u001b\[[\d;]*[A-Za-z]/g, '').split(/[\r\n]+/)
  t.same(lines.filter((line) => [...line].length >= 40), [], 'a line that wraps would break the redraw')
  t.match(verdict, /^\u001b\[Ja-service-with-a-rather-long-name\s/)
  t.match(verdict, 'interrupted')
  t.match(verdict, 'status 75')
  t.equal(updates(calls).length, 1)
})
