/** The file against the source: everything that is read, parsed, rendered and tried before the first byte is written. */
import type { Dockercfg, Registries } from '../core/credential.js'
import { mergeRegistries, parseCredentialDocument } from '../core/credential-document.js'
import { renderAuthData, toDockercfg } from '../core/dockercfg.js'
import { renderEcsConfig } from '../core/ecs-config.js'
import { type EngineAuth, parseEngineAuth, sameMeaning } from '../core/ecs-matching.js'
import { Redacted } from '../core/redacted.js'
import { leftOut } from '../core/registry-name.js'
import { registryOfKey } from '../core/registry-of-key.js'
import { parseSecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { elapsedMs, fingerprint, isRendered, type Moment, now, type ReadVersion, type State } from '../host/state.js'
import type { SourceReading } from '../sources/source.js'
import { authOnDisk } from './auth-on-disk.js'
import type { Pass } from './pass.js'
import { probeChanged } from './probe-changed.js'
import { settleWrite } from './settle-write.js'

/** What must be done to the file. */
export type FilePlan = ReadVersion & {
  readonly registries: readonly string[]
  /** What has to stand in the file; undefined where it already means that. */
  readonly authData: Redacted<string> | undefined
  /** The file as it was read for this plan. */
  readonly current: Uint8Array | undefined
}

/** @throws {ServiceError} why the source cannot be applied; nothing has been touched */
export async function planFile(pass: Pass, signal: AbortSignal): Promise<FilePlan> {
  const { settings, state, options, log } = pass
  const current = (await readFileIfAny(settings.ecsConfigPath))?.bytes
  settleWrite(state, current)
  const { auth: onDisk, data } = authOnDisk(current)
  const at = now()
  const started = performance.now()
  const readAs = howRead(pass)
  const reading = await pass.source.read(knownVersion(pass, readAs, onDisk.type === 'dockercfg' ? data : undefined, at), signal)

  if (reading.documents === undefined) {
    const version = reading.version ?? ''
    dropHeldOfOthers(state, { version, readAs })
    refuseIfHeld(pass, version, reading.writing, at)
    const rendered = state.rendered
    return { version, readAs, registries: rendered?.registries ?? [], authData: undefined, current }
  }

  const { registries, dockercfg, authData } = understandOrRemember(pass, reading, readAs)
  const wanted = parseEngineAuth('dockercfg', authData)
  assertReadAsMeant(wanted, dockercfg, current, authData)

  const version = reading.version ?? fingerprint(state.fingerprintKey, authData)
  const names = [...registries.keys()].filter((registry) => leftOut(registry) === undefined)
  const plan = { version, readAs, registries: names, current }
  dropHeldOfOthers(state, { version, readAs })
  const inSync = onDisk.type === 'dockercfg' && data !== undefined && sameMeaning(onDisk, wanted)
  log[inSync ? 'debug' : 'info']({ event: 'credentials.read', version, registries: names, durationMs: since(started) }, 'credentials read')
  if (inSync) {
    // Another version that means the same, or a file that somebody else wrote so: from now on this version needs no fetching.
    state.rendered = { version, readAs, fingerprint: fingerprint(state.fingerprintKey, data), registries: names }
    // What is found to be wrong with it is then held against this version.
    if (state.pending?.phase === 'written') state.pending = { ...state.pending, version, readAs }
    // It stands there though it was set aside (the way back failed, or a hand put it there), and a person says that it is to.
    if (options.force && !options.dryRun) delete state.setAside
    return { ...plan, authData: undefined }
  }

  refuseTakeover(pass, onDisk, registries)
  refuseIfHeld(pass, version, reading.writing, at)
  if (settings.probe) await probeChanged(pass, { version, readAs, writing: reading.writing }, registries, onDisk, signal)
  if (onDisk.type === 'docker' && onDisk.entries.size > 0) {
    pass.warnings.push({ code: 'W_DOCKER_TYPE', message: `${settings.ecsConfigPath} held credentials of type docker; they are replaced by type dockercfg` })
  }
  return { ...plan, authData: new Redacted(authData) }
}

/** By these settings one version of a secret means this or that. A file's version is what it means already. */
function howRead({ settings: { source, registry, username, keepNewline }, state }: Pass): string | undefined {
  if (source.kind === 'file') return undefined
  const jsonKeys = source.secretIds.map((id) => parseSecretReference(id).jsonKey)
  return fingerprint(state.fingerprintKey, JSON.stringify([jsonKeys, registry, username, keepNewline]))
}

/**
 * The version that needs no fetching: its outcome is known. A version that stands in the file counts only while the file holds what was rendered
 * from it, so that a file changed by hand is put right from the source.
 */
function knownVersion({ state, options }: Pass, readAs: string | undefined, dataOnDisk: string | undefined, at: Moment): string | undefined {
  if (options.force) return undefined
  const { unusable, setAside, refused, rendered } = state
  // A person's signal and a start look again; a poll has nothing new to find in the same version.
  if (unusable !== undefined && unusable.readAs === readAs && options.trigger === 'poll') return unusable.version
  if (setAside !== undefined && setAside.readAs === readAs) return setAside.version
  if (refused !== undefined && refused.readAs === readAs && !mayProbeAgain(refused, options.trigger, undefined, at)) return refused.version
  return rendered?.readAs === readAs && isRendered(state, dataOnDisk) ? rendered?.version : undefined
}

/** What is held against a version ends with it, and with the settings that it was read by. */
function dropHeldOfOthers(state: State, { version, readAs }: ReadVersion): void {
  for (const name of ['unusable', 'setAside', 'refused'] as const) {
    const held = state[name]
    if (held !== undefined && (held.version !== version || held.readAs !== readAs)) delete state[name]
  }
}

type Understood = { readonly registries: Registries; readonly dockercfg: Dockercfg; readonly authData: string }

/** What the documents mean and render to. A version that cannot be used is remembered with the words for it. */
function understandOrRemember(pass: Pass, reading: SourceReading, readAs: string | undefined): Understood {
  delete pass.state.unusable
  try {
    const registries = understand(pass, reading)
    const { dockercfg, warnings } = toDockercfg(registries, { allowEmpty: pass.options.allowEmpty ?? false })
    pass.warnings.push(...warnings)
    return { registries, dockercfg, authData: renderAuthData(dockercfg) }
  } catch (error) {
    if (error instanceof ServiceError && reading.version !== undefined) {
      pass.state.unusable = { version: reading.version, readAs, code: error.code, message: error.message, details: error.details }
    }
    throw error
  }
}

/** A config.json may hold much that is not ours; a secret holds 64 KiB, the parser's own limit. */
const MAX_FILE_BYTES = 1_048_576

function understand({ settings, options, warnings, source }: Pass, reading: SourceReading): Registries {
  const parts = (reading.documents ?? []).map((document) => {
    const parsed = parseCredentialDocument(document.content.reveal(), {
      source: document.source,
      registry: settings.registry,
      username: settings.username,
      keepNewline: settings.keepNewline,
      jsonKey: document.jsonKey,
      ...(source.kind === 'file' ? { maxBytes: MAX_FILE_BYTES } : {}),
      allowEmpty: options.allowEmpty ?? false,
    })
    warnings.push(...parsed.warnings)
    return { source: document.source, registries: parsed.registries }
  })
  return mergeRegistries(parts)
}

/** The promise that nothing is written which the ECS agent would read otherwise than meant, kept by asking its ported reader. */
function assertReadAsMeant(wanted: EngineAuth, dockercfg: Dockercfg, current: Uint8Array | undefined, authData: string): void {
  const readBack = authOnDisk(renderEcsConfig(current, authData))
  const asMeant = wanted.entries.size === dockercfg.size && !wanted.dropped && wanted.warnings.length === 0
    && [...dockercfg].every(([key, credential]) => {
      const entry = wanted.entries.get(key.replace(/^https?:\/\//, ''))
      return entry?.username === credential.username && entry.password.reveal() === credential.password.reveal()
    })
  if (!asMeant || readBack.data !== authData || readBack.auth.type !== 'dockercfg') {
    throw new ServiceError('E_BUG', 'the rendered ecs.config would not be read as meant; the file in place stays')
  }
}

/** Before the first file of ours: registries that stand there and nowhere else would be lost. */
function refuseTakeover({ settings, state, warnings }: Pass, onDisk: EngineAuth, registries: Registries): void {
  if (state.rendered !== undefined) return
  const lost = [...new Set([...onDisk.entries.values()].map((entry) => registryOfKey(entry.key)))].filter((registry) => !registries.has(registry))
  if (lost.length === 0) return
  if (settings.takeover === 'refuse') {
    throw new ServiceError('E_TAKEOVER', `${settings.ecsConfigPath} holds credentials that the source lacks: ${lost.join(', ')}. They would be lost`, {
      fix: `add ${lost.length === 1 ? 'it' : 'them'} to the source, or say --takeover replace (REGCRED_TAKEOVER=replace) if no image comes from there`,
    })
  }
  warnings.push({ code: 'W_TAKEOVER', message: `dropped from ${settings.ecsConfigPath}, since the source lacks them: ${lost.join(', ')}` })
}

function refuseIfHeld({ state, options, source }: Pass, version: string, writing: string | undefined, at: Moment): void {
  if (options.force) return
  if (state.unusable?.version === version) throw new ServiceError(state.unusable.code, state.unusable.message, state.unusable.details)
  if (state.setAside?.version === version) {
    throw new ServiceError('E_SET_ASIDE', `version ${version} of ${source.label} is set aside since ${state.setAside.at}: ${state.setAside.reason}`, {
      fix: 'put a working credential into the source, or try this one again with: ecs-regcred sync --force',
    })
  }
  if (state.refused?.version === version && !mayProbeAgain(state.refused, options.trigger, writing, at)) {
    throw new ServiceError('E_REGISTRY_REFUSED', `version ${version} of ${source.label} is not applied: ${state.refused.reason}`, {
      fix: 'put the right password into the source; a signal (systemctl reload ecs-regcred) tries this one again',
    })
  }
}

/** Polls ask a registry that refused less and less often, up to hourly: failed logins of a whole fleet would lock the account. */
function mayProbeAgain(refused: NonNullable<Pass['state']['refused']>, trigger: Pass['options']['trigger'], writing: string | undefined, at: Moment): boolean {
  // One writing of a file makes two events and more. Written anew, it may be of somebody who has put the registry right.
  if (trigger === 'file' && writing !== undefined && refused.writing === writing) return false
  if (trigger !== 'poll' && trigger !== 'retry') return true
  const waitedMs = elapsedMs(refused.at, at)
  return waitedMs === undefined || waitedMs >= Math.min(60_000 * 2 ** refused.tries, 3_600_000)
}

function since(started: number): number {
  return Math.round(performance.now() - started)
}
