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
import { chooseSource } from '../sources/index.js'
import type { Command } from './command.js'

export const status: Command = {
  summary: 'what stands where: source, file, running ECS agent, what is owed',
  options: {},
  example: 'ecs-regcred status',
  run: async ({ settings: readSettings, json, stdout, signal }) => {
    const settings = readSettings()
    const source = chooseSource(settings)
    const { state } = await readState(settings.stateDir)
    const file = (await readFileIfAny(settings.ecsConfigPath))?.bytes
    const { auth } = authOnDisk(file)
    const init = await chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal)
    const seen = await observe(settings, init, remembered(state), signal)
    const { setAside: _, refused: __, ...unheld } = state
    const plan = await planFile(
      // Looking is not applying: no registry is asked, nothing is refused.
      { settings: { ...settings, probe: false, takeover: 'replace' }, source, state: unheld, options: { trigger: 'command', dryRun: true }, log: createLogger('silent', 2, false), warnings: [] },
      AbortSignal.any([signal, AbortSignal.timeout(SOURCE_TIMEOUT_MS)]),
    ).catch((error: unknown) => (error instanceof ServiceError ? error : new ServiceError('E_TIMEOUT', 'the source did not answer in time')))
    const registries = [...new Set([...auth.entries.values()].map(({ key }) => registryOfKey(key)))].sort()
    const document = {
      source: {
        label: source.label,
        version: plan instanceof ServiceError ? (state.rendered?.version ?? null) : plan.version,
        problem: plan instanceof ServiceError ? plan.message : null,
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
    stdout.write(json ? `${JSON.stringify(document)}\n` : screen(document, state.setAside?.reason, new Date()))
    return 0
  },
}

function verdictOf(registry: string, { refused, probes }: State): { probe: string; reason: string } {
  if (refused?.registries.includes(registry)) return { probe: 'refused', reason: `the newer version ${refused.version} is not applied: ${refused.reason}` }
  return { probe: probes?.[registry]?.verdict ?? 'unknown', reason: probes?.[registry]?.reason ?? 'not asked yet' }
}

const SOURCE_TIMEOUT_MS = 10_000

type Document = {
  readonly source: { readonly label: string; readonly version: string | null; readonly problem: string | null }
  readonly file: { readonly path: string; readonly inSync: boolean; readonly version: string | null }
  readonly ecsAgent: { readonly running: boolean; readonly inSync: boolean | null; readonly healthy: boolean; readonly version: string | null; readonly detail: string }
  readonly restartOwed: boolean
  readonly setAside: string | null
  readonly lastSuccess: string | null
  readonly nextPass: string | null
  readonly registries: readonly { readonly registry: string; readonly probe: string; readonly reason: string }[]
}

function screen(status: Document, setAsideReason: string | undefined, at: Date): string {
  const { source, file, ecsAgent } = status
  const rows: [string, string][] = [
    ['source', source.problem === null ? `${source.label}, version ${source.version ?? 'unknown'}` : `${source.label}: ${source.problem}`],
    ['file', `${file.path} ${file.inSync ? 'holds that' : source.problem !== null ? `was last written from version ${file.version ?? 'none'}` : 'does NOT hold that'}`],
    ['ECS agent', [
      ecsAgent.running ? (ecsAgent.healthy ? 'running, healthy' : 'running, does not answer introspection') : 'not running',
      { true: 'holds what the file holds', false: 'does NOT hold what the file holds', null: 'what it holds is not known' }[String(ecsAgent.inSync) as 'true'],
    ].join(', ')],
    ['', ecsAgent.detail],
    ['restart', status.restartOwed ? 'OWED' : 'none owed'],
    ...(status.setAside === null ? [] : [['set aside', `${status.setAside}: ${setAsideReason ?? ''}`] as [string, string]]),
    ['last success', ago(status.lastSuccess, at)],
    ['next pass', ago(status.nextPass, at)],
    ...status.registries.map(({ registry, probe, reason }, index): [string, string] => [index === 0 ? 'registries' : '', `${registry}  ${probe}${probe === 'accepted' ? '' : ` (${reason})`}`]),
  ]
  return `${rows.map(([name, text]) => `${name.padEnd(13)} ${text}`).join('\n')}\n`
}

function ago(iso: string | null, at: Date): string {
  if (iso === null) return 'never'
  const seconds = Math.round((at.getTime() - new Date(iso).getTime()) / 1000)
  const size = Math.abs(seconds)
  const span = size < 120 ? `${size} s` : size < 7200 ? `${Math.round(size / 60)} min` : `${Math.round(size / 3600)} h`
  return `${iso} (${seconds >= 0 ? `${span} ago` : `in ${span}`})`
}
