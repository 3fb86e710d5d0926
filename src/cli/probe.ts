import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import type { Credential } from '../core/credential.js'
import { parseCredentialDocument } from '../core/credential-document.js'
import { renderAuthData, toDockercfg } from '../core/dockercfg.js'
import { readEngineAuth } from '../core/ecs-config.js'
import { chooseEntry, parseEngineAuth, type AgentEntry, type EngineAuth } from '../core/ecs-matching.js'
import { canonicalRegistry, HUB_KEY } from '../core/registry-name.js'
import { registryOfKey } from '../core/registry-of-key.js'
import { ServiceError } from '../errors.js'
import type { Finding, Verdict } from '../registry/finding.js'
import type { ProbeOptions } from '../registry/probe.js'
import { tellQuota, type Quota } from '../registry/quota.js'
import { durationMs, type Settings } from '../settings.js'
import { columnsOf, painter } from '../terminal.js'
import type { Command, CommandContext } from './command.js'
import { verdictTable } from './verdict-table.js'

export const probe: Command = {
  summary: 'log in to the registries as the ECS agent would, with the entries of ecs.config',
  arguments: '[REGISTRY…]',
  options: {
    image: { type: 'string', multiple: true, value: 'REF', help: 'ask for the manifest of this image too; does not count as a pull' },
    from: { type: 'string', value: 'FILE', help: 'another ecs.config' },
    document: { type: 'string', value: 'FILE', help: 'the credentials of this document instead, as they would be rendered (- for standard input)' },
    timeout: { type: 'string', value: 'DURATION', help: 'for each registry (default 15s)' },
  },
  settings: ['REGCRED_REGISTRY', 'REGCRED_USERNAME', 'REGCRED_KEEP_NEWLINE', 'REGCRED_PROBE_CA_FILE', 'REGCRED_PROBE_INSECURE', 'REGCRED_ECS_CONFIG', 'REGCRED_ROOT'],
  example: 'ecs-regcred probe registry.example.com --image registry.example.com/team/app:1.2',
  run: async (context) => {
    const { settings: readSettings, options, positionals, json, stdout, environment, signal } = context
    const settings = readSettings()
    const probeOptions = { caFile: settings.probeCaFile, insecure: settings.probeInsecure, timeoutMs: readTimeout(options['timeout']) }
    const { auth, label } = await readAuth(context, settings)
    const targets = chooseTargets(auth, positionals, label)
    const names = (options['image'] ?? []) as readonly string[]
    const [registries, images] = await Promise.all([
      Promise.all(targets.map((target) => probeTarget(target, probeOptions, label, signal))),
      Promise.all(names.map((image) => askForImage(auth, image, probeOptions, signal))),
    ])

    const verdicts = [...registries, ...images].map(({ verdict }) => verdict)
    const ok = verdicts.every((verdict) => verdict === 'accepted')
    if (json) stdout.write(`${JSON.stringify({ ok, registries, ...(images.length === 0 ? {} : { images }) })}\n`)
    else {
      const rows = [...registries.map((row) => ({ ...row, name: row.registry })), ...images.map((row) => ({ ...row, name: row.image }))]
      stdout.write(verdictTable(rows, { columns: columnsOf(stdout), paint: painter(stdout, environment) }))
    }
    return verdicts.includes('refused') ? 77 : ok ? 0 : 69
  },
}

type Target = { readonly registry: string; readonly entry: AgentEntry | undefined }

function readTimeout(text: unknown): number {
  if (typeof text !== 'string') return 15_000
  try {
    const ms = durationMs(text)
    if (ms > 0) return ms
  } catch {
    // told below
  }
  throw new ServiceError('E_USAGE', 'probe: --timeout takes a duration above zero, such as 15s')
}

/** The credentials to try, in the one form that says which of them the ECS agent would use for what. */
async function readAuth({ options, stdin }: CommandContext, settings: Settings): Promise<{ auth: EngineAuth; label: string }> {
  const { document, from } = options
  if (typeof document === 'string' && typeof from === 'string') throw new ServiceError('E_USAGE', 'probe takes --from or --document, not both')
  if (typeof document === 'string') {
    const source = document === '-' ? 'standard input' : document
    const content = document === '-' ? await buffer(stdin) : await read(document, 'E_SOURCE_FILE')
    const { registry, username, keepNewline } = settings
    const { registries } = parseCredentialDocument(content, { source, registry, username, keepNewline })
    return { auth: parseEngineAuth('dockercfg', renderAuthData(toDockercfg(registries).dockercfg)), label: source }
  }
  const path = typeof from === 'string' ? from : settings.ecsConfigPath
  return { auth: readEngineAuth(await read(path, 'E_ECS_CONFIG')), label: path }
}

async function read(path: string, code: 'E_ECS_CONFIG' | 'E_SOURCE_FILE'): Promise<Uint8Array> {
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new ServiceError(code, `cannot read ${path}: ${cause.code ?? 'unknown error'}`, {
      fix: cause.code !== 'ENOENT' ? 'run as root' : code === 'E_ECS_CONFIG' ? 'name another file with --from, or write this one: ecs-regcred sync' : undefined, cause,
    })
  })
}

/** Every registry of the file, or those named. The boundary keys of one path are one registry. */
function chooseTargets(auth: EngineAuth, named: readonly string[], label: string): Target[] {
  const held = new Map<string, AgentEntry>()
  for (const entry of auth.entries.values()) {
    const registry = registryOfKey(entry.key)
    if (!held.has(registry)) held.set(registry, entry)
  }
  if (named.length === 0 && held.size === 0) {
    throw new ServiceError('E_NO_AUTH', [`${label} holds no registry credential that the ECS agent would use`, ...auth.warnings].join('; '), { fix: 'ecs-regcred sync' })
  }
  if (named.length === 0) return [...held].map(([registry, entry]) => ({ registry, entry })).sort((a, b) => (a.registry < b.registry ? -1 : 1))
  return [...new Set(named.map(nameOf))].map((registry) => ({ registry, entry: held.get(registry) ?? chooseEntry(auth, anyImageOf(registry)).entry }))
}

function nameOf(argument: string): string {
  try {
    return canonicalRegistry(argument)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    throw new ServiceError('E_USAGE', `probe: ${error.message}`, { fix: error.details.fix })
  }
}

function anyImageOf(registry: string): string {
  return registry === HUB_KEY ? 'library/probe:latest' : `${registry}/probe:latest`
}

type Row = Finding & { readonly verdict: Verdict; readonly quota?: Quota }

async function probeTarget({ registry, entry }: Target, options: ProbeOptions, label: string, signal: AbortSignal): Promise<Row & { readonly registry: string }> {
  const credential = credentialOf(entry)
  if (credential === undefined) {
    const reason = entry === undefined ? `${label} holds no entry for it, so pulls from it are anonymous`
      : entry.identityToken.reveal() + entry.registryToken.reveal() !== '' ? 'its entry holds a token instead of a password, which cannot be tried without spending it'
        : 'its entry holds nothing that Docker would log in with, so pulls from it are anonymous'
    return { registry, verdict: 'unknown', class: 'no-credential', reason }
  }
  const { probeRegistry } = await import('../registry/probe.js')
  const result = await probeRegistry(registry, credential, options, signal)
  if (registry !== HUB_KEY || result.verdict !== 'accepted') return result
  const { probeImage, HUB_QUOTA_IMAGE } = await import('../registry/manifest.js')
  const { quota } = await probeImage(HUB_QUOTA_IMAGE, credential, options, signal)
  return quota === undefined ? result : { ...result, reason: `${result.reason}${tellQuota(quota)}`, quota }
}

async function askForImage(auth: EngineAuth, image: string, options: ProbeOptions, signal: AbortSignal): Promise<Row & { readonly image: string }> {
  const { probeImage } = await import('../registry/manifest.js')
  return probeImage(image, credentialOf(chooseEntry(auth, image).entry), options, signal)
}

function credentialOf(entry: AgentEntry | undefined): Credential | undefined {
  return entry === undefined || entry.password.reveal() === '' ? undefined : { username: entry.username, password: entry.password }
}
