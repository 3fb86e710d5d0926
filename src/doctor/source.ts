import { registryOfKey } from '../core/registry-of-key.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { broken, brokenBy, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import { judgeFileAgainstSource } from './ecs-config.js'
import type { Facts, SourceFact } from './facts.js'

/** The source can be read and used, and the file holds what it holds. */
export const source: Check = {
  id: 'source',
  run: async (facts) => {
    if (facts.settingsError !== undefined) return [skipped('source', 'the settings do not tell which it is')]
    let fact: SourceFact
    try {
      fact = await facts.source()
    } catch (error) {
      return [brokenBy('source', error), skipped('file-source', 'there is no source to compare with')]
    }
    const names = [...fact.registries.keys()]
    return [
      ok('source', `${fact.label} is readable and usable: ${names.join(', ')}`),
      ...fact.warnings.map(({ code, message }) => warning('source', `${message} (${code})`, 'see what it renders: ecs-regcred sync --dry-run')),
      await judgeTakeover(facts, names) ?? await judgeFileAgainstSource(facts, fact.authData, names),
    ]
  },
}

/** As the first pass would: registries that stand in the file and nowhere else. */
async function judgeTakeover(facts: Facts, names: readonly string[]): Promise<CheckResult | undefined> {
  const memory = await facts.state().catch(() => undefined)
  if (memory === undefined || memory.state.rendered !== undefined || facts.settings.takeover === 'replace') return undefined
  const { auth } = authOnDisk((await facts.ecsConfig().catch(() => undefined))?.bytes)
  const lost = [...new Set([...auth.entries.values()].map(({ key }) => registryOfKey(key)))].filter((registry) => !names.includes(registry))
  if (lost.length === 0) return undefined
  return { ...broken('file-source', `ecs.config holds registries that the source lacks, so the first pass leaves it alone: ${lost.join(', ')}`,
    'add them to the source; or, if no image comes from there: REGCRED_TAKEOVER=replace in /etc/ecs-regcred/ecs-regcred.env'), code: 'E_TAKEOVER' }
}
