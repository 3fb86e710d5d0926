import type { Registries } from '../core/credential.js'
import { chooseEntry, type EngineAuth } from '../core/ecs-matching.js'
import { ServiceError } from '../errors.js'
import { now, type ReadVersion } from '../host/state.js'
import type { Pass } from './pass.js'

const PROBE_TIMEOUT_MS = 10_000

/**
 * Logs in to each registry whose credential is new to the file. One that says no stops the pass; one that cannot be asked is a warning.
 * @throws {ServiceError} E_REGISTRY_REFUSED, naming every registry that refused
 */
export async function probeChanged(
  pass: Pass, tried: ReadVersion & { readonly writing: string | undefined }, registries: Registries, onDisk: EngineAuth, signal: AbortSignal,
): Promise<void> {
  const { version } = tried
  const { settings, log } = pass
  const changed = [...registries].filter(([registry, { username, password }]) => {
    const before = chooseEntry(onDisk, probedImage(registry)).entry
    return before?.username !== username || before.password.reveal() !== password.reveal()
  })
  if (changed.length === 0) return

  const { probeRegistry } = await import('../registry/probe.js')
  const results = await Promise.all(changed.map(async ([registry, credential]) => {
    const started = performance.now()
    const result = await probeRegistry(registry, credential, { caFile: settings.probeCaFile, insecure: settings.probeInsecure, timeoutMs: PROBE_TIMEOUT_MS }, signal)
    const { verdict, reason } = result
    const fields = { event: 'registry.probed', registry, registries: [registry], verdict, reason, version, durationMs: Math.round(performance.now() - started) }
    log[result.verdict === 'accepted' ? 'info' : 'warn'](fields, 'registry probed')
    return result
  }))
  signal.throwIfAborted()

  const at = now()
  for (const { registry, verdict, reason } of results) {
    if (verdict === 'unknown') pass.warnings.push({ code: 'W_NOT_PROBED', message: `${registry} could not be asked whether it accepts the credential, which is applied all the same: ${reason}` })
  }
  const refused = results.filter(({ verdict }) => verdict === 'refused')
  if (refused.length === 0) {
    pass.state.probes = { ...pass.state.probes, ...Object.fromEntries(results.map(({ registry, verdict, reason }) => [registry, { verdict, reason, at: at.at }])) }
    return
  }
  const tries = pass.state.refused?.version === version ? pass.state.refused.tries + 1 : 1
  pass.state.refused = { ...tried, registries: refused.map(({ registry }) => registry), reason: refused.map(({ reason }) => reason).join('; '), at, tries }
  throw new ServiceError('E_REGISTRY_REFUSED', `the new credential is not applied: ${refused.map(({ reason }) => reason).join('; ')}`, {
    source: pass.source.label,
    fix: 'put the right password into the source; what works now stays in place',
  })
}

/** An image that the registry's own entry is for. */
function probedImage(registry: string): string {
  return registry.startsWith('https://') ? 'library/probe:latest' : `${registry}/probe:latest`
}
