import { brokenBy, ok, type Check } from './check.js'

export const settingsCheck: Check = {
  id: 'settings',
  run: async ({ settings, settingsError }) => {
    if (settingsError !== undefined) return [{ ...brokenBy('settings', settingsError), fix: 'mend /etc/ecs-regcred/ecs-regcred.env; until then the checks below take the defaults' }]
    const { source } = settings
    return [ok('settings', source.kind === 'file' ? `source is ${source.path}` : `source is ${source.secretIds.length === 1 ? 'secret' : 'secrets'} ${source.secretIds.join(', ')}`)]
  },
}
