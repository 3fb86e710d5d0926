import type { CheckResult } from '../doctor/check.js'
import { examine } from '../doctor/examine.js'
import { screen } from '../doctor/screen.js'
import { ServiceError } from '../errors.js'
import { readSettings, type Settings } from '../settings.js'
import { columnsOf, painter } from '../terminal.js'
import type { Command, CommandContext } from './command.js'

export const doctor: Command = {
  summary: 'every check of the machine: verdict, reason and the exact fix',
  options: {},
  example: 'ecs-regcred doctor --json | jq \'.checks[] | select(.verdict == "broken")\'',
  run: async (context) => {
    const { json, stdout, environment, signal } = context
    const results = await examine({ ...settingsOrDefaults(context), environment }, signal)
    const isBroken = results.some(({ verdict }) => verdict === 'broken')
    if (json) {
      const checks = results.map(({ id, verdict, message, fix, code }) => ({ id, verdict, message, fix: fix ?? null, ...(code === undefined ? {} : { code }) }))
      stdout.write(`${JSON.stringify({ ok: !isBroken, checks })}\n`)
    } else {
      stdout.write(screen(results, { columns: columnsOf(stdout), paint: painter(stdout, environment) }))
    }
    return exitStatus(results)
  },
}

/** Settings that cannot be used are one more finding: the rest of the machine is looked at with the defaults. */
function settingsOrDefaults({ settings, environment }: CommandContext): { settings: Settings; settingsError: ServiceError | undefined } {
  try {
    return { settings: settings(), settingsError: undefined }
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    const { HOME, DOCKER_CONFIG, REGCRED_ROOT } = environment
    return { settings: readSettings({ HOME, DOCKER_CONFIG, REGCRED_ROOT }, {}, '/dev/null'), settingsError: error }
  }
}

/** What most tells a script who must act: settings before a denial before a bad document before the machine's files; 69 for all else. */
const TELLING = [78, 77, 65, 74, 75]

function exitStatus(results: readonly CheckResult[]): number {
  const broken = results.filter(({ verdict }) => verdict === 'broken')
  if (broken.length === 0) return 0
  const statuses = new Set(broken.map(({ code }) => (code === undefined ? 69 : new ServiceError(code, '').exitCode)))
  return TELLING.find((status) => statuses.has(status)) ?? 69
}
