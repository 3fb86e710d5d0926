import { brokenBy, ok, type Check } from './check.js'

export const settingsCheck: Check = {
  id: 'settings',
  run: async ({ settings, settingsError }) => {
    if (settingsError !== undefined) {
      return [{ ...brokenBy('settings', settingsError), fix: 'mend /etc/ecs-regcred/ecs-regcred.env; until then the other checks take the defaults' }]
    }
    const { source } = settings
    return [ok('settings', `the source is ${source.kind === 'file' ? source.path : `secret ${source.secretIds.join(', ')}`}`)]
  },
}
