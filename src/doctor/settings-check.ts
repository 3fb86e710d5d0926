import { brokenBy, ok, type Check } from './check.js'

export const settingsCheck: Check = {
  id: 'settings',
  run: async ({ settings, settingsError }) => {
    if (settingsError !== undefined) {
      return [{ ...brokenBy('settings', settingsError), fix: 'mend it where it is set (/etc/ecs-regcred/ecs-regcred.env, the environment or the command line), then: systemctl restart ecs-regcred; until then the other checks take the defaults' }]
    }
    const { source } = settings
    return [ok('settings', `the source is ${source.kind === 'file' ? source.path : `secret ${source.secretIds.join(', ')}`}`)]
  },
}
