import { setTimeout } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.js'
import { ServiceError } from '../errors.js'
import type { PassOptions, PassResult } from '../pass/pass.js'
import { type Machine, reconcile } from '../reconcile.js'
import { durationMs } from '../settings.js'
import { chooseSource } from '../sources/index.js'
import { columnsOf, painter, wrap, type Colour } from '../terminal.js'
import type { Command, CommandContext } from './command.js'
import { reportPass } from './report-pass.js'
import { tellError } from './tell-error.js'
import { withinTimeLimit } from './time-limit.js'

const BOOT_TIMEOUT = '30s'

export const sync: Command = {
  summary: 'one pass, at once, then exit',
  options: {
    boot: { type: 'boolean', help: 'write the file, never restart: for user data and the boot unit' },
    timeout: { type: 'string', value: 'DURATION', help: `bound on the whole command (with --boot: ${BOOT_TIMEOUT}, and a secret that is out of reach is asked for again until then)` },
    'dry-run': { type: 'boolean', help: 'say what a pass would do, with a redacted diff, and touch nothing' },
    'no-restart': { type: 'boolean', help: 'write the file and leave the restart owed' },
    force: { type: 'boolean', help: 'try a version again that was set aside, and do not wait for the gap between restarts' },
    'allow-empty': { type: 'boolean', help: 'a source without registries is meant: ecs.config then holds none' },
  },
  example: 'ecs-regcred sync --dry-run --docker-config /root/.docker/config.json',
  run: async (context) => {
    const { options, signal, json, stdout, environment, settings: readSettings, log } = context
    const settings = readSettings()
    const source = chooseSource(settings)
    const machine: Told = { settings, source, log: (await log()).child({ source: source.label }), environment }
    const timeoutMs = readTimeout(options['timeout'], options['boot'] === true)
    const flag = (name: string): boolean => options[name] === true
    const pass = { boot: flag('boot'), dryRun: flag('dry-run'), noRestart: flag('no-restart'), force: flag('force'), allowEmpty: flag('allow-empty') }

    const result = await withinTimeLimit(timeoutMs, signal, (bounded) => untilDone(machine, pass, bounded)).catch((problem: unknown) => {
      // While it waited for another pass to end.
      const cutShort = problem instanceof ServiceError && problem.code === 'E_INTERRUPTED' && !signal.aborted
      throw cutShort ? timedOut(timeoutMs, problem) : problem
    })
    const error = result.error?.code === 'E_INTERRUPTED' && !signal.aborted ? timedOut(timeoutMs, result.error) : result.error
    const owed = error === undefined && result.action === 'deferred' && !pass.noRestart ? restartOwed(result) : error
    // A restart that waits for its time is no failure, but the exit status tells that the ECS agent is not there yet.
    const document = { ...owed?.toJSON(), ok: error === undefined, action: result.action, version: result.version, registries: result.registries, warnings: result.warnings, diff: result.diff }
    if (json) stdout.write(`${JSON.stringify(document)}\n`)
    else tell(result, owed, context)
    return owed?.exitCode ?? 0
  },
}

type Told = Machine & Pick<CommandContext, 'environment'>
type Options = Omit<Parameters<typeof reconcile>[1], 'trigger'>

/** At boot the network and the instance's credentials may be moments away: ask again, until the bound. */
async function untilDone(machine: Told, options: Options, signal: AbortSignal): Promise<PassResult> {
  for (let failures = 1; ; failures++) {
    const result = await toldPass(machine, { ...options, trigger: failures === 1 ? 'command' : 'retry' }, signal)
    if (!options.boot || !result.retryable || signal.aborted) return result
    await setTimeout(backoffMs(failures, Math.random()), undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return result
  }
}

/** A pass by hand is one as good as the service's, for the metrics file and the cluster too. */
async function toldPass(machine: Told, options: PassOptions, signal: AbortSignal): Promise<PassResult> {
  const started = performance.now()
  const tellOthers = async (result: PassResult | undefined, error: ServiceError | undefined): Promise<void> => {
    if (options.dryRun !== true) await reportPass(machine, { result, error, durationMs: Math.round(performance.now() - started) }, signal)
  }
  const result = await reconcile(machine, options, signal).catch(async (error: unknown) => {
    if (error instanceof ServiceError) await tellOthers(undefined, error)
    throw error
  })
  await tellOthers(result, result.error)
  return result
}

function readTimeout(text: CommandContext['options'][string], boot: boolean): number | undefined {
  const value = typeof text === 'string' ? text : boot ? BOOT_TIMEOUT : undefined
  if (value === undefined) return undefined
  let ms: number
  try {
    ms = durationMs(value)
  } catch (error) {
    throw new ServiceError('E_USAGE', `--timeout: ${(error as Error).message}`)
  }
  // Neither "at once" nor "no limit": nothing would ever be done.
  if (ms === 0) throw new ServiceError('E_USAGE', '--timeout: write a duration above zero, such as 30s')
  return ms
}

function timedOut(timeoutMs: number | undefined, cause: ServiceError): ServiceError {
  return new ServiceError('E_TIMEOUT', `not done within ${(timeoutMs ?? 0) / 1000} s; what worked before is still in place`, { fix: 'the service goes on by itself; for longer: --timeout 2m', cause })
}

function restartOwed({ lookAgainMs }: PassResult): ServiceError {
  const due = `restarts closer than REGCRED_MIN_RESTART_GAP wait, so it is due in ${Math.ceil((lookAgainMs ?? 0) / 1000)} s`
  return new ServiceError('E_RESTART_OWED', `the file is right and the restart of the ECS agent is owed: ${due}`, {
    fix: 'the service pays it by itself; at once by hand: ecs-regcred sync --force',
  })
}

const TOLD: Record<PassResult['action'], string> = {
  none: 'nothing to do',
  wrote: 'ecs.config written; the ECS agent reads it at its next start',
  restarted: 'ECS agent restarted, healthy, and it holds the credentials',
  'would-write': 'would write ecs.config',
  'would-restart': 'would bring ecs.config up to date and restart the ECS agent',
  deferred: 'restart owed',
  'rolled-back': 'rolled back to the last good credentials',
}

const NOTABLE: Partial<Record<PassResult['action'], Colour>> = { restarted: 'green', deferred: 'yellow', 'would-write': 'yellow', 'would-restart': 'yellow' }

function tell(result: PassResult, error: ServiceError | undefined, context: CommandContext): void {
  const { stdout, environment } = context
  const paint = painter(stdout, environment)
  if (result.diff !== undefined) stdout.write(result.diff.replaceAll(/^[-+](?!--|\+\+).*$/gm, (line) => paint(line.startsWith('+') ? 'green' : 'red', line)))
  if (error !== undefined) return tellError(error, context)
  const registries = result.registries.length > 0 ? `: ${result.registries.join(', ')}` : ''
  const colour = NOTABLE[result.action]
  const told = TOLD[result.action]
  stdout.write(`${wrap(`${colour === undefined ? told : paint(colour, told)} (version ${result.version ?? 'unknown'}${registries})`, columnsOf(stdout), 0, 2).join('\n')}\n`)
}
