import { runService } from '../service.js'
import { chooseSource } from '../sources/index.js'
import type { Command } from './command.js'
import { reportPass } from './report-pass.js'

export const runCommand: Command = {
  summary: 'the service: watch, sync, until SIGTERM (SIGHUP: a pass now)',
  options: {},
  example: 'ecs-regcred run --secret-id arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/registry-AbCdEf',
  run: async ({ settings: readSettings, log: createLog, signal, environment }) => {
    const settings = readSettings()
    const source = chooseSource(settings)
    const log = (await createLog()).child({ source: source.label })
    await runService(
      {
        settings,
        log,
        source,
        onSignal: (wake) => void process.on('SIGHUP', wake),
        afterPass: (pass) => reportPass({ settings, log, environment }, pass, signal),
      },
      signal,
    )
    return 0
  },
}
