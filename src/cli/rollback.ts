import { rollBackByHand } from '../pass/roll-back-by-hand.js'
import { chooseSource } from '../sources/index.js'
import type { Command } from './command.js'

export const rollback: Command = {
  summary: 'the last good credentials back, one restart',
  options: {},
  example: 'ecs-regcred rollback',
  run: async ({ settings: readSettings, log, json, stdout, signal }) => {
    const settings = readSettings()
    const source = chooseSource(settings)
    const { outcome, setAside, wasBack } = await rollBackByHand({ settings, source, log: (await log()).child({ source: source.label, trigger: 'command' }) }, signal)
    if (json) {
      stdout.write(`${JSON.stringify({ ok: true, action: wasBack ? outcome.action : 'rolled-back', setAside, verified: outcome.verified })}\n`)
    } else {
      stdout.write(wasBack ? `${settings.ecsConfigPath} holds the last good credentials already\n` : `the last good credentials are back in ${settings.ecsConfigPath}\n`)
      stdout.write(`${setAside === undefined ? '' : `version ${setAside} is set aside until the source changes, or: ecs-regcred sync --force\n`}`)
      stdout.write(outcome.verified ? 'the ECS agent is healthy and holds them\n' : 'the ECS agent reads them at its next start\n')
    }
    return 0
  },
}
