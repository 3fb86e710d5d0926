/** What several checks look at: each read once, when first asked for, so that one that cannot be had spoils only the checks that need it. */
import type { Dockercfg, Registries, Warning } from '../core/credential.js'
import { mergeRegistries, parseCredentialDocument } from '../core/credential-document.js'
import { renderAuthData, toDockercfg } from '../core/dockercfg.js'
import type { ServiceError } from '../errors.js'
import { type FileOnDisk, readFileIfAny } from '../host/atomic-file.js'
import { chooseInitSystem } from '../host/index.js'
import type { InitSystem } from '../host/init-system.js'
import { readState, type State } from '../host/state.js'
import { observe, type Observation, remembered } from '../pass/observe.js'
import type { Settings } from '../settings.js'
import { chooseSource } from '../sources/index.js'

/** The source, understood as a pass would. */
export type SourceFact = {
  readonly label: string
  readonly version: string | undefined
  readonly registries: Registries
  readonly dockercfg: Dockercfg
  /** What would be written. A credential: for comparing only. */
  readonly authData: string
  readonly warnings: readonly Warning[]
}

export type Facts = {
  readonly settings: Settings
  /** The settings that the machine has cannot be used: `settings` are the defaults, and no source is known. */
  readonly settingsError: ServiceError | undefined
  readonly environment: NodeJS.ProcessEnv
  readonly ecsConfig: () => Promise<FileOnDisk | undefined>
  readonly state: () => Promise<{ readonly state: State; readonly problem?: string }>
  readonly initSystem: () => Promise<InitSystem | undefined>
  readonly seen: () => Promise<Observation>
  /** @throws {ServiceError} why the source cannot be applied */
  readonly source: () => Promise<SourceFact>
}

export function gatherFacts(settings: Settings, settingsError: ServiceError | undefined, environment: NodeJS.ProcessEnv, signal: AbortSignal): Facts {
  const state = once(() => readState(settings.stateDir))
  const initSystem = once(() => chooseInitSystem({ init: settings.init, root: settings.root, service: settings.ecsService }, signal))
  return {
    settings,
    settingsError,
    environment,
    ecsConfig: once(() => readFileIfAny(settings.ecsConfigPath)),
    state,
    initSystem,
    seen: once(async () => {
      const memory = await state().then((read) => remembered(read.state), () => ({ changePending: false, restartBegun: false }))
      return observe(settings, await initSystem(), memory, signal)
    }),
    source: once(() => readSource(settings, signal)),
  }
}

async function readSource(settings: Settings, signal: AbortSignal): Promise<SourceFact> {
  const source = chooseSource(settings)
  const { version, documents = [] } = await source.read(undefined, signal)
  const parsed = documents.map((document) => ({
    source: document.source,
    ...parseCredentialDocument(document.content.reveal(), {
      source: document.source, registry: settings.registry, username: settings.username, keepNewline: settings.keepNewline, jsonKey: document.jsonKey, allowEmpty: false,
    }),
  }))
  const registries = mergeRegistries(parsed)
  const { dockercfg, warnings } = toDockercfg(registries, { allowEmpty: false })
  return { label: source.label, version, registries, dockercfg, authData: renderAuthData(dockercfg), warnings: [...parsed.flatMap((each) => each.warnings), ...warnings] }
}

function once<T>(read: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined
  return () => (answer ??= read())
}
