/** From a command line to a command: the list of commands, and the options that every one takes. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { nearest } from '../core/nearest.js'
import { ServiceError } from '../errors.js'
import { optionName, readSettings, SETTINGS, type SettingName } from '../settings.js'
import { columnsOf, painter } from '../terminal.js'
import type { Command, CommandContext, OptionSpec } from './command.js'
import { tellError } from './tell-error.js'
import { readVersion } from './version.js'

/** Loaded one at a time: `run` must not pay for `rollout`. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  run: async () => (await import('./run.js')).runCommand,
  sync: async () => (await import('./sync.js')).sync,
  status: async () => (await import('./status.js')).status,
  doctor: async () => (await import('./doctor.js')).doctor,
  check: async () => (await import('./check.js')).check,
  explain: async () => (await import('./explain.js')).explain,
  probe: async () => (await import('./probe.js')).probe,
  rollback: async () => (await import('./rollback.js')).rollback,
  'secret put': async () => (await import('./secret-put.js')).secretPut,
  rollout: async () => (await import('./rollout.js')).rollout,
  fleet: async () => (await import('./fleet.js')).fleet,
}

const COMMON: Record<string, OptionSpec> = {
  json: { type: 'boolean', help: 'print one JSON document' },
  'env-file': { type: 'string', value: 'FILE', help: 'settings file (default /etc/ecs-regcred/ecs-regcred.env)' },
  help: { type: 'boolean', help: 'this text' },
}

type Streams = Pick<CommandContext, 'environment' | 'stdin' | 'stdout' | 'stderr' | 'signal'>

/** @returns the exit status; every error has been told */
export async function run(argv: readonly string[], streams: Streams): Promise<number> {
  const json = argv.includes('--json')
  try {
    return await dispatch(argv, streams)
  } catch (error) {
    // Ctrl-C ends whatever waits by the signal's own reason.
    if (streams.signal.aborted && error instanceof Error && error.name === 'AbortError') {
      const interrupted = new ServiceError('E_INTERRUPTED', 'interrupted')
      tell(interrupted, json, streams)
      return interrupted.exitCode
    }
    if (!(error instanceof ServiceError)) {
      tell(new ServiceError('E_BUG', `this is a bug in ecs-regcred: ${error instanceof Error ? error.name : 'unknown error'}`), json, streams)
      // The stack names places in the code; the message of a foreign error might quote what it choked on.
      streams.stderr.write(`${stackWithoutMessage(error)}\n`)
      return 70
    }
    tell(error, json, streams)
    return error.exitCode
  }
}

async function dispatch(argv: readonly string[], streams: Streams): Promise<number> {
  if (argv[0] === '--version') {
    streams.stdout.write(`ecs-regcred ${await readVersion()}\n`)
    return 0
  }
  // As people ask: `help sync`, and `secret --help` of the one thing that there is to do with it.
  if (argv[0] === 'help' && argv.length > 1) return dispatch([...argv.slice(1), '--help'], streams)
  if (argv[0] === 'secret' && (argv[1] === '--help' || argv[1] === '-h')) return dispatch(['secret', 'put', '--help'], streams)
  const name = argv[0] === 'secret' && argv[1]?.startsWith('-') !== true ? argv.slice(0, 2).join(' ') : (argv[0] ?? '--help')
  if (name === '--help' || name === 'help' || name === '-h') {
    const { generalHelp } = await import('./help.js')
    streams.stdout.write(generalHelp(await Promise.all(Object.entries(COMMANDS).map(async ([of, load]) => [of, (await load()).summary] as const)), lookOf(streams)))
    return 0
  }
  const load = COMMANDS[name]
  if (load === undefined) {
    throw new ServiceError('E_USAGE', `there is no command ${JSON.stringify(name)}${nearest(name, Object.keys(COMMANDS))}`, { fix: 'ecs-regcred --help' })
  }
  const command = await load()
  const { values, positionals } = parse(name, command, argv.slice(name.split(' ').length))
  if (values['help'] === true) {
    const { commandHelp } = await import('./help.js')
    streams.stdout.write(commandHelp(name, command, COMMON, lookOf(streams)))
    return 0
  }
  if (positionals.length > 0 && command.arguments === undefined) {
    throw new ServiceError('E_USAGE', `${name} takes no argument, but ${JSON.stringify(positionals[0])} was given`, { fix: `ecs-regcred ${name} --help` })
  }

  const fromOptions: Partial<Record<SettingName, string>> = {}
  for (const setting of Object.keys(SETTINGS) as SettingName[]) {
    const value = command.options[optionName(setting)] === undefined ? values[optionName(setting)] : undefined
    if (typeof value === 'string') fromOptions[setting] = value
  }
  const settings = (): ReturnType<typeof readSettings> => {
    const read = readSettings(streams.environment, fromOptions, values['env-file'] as string | undefined)
    for (const [variable, value] of Object.entries(read.sdkEnvironment)) streams.environment[variable] ??= value
    return read
  }
  return command.run({
    ...streams,
    settings,
    options: values,
    positionals,
    json: values['json'] === true,
    log: async () => {
      const { createLogger } = await import('../log.js')
      const fd = name === 'run' ? 1 : 2
      const stream = fd === 1 ? streams.stdout : streams.stderr
      return createLogger(settings().logLevel, fd, stream.isTTY === true ? painter(stream, streams.environment) : undefined)
    },
  })
}

function parse(name: string, command: Command, args: readonly string[]): { values: CommandContext['options']; positionals: readonly string[] } {
  const options: NonNullable<ParseArgsConfig['options']> = {}
  for (const setting of Object.keys(SETTINGS) as SettingName[]) options[optionName(setting)] = { type: 'string' }
  for (const [option, { type, multiple = false }] of Object.entries({ ...COMMON, ...command.options })) options[option] = { type, multiple }
  options['help'] = { type: 'boolean', short: 'h' }
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    // parseArgs's own messages quote the argument, which could be a password typed in the wrong place: say the option's name only.
    const { code, message } = error as NodeJS.ErrnoException
    const option = /'(?:-\w, )?(--[\w-]+)/.exec(message)?.[1]
    const problem = option === undefined ? 'an option could not be understood'
      : code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' ? `there is no option ${option}${nearest(option, Object.keys(options).map((known) => `--${known}`))}`
        : `${option} ${options[option.slice(2)]?.type === 'string' ? 'needs a value' : 'takes no value'}`
    throw new ServiceError('E_USAGE', `${name}: ${problem}`, { fix: `ecs-regcred ${name} --help` })
  }
}

function tell(error: ServiceError, json: boolean, streams: Streams): void {
  if (json) streams.stdout.write(`${JSON.stringify(error)}\n`)
  else tellError(error, streams)
}

function stackWithoutMessage(error: unknown): string {
  const stack = error instanceof Error ? error.stack ?? '' : ''
  return stack.split('\n').filter((line) => /^\s+at /.test(line)).join('\n')
}

function lookOf({ stdout, environment }: Streams): { columns: number | undefined; paint: ReturnType<typeof painter> } {
  return { columns: columnsOf(stdout), paint: painter(stdout, environment) }
}
