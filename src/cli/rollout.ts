import { ServiceError, type ErrorCode } from '../errors.js'
import type { DeploymentLimits } from '../fleet/deployment-room.js'
import { ecsCalls } from '../fleet/ecs-calls.js'
import type { TaskReport } from '../fleet/judge-deployment.js'
import { planRollout, type ServicePlan } from '../fleet/plan-rollout.js'
import { rollOut, wasRefused, type ServiceOutcome } from '../fleet/roll-out.js'
import { durationMs } from '../settings.js'
import { columnsOf, painter, wrap } from '../terminal.js'
import type { Command, CommandContext } from './command.js'
import { renderOutcomes, rolloutDisplay } from './rollout-screen.js'

/** Services that deploy at once: a bad credential shows on the first ones, and their tasks do not all start on the same hosts. */
const PARALLEL = 5
const FIRST_POLL_MS = 1_000

export const rollout: Command = {
  summary: 'new deployment of the services of a cluster, watched to a verdict',
  options: {
    cluster: { type: 'string', value: 'CLUSTER', help: 'name or ARN' },
    service: { type: 'string', multiple: true, value: 'SERVICE', help: 'that service; may be given several times' },
    all: { type: 'boolean', help: 'every service of the cluster' },
    'min-healthy': { type: 'string', value: 'PERCENT', help: 'minimum healthy percent of this deployment (default 50); the own one is put back after' },
    'max-percent': { type: 'string', value: 'PERCENT', help: 'maximum percent of this deployment (default 200)' },
    timeout: { type: 'string', value: 'DURATION', help: 'per service, from the start of its deployment (default 15m)' },
    watch: { type: 'boolean', help: 'start nothing: follow the deployment that is under way' },
  },
  settings: [],
  example: 'ecs-regcred rollout --cluster prod --all',
  run: async (context) => {
    const { signal, stdout, stderr, environment, json } = context
    const { cluster, wanted, asked, timeoutMs, watchOnly } = readOptions(context)
    const calls = await ecsCalls(cluster)
    const plans = await planRollout(calls, wanted, asked, signal)
    const paint = painter(stderr, environment)
    for (const { name, warnings } of plans) {
      for (const warning of warnings) stderr.write(`${wrap(`${paint('yellow', 'warning')}: ${name}: ${warning}`, columnsOf(stderr), 0, 2).join('\n')}\n`)
    }
    if (signal.aborted) throw new ServiceError('E_INTERRUPTED', 'interrupted before anything was started')

    const display = rolloutDisplay(stderr, plans.map(({ name }) => name), cluster, environment)
    let outcomes: ServiceOutcome[]
    try {
      outcomes = await rollOut(calls, plans, { timeoutMs, pollMs: FIRST_POLL_MS, parallel: PARALLEL, watchOnly, onProgress: display.update }, signal)
    } finally {
      display.close()
    }
    const problem = judge(outcomes)
    if (json) stdout.write(`${JSON.stringify(documentOf(outcomes, plans, problem))}\n`)
    else stdout.write(`${renderOutcomes(outcomes, painter(stdout, environment), columnsOf(stdout))}${closingWords(cluster, outcomes, plans)}`)
    return problem?.exitCode ?? 0
  },
}

function readOptions({ options }: CommandContext): { cluster: string; wanted: readonly string[] | 'all'; asked: DeploymentLimits; timeoutMs: number; watchOnly: boolean } {
  const usage = (message: string): ServiceError => new ServiceError('E_USAGE', `rollout: ${message}`, { fix: 'ecs-regcred rollout --help' })
  const { cluster, service, all } = options
  if (typeof cluster !== 'string' || cluster === '') throw usage('say which cluster: --cluster CLUSTER')
  const names = Array.isArray(service) ? service.filter((name): name is string => typeof name === 'string' && name !== '') : []
  if (all === true && names.length > 0) throw usage('--all and --service exclude each other')
  if (all !== true && names.length === 0) throw usage('say which services: --service SERVICE, or --all')
  const percent = (option: string, fallback: number, most: number): number => {
    const text = options[option]
    if (text === undefined) return fallback
    if (typeof text !== 'string' || !/^\d{1,3}$/.test(text) || Number(text) > most) throw usage(`--${option}: write a whole number from 0 to ${most}`)
    return Number(text)
  }
  const asked = { minimumHealthyPercent: percent('min-healthy', 50, 100), maximumPercent: percent('max-percent', 200, 200) }
  if (asked.maximumPercent < 100) throw usage('--max-percent: less than 100 would stop tasks that are wanted')
  if (asked.minimumHealthyPercent === 100 && asked.maximumPercent === 100) throw usage('100 % at least and at most leave no task that may stop or start: lower --min-healthy')
  let timeoutMs: number
  try {
    timeoutMs = durationMs(typeof options['timeout'] === 'string' ? options['timeout'] : '15m')
  } catch (error) {
    throw usage(`--timeout: ${(error as Error).message}`)
  }
  if (timeoutMs === 0) throw usage('--timeout: write a duration above zero, such as 15m')
  return { cluster, wanted: all === true ? 'all' : names, asked, timeoutMs, watchOnly: options['watch'] === true }
}

/** What the exit status tells: the worst of what happened. */
function judge(outcomes: readonly ServiceOutcome[]): ServiceError | undefined {
  const notWell = outcomes.filter(({ verdict }) => verdict !== 'fresh' && verdict !== 'nothing-to-do')
  const told = (code: ErrorCode, those: readonly ServiceOutcome[], what: string): ServiceError | undefined => {
    return those.length === 0 ? undefined : new ServiceError(code, `${those.map(({ service }) => service).join(', ')}: ${what}`)
  }
  const failure = outcomes.find((outcome) => outcome.failure !== undefined)?.failure
  return told('E_REGISTRY_REFUSED', notWell.filter(wasRefused), 'the registry refused tasks of this deployment')
    ?? told('E_INTERRUPTED', notWell.filter(({ verdict }) => verdict === 'interrupted'), 'interrupted; the deployment goes on')
    ?? failure
    ?? told('E_UNSUPPORTED', notWell.filter(({ verdict }) => verdict === 'unsupported'), 'not deployed by ECS itself')
    ?? told('E_ROLLOUT_FAILED', notWell.filter(({ verdict, tasks }) => verdict !== 'timed-out' && (verdict !== 'cached' || tasks.some(couldNotPull))), 'the deployment failed')
    ?? told('E_ROLLOUT', notWell, 'not verified')
}

function couldNotPull({ class: of }: TaskReport): boolean {
  return of !== 'fresh' && of !== 'no-pull'
}

function documentOf(outcomes: readonly ServiceOutcome[], plans: readonly ServicePlan[], problem: ServiceError | undefined): Record<string, unknown> {
  const services = outcomes.map(({ service, verdict, reason, tasks, restore }) => ({
    service, verdict, reason, tasks, warnings: plans.find(({ name }) => name === service)?.warnings ?? [], restore: restore ?? null,
  }))
  return { ok: problem === undefined, ...(problem === undefined ? {} : { code: problem.code, message: problem.message }), services }
}

function closingWords(cluster: string, outcomes: readonly ServiceOutcome[], plans: readonly ServicePlan[]): string {
  if (plans.length === 0) return `cluster ${cluster} has no service\n`
  const going = outcomes.filter(({ verdict }) => verdict === 'interrupted' || verdict === 'timed-out').map(({ service }) => ` --service ${service}`)
  const well = outcomes.filter(({ verdict }) => verdict === 'fresh' || verdict === 'nothing-to-do').length
  const summary = `${well} of ${outcomes.length} ${outcomes.length === 1 ? 'service' : 'services'} well\n`
  return going.length === 0 ? summary : `${summary}to look again: ecs-regcred rollout --cluster ${cluster}${going.join('')} --watch\n`
}
