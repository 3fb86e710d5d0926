/** `--help`: of the program, and of each command. */
import { SETTINGS, optionName, type SettingName } from '../settings.js'
import { wrap, type Paint } from '../terminal.js'
import type { Command, OptionSpec } from './command.js'

type Look = { readonly columns: number | undefined; readonly paint: Paint }

/** Settings in the order in which a person asks, each with the word for its value. A setting that stands in none of these is missed by `--help`'s test. */
const GROUPS: Readonly<Record<string, Partial<Record<SettingName, string>>>> = {
  'the source': {
    REGCRED_SECRET_ID: 'ID,…', REGCRED_DOCKER_CONFIG: 'FILE', REGCRED_REGISTRY: 'HOST', REGCRED_USERNAME: 'NAME', REGCRED_KEEP_NEWLINE: 'on|off',
  },
  timing: { REGCRED_INTERVAL: 'DURATION', REGCRED_SPLAY: 'DURATION', REGCRED_MIN_RESTART_GAP: 'DURATION', REGCRED_VERIFY_TIMEOUT: 'DURATION' },
  checks: { REGCRED_PROBE: 'on|off', REGCRED_PROBE_CA_FILE: 'FILE', REGCRED_PROBE_INSECURE: 'HOST,…', REGCRED_TAKEOVER: 'refuse|replace' },
  reports: { REGCRED_METRICS_FILE: 'FILE', REGCRED_PUBLISH_VERSION: 'on|off', REGCRED_LOG_LEVEL: 'LEVEL' },
  'the machine': {
    REGCRED_ECS_CONFIG: 'FILE', REGCRED_STATE_DIR: 'DIR', REGCRED_INIT: 'NAME', REGCRED_ECS_SERVICE: 'NAME', REGCRED_INTROSPECTION_URL: 'URL', REGCRED_DOCKER_SOCKET: 'PATH', REGCRED_ROOT: 'DIR',
  },
}

export function generalHelp(commands: readonly (readonly [name: string, summary: string])[], { columns, paint }: Look): string {
  const lines = commands.flatMap(([name, summary]) => wrap(`  ${paint('bold', name)}${' '.repeat(Math.max(0, 12 - name.length))} ${summary}`, columns, 0, 15))
  return `${[
    ...wrap('ecs-regcred keeps the registry credentials of the ECS agent what their source says they are.', columns),
    '', 'Usage: ecs-regcred COMMAND [OPTIONS]', '',
    ...lines,
    '', ...wrap('ecs-regcred COMMAND --help tells the options of each, ecs-regcred --version the version.', columns),
  ].join('\n')}\n`
}

export function commandHelp(name: string, command: Command, common: Readonly<Record<string, OptionSpec>>, look: Look): string {
  const { columns, paint } = look
  const title = (text: string): string[] => ['', paint('bold', text)]
  const wanted = command.settings ?? (Object.keys(SETTINGS) as SettingName[])
  const settings = Object.entries(GROUPS).flatMap(([group, values]) => {
    const rows = Object.entries(values).filter(([setting]) => wanted.includes(setting as SettingName)) as [SettingName, string][]
    return rows.length === 0 ? [] : [...title(`Settings: ${group}`), ...rows.flatMap(([setting, value]) => option(optionName(setting), value, described(setting), look))]
  })
  return `${[
    ...wrap(command.summary, columns),
    '', ...wrap(`Usage: ecs-regcred ${name}${command.arguments === undefined ? '' : ` ${command.arguments}`} [OPTIONS]`, columns, 0, 7),
    // Whole, for copying: the terminal may break it where it ends.
    '', `Example: ${command.example}`,
    ...title('Options'), ...Object.entries({ ...command.options, ...common }).flatMap(([one, { value, help }]) => option(one, value, help, look)),
    ...settings,
    ...(settings.length === 0 ? [] : ['', ...wrap('Each setting may stand as REGCRED_… (--secret-id as REGCRED_SECRET_ID) in the environment or the env file, too.', columns)]),
  ].join('\n')}\n`
}

function described(name: SettingName): string {
  const row: { readonly help: string; readonly default?: string } = SETTINGS[name]
  return `${row.help}${row.default ? ` (default ${row.default})` : ''}`
}

const OPTION_WIDTH = 30

/** The name, and what it does beside it, or below it where the terminal is narrow or the name is long. */
function option(name: string, value: string | undefined, help: string, { columns, paint }: Look): string[] {
  const plain = `--${name}${value === undefined ? '' : ` ${value}`}`
  const shown = `  ${paint('bold', `--${name}`)}${plain.slice(name.length + 2)}`
  if (columns !== undefined && columns < 70) return [shown, ...wrap(`      ${help}`, columns, 0, 6)]
  return wrap(`${shown}${' '.repeat(Math.max(2, OPTION_WIDTH - plain.length))}${help}`, columns, 0, OPTION_WIDTH + 2)
}
