/** The Prometheus text file: what a pass found, and counters that go on where the file of before left them. */

/** What an alarm may want to know. Undefined leaves the series out: a wrong number is worse than none. */
export type MetricFacts = {
  readonly lastSuccess: Date | undefined
  readonly lastPass: Date
  readonly failed: boolean
  readonly code: string | undefined
  readonly appliedVersion: string | undefined
  /** The file does not hold what the source does. */
  readonly fileDrift: boolean | undefined
  /** The running ECS agent does not hold what the file does. */
  readonly ecsAgentDrift: boolean | undefined
  readonly restartOwed: boolean | undefined
  readonly setAside: string | undefined
  /** Restarts of the ECS agent in this pass, and how long the pass took if there was one. */
  readonly restarts: number
  readonly restartSeconds: number
  readonly probes: readonly { readonly registry: string; readonly verdict: 'accepted' | 'refused' | 'unknown' }[]
}

const VERDICTS = ['accepted', 'refused', 'unknown'] as const

export type Counters = {
  readonly consecutiveFailures: number
  readonly passes: number
  readonly failures: number
  readonly restarts: number
  readonly restartSeconds: number
}

/**
 * The counters of a metrics file. The file itself is their memory: they survive a restart of the service for the price of reading what is about
 * to be replaced, and begin again at 0 where it is gone, which Prometheus takes for the reset that it is.
 */
export function readCounters(text: string): Counters {
  const value = (name: string): number => {
    const number = Number(new RegExp(`^ecs_regcred_${name} (\\S+)$`, 'm').exec(text)?.[1])
    return Number.isFinite(number) && number >= 0 ? number : 0
  }
  return {
    consecutiveFailures: value('consecutive_failures'),
    passes: value('passes_total'),
    failures: value('failed_passes_total'),
    restarts: value('restarts_total'),
    restartSeconds: value('restart_seconds_total'),
  }
}

/** @param before the counters as the last pass left them */
export async function renderMetrics(facts: MetricFacts, before: Counters): Promise<string> {
  const { Counter, Gauge, Registry } = await import('prom-client')
  const registers = [new Registry()]
  const counter = (name: string, help: string, value: number): void => new Counter({ name: `ecs_regcred_${name}`, help, registers }).inc(value)
  const gauge = (name: string, help: string, value: number | boolean | undefined): void => {
    if (value !== undefined) new Gauge({ name: `ecs_regcred_${name}`, help, registers }).set(Number(value))
  }
  const labelled = <T extends string>(name: string, help: string, labelNames: T[], series: readonly (readonly [Record<T, string>, number])[]): void => {
    const metric = new Gauge({ name: `ecs_regcred_${name}`, help, labelNames, registers })
    for (const [labels, value] of series) metric.set(labels, value)
  }

  gauge('last_success_timestamp_seconds', 'When a pass last came to its end without an error.', facts.lastSuccess && facts.lastSuccess.getTime() / 1000)
  gauge('last_pass_timestamp_seconds', 'When a pass last ended, whatever came of it.', facts.lastPass.getTime() / 1000)
  gauge('consecutive_failures', 'Passes that failed since the last one that did not.', facts.failed ? before.consecutiveFailures + 1 : 0)
  counter('passes_total', 'Passes that ended.', before.passes + 1)
  counter('failed_passes_total', 'Passes that ended with an error.', before.failures + Number(facts.failed))
  labelled('last_error_info', 'The error code of the last pass; absent where it had none.', ['code'], facts.code === undefined ? [] : [[{ code: facts.code }, 1]])
  labelled('applied_version_info', 'The version of the source that was last put into ecs.config.', ['version'],
    facts.appliedVersion === undefined ? [] : [[{ version: facts.appliedVersion }, 1]])
  gauge('file_drift', '1: ecs.config does not hold what the source does.', facts.fileDrift)
  gauge('ecs_agent_drift', '1: the running ECS agent does not hold what ecs.config does.', facts.ecsAgentDrift)
  gauge('restart_owed', '1: a restart of the ECS agent is owed.', facts.restartOwed)
  labelled('set_aside', '1, with the version: it was rolled back and waits for a new one. 0: none is.', ['version'],
    [facts.setAside === undefined ? [{ version: '' }, 0] : [{ version: facts.setAside }, 1]])
  counter('restarts_total', 'Restarts of the ECS agent by this service.', before.restarts + facts.restarts)
  counter('restart_seconds_total', 'Seconds of the passes that restarted the ECS agent, from reading the source to the verified ECS agent.',
    before.restartSeconds + (facts.restarts > 0 ? facts.restartSeconds : 0))
  labelled('registry_probe', '1 at the verdict of the last login to the registry: accepted, refused or unknown.', ['registry', 'verdict'],
    facts.probes.flatMap(({ registry, verdict }) => VERDICTS.map((each) => [{ registry, verdict: each }, Number(each === verdict)] as const)))
  return registers[0]?.metrics() ?? ''
}
