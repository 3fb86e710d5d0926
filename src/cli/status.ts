import { readNextPass, readState, type State } from '../host/state.js'
import { chooseInitSystem } from '../host/index.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { registryOfKey } from '../core/registry-of-key.js'
import { decideEcsAgent } from '../core/decide.js'
import { ServiceError } from '../errors.js'
import { createLogger } from '../log.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { observe, remembered } from '../pass/observe.js'
import { planFile } from '../pass/plan-file.js'
import { settleWrite } from '../pass/settle-write.js'
import { chooseSource } from '../sources/index.js'
import { columnsOf, painter } from '../terminal.js'
import type { Command } from './command.js'
import { statusScreen } from './status-screen.js'
import { withinTimeLimit } from './time-limit.js'

export const status: Command = {
  summary: 'what stands where: source, file, running ECS agent, what is owed',
  options: {},
  example: 'ecs-regcred status',
  run: async ({ settings: readSettings, json, stdout, environment, signal }) => {
    const settings = readSettings()
    const source = chooseSource(settings)
    const { state } = await readState(settings.stateDir)
    const file = (await readFileIfAny(settings.ecsConfigPath))?.bytes
    settleWrite(state, file)
    const { auth } = authOnDisk(file)
    const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
    const seen = await observe(settings, init, remembered(state), signal)
    const { setAside: _, refused: __, ...unheld } = state
    const plan = await withinTimeLimit(SOURCE_TIMEOUT_MS, signal, (bounded) => planFile(
      // Looking is not applying: no registry is asked, nothing is refused.
      { settings: { ...settings, probe: false, takeover: 'replace' }, source, state: unheld, options: { trigger: 'command', dryRun: true }, log: createLogger('silent', 2), warnings: [] },
      bounded,
    )).catch((error: unknown) => (error instanceof ServiceError ? error : new ServiceError('E_TIMEOUT', 'the source did not answer in time')))
    const registries = [...new Set([...auth.entries.values()].map(({ key }) => registryOfKey(key)))].sort()
    const document = {
      source: {
        label: source.label,
        version: plan instanceof ServiceError ? (state.rendered?.version ?? null) : plan.version,
        problem: plan instanceof ServiceError ? plan.message : null,
        fix: plan instanceof ServiceError ? (plan.details.fix ?? null) : null,
      },
      file: { path: settings.ecsConfigPath, inSync: !(plan instanceof ServiceError) && plan.authData === undefined, version: state.rendered?.version ?? null },
      ecsAgent: {
        running: seen.healthy || seen.ecsAgent.container.state === 'running' || seen.facts.job === 'running',
        inSync: seen.facts.holdsFile,
        healthy: seen.healthy,
        version: (seen.ecsAgent.introspection.up ? seen.ecsAgent.introspection.version : undefined) ?? null,
        detail: seen.detail,
      },
      restartOwed: init !== undefined && decideEcsAgent(seen.facts) === 'restart',
      setAside: state.setAside?.version ?? null,
      lastSuccess: state.lastSuccess ?? null,
      nextPass: (await readNextPass(settings.stateDir)) ?? null,
      registries: registries.map((registry) => ({ registry, ...verdictOf(registry, state) })),
    }
    stdout.write(json ? `${JSON.stringify(document)}\n` : statusScreen(document, { setAsideReason: state.setAside?.reason, at: new Date(), columns: columnsOf(stdout), paint: painter(stdout, environment) }))
    return 0
  },
}

function verdictOf(registry: string, { refused, probes }: State): { probe: string; reason: string } {
  if (refused?.registries.includes(registry)) return { probe: 'refused', reason: `the newer version ${refused.version} is not applied: ${refused.reason}` }
  return { probe: probes?.[registry]?.verdict ?? 'unknown', reason: probes?.[registry]?.reason ?? 'not asked yet' }
}

const SOURCE_TIMEOUT_MS = 10_000
