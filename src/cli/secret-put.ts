import type { Credential } from '../core/credential.js'
import { canonicalRegistry } from '../core/registry-name.js'
import { ServiceError } from '../errors.js'
import type { Shape } from '../fleet/merge-credential.js'
import { secretStore, type SecretPlan } from '../fleet/put-secret.js'
import { probeRegistry, type ProbeResult } from '../registry/probe.js'
import type { Settings } from '../settings.js'
import { columnsOf, painter, wrap } from '../terminal.js'
import type { Command, CommandContext } from './command.js'
import { readPassword } from './read-password.js'

const SHAPES: readonly Shape[] = ['registries', 'docker', 'plain']
const PROBE_TIMEOUT_MS = 20_000

export const secretPut: Command = {
  summary: 'put a registry login into the secret, checked and tried out first',
  options: {
    'password-stdin': { type: 'boolean', help: 'read the password from stdin (one newline at its end is left away); without it a terminal is asked' },
    shape: { type: 'string', value: 'SHAPE', help: 'registries, docker or plain: write the document in that shape (default: the one it has; a new one: registries)' },
    'no-probe': { type: 'boolean', help: 'do not log in to the registry first' },
    'dry-run': { type: 'boolean', help: 'say what would be put, and put nothing' },
    password: { type: 'string', value: '…', help: 'refused: a command line is seen by every user of the machine and kept in the history' },
  },
  settings: ['REGCRED_SECRET_ID', 'REGCRED_REGISTRY', 'REGCRED_USERNAME', 'REGCRED_PROBE', 'REGCRED_PROBE_CA_FILE', 'REGCRED_PROBE_INSECURE'],
  example: 'pass show registry | ecs-regcred secret put --secret-id prod/registry --registry registry.example.com --username ci --password-stdin',
  run: async (context) => {
    const { options, signal } = context
    if (options['password'] !== undefined) {
      throw new ServiceError('E_USAGE', 'a password is not taken from the command line: every user of the machine can see it there, and the shell keeps it in its history', {
        fix: 'use --password-stdin, or leave it away to be asked; and change the password that was just shown',
      })
    }
    const settings = context.settings()
    const { secretId, registry, username, shape } = readTarget(context, settings)
    const password = await readPassword(context.stdin, context.stderr, `Password of ${username} at ${registry}: `, options['password-stdin'] === true, signal)
    const credential = { username, password }
    const store = await secretStore(secretId)
    const plan = await store.plan({ registry, credential, shape }, signal)
    const probe = options['no-probe'] === true || !settings.probe ? undefined : await tryLogin(registry, credential, settings, signal)
    const dryRun = options['dry-run'] === true
    const put = plan.change === 'none' || dryRun ? undefined : await store.put(plan, signal)
    const warnings = [...plan.warnings, ...(put?.warnings ?? []), ...(probe?.verdict === 'unknown' ? [{ code: 'W_NOT_PROBED', message: `${registry} could not be asked: ${probe.reason}` }] : [])]
    if (context.json) {
      const action = plan.change === 'none' ? 'none' : dryRun ? 'would-put' : plan.exists ? 'put' : 'created'
      context.stdout.write(`${JSON.stringify({
        ok: true, action, change: plan.change, secret: plan.secretId, version: put?.versionId ?? (plan.change === 'none' ? plan.basedOn : null) ?? null,
        shape: plan.shape, registries: plan.registries, probe: probe?.verdict ?? null, warnings,
      })}\n`)
      return 0
    }
    const text = describe(plan, { registry, dryRun, versionId: put?.versionId, accepted: probe?.verdict === 'accepted', settings })
    context.stdout.write(fit(text, columnsOf(context.stdout)))
    const paint = painter(context.stderr, context.environment)
    for (const { message } of warnings) context.stderr.write(`${wrap(`${paint('yellow', 'warning')}: ${message}`, columnsOf(context.stderr), 0, 2).join('\n')}\n`)
    return 0
  },
}

function readTarget({ options }: CommandContext, settings: Settings): { secretId: string; registry: string; username: string; shape: Shape | undefined } {
  const { source, registry, username } = settings
  const [secretId, ...others] = source.kind === 'secret' ? source.secretIds : []
  const missing = [secretId === undefined && '--secret-id', registry === undefined && '--registry', username === undefined && '--username'].filter(Boolean)
  if (secretId === undefined || registry === undefined || username === undefined) {
    throw new ServiceError('E_USAGE', `secret put needs ${missing.join(', ')}`, { fix: 'ecs-regcred secret put --help' })
  }
  if (others.length > 0) throw new ServiceError('E_USAGE', `secret put writes one secret, and ${others.length + 1} are named`, { fix: `--secret-id ${secretId}` })
  const shape = options['shape'] as string | undefined
  if (shape !== undefined && !SHAPES.includes(shape as Shape)) throw new ServiceError('E_USAGE', `--shape: write ${SHAPES.join(', ')}`)
  return { secretId, registry: canonicalRegistry(registry), username, shape: shape as Shape | undefined }
}

async function tryLogin(registry: string, credential: Credential, settings: Settings, signal: AbortSignal): Promise<ProbeResult> {
  const result = await probeRegistry(registry, credential, { caFile: settings.probeCaFile, insecure: settings.probeInsecure, timeoutMs: PROBE_TIMEOUT_MS }, signal)
    .catch((error: unknown) => {
      if (signal.aborted) throw new ServiceError('E_INTERRUPTED', 'interrupted; nothing was put')
      throw error
    })
  if (result.verdict === 'refused') {
    throw new ServiceError('E_REGISTRY_REFUSED', `${registry} refuses this login, so it was not put: ${result.reason}`, {
      fix: 'compare username and password; if the registry only takes logins from other machines, say --no-probe',
    })
  }
  return result
}

function describe(plan: SecretPlan, done: { registry: string; dryRun: boolean; versionId: string | undefined; accepted: boolean; settings: Settings }): string {
  const { registry, dryRun, versionId, accepted, settings } = done
  const tried = accepted ? `${registry} accepts the login.\n` : ''
  if (plan.change === 'none') return `${tried}Secret ${plan.secretId} already holds this login (version ${plan.basedOn ?? 'unknown'}): nothing was put, no host has anything to do.\n`
  const verb = { created: 'first login', replaced: 'login replaced', added: 'login added', converted: 'login put, the document written anew' }[plan.change]
  const where = plan.exists ? `secret ${plan.secretId}` : `the new secret ${plan.secretId}${dryRun ? '' : ' (there was none of that name)'}`
  const head = `${tried}${dryRun ? 'Would put' : 'Put'} into ${where}: ${verb} for ${registry}, as ${plan.shape}.\n`
  const lines = [
    plan.registries.length > 1 && `  it holds       ${plan.registries.join(', ')}`,
    versionId !== undefined && `  version        ${versionId}`,
    plan.basedOn !== undefined && `  ${dryRun ? 'version now  ' : 'made from    '}  ${plan.basedOn}`,
    plan.namesNoRegistry && `  the document names no registry: hosts need REGCRED_REGISTRY=${registry}`,
  ].filter((line) => line !== false)
  const next = dryRun ? '' : `What each host does next (by its own settings; these are the defaults):
  1. sees the new version at its next poll, within ${readable(settings.intervalMs)}, or at once on SIGHUP
  2. tries the login, and writes ecs.config
  3. waits for its own place within ${readable(settings.splayMs)} (REGCRED_SPLAY), and restarts its ECS agent once; tasks keep running
Then see who holds it, and when the old login may be revoked:
  ecs-regcred fleet --cluster CLUSTER --secret-id ${plan.secretId}
and have new tasks on a fresh pull:
  ecs-regcred rollout --cluster CLUSTER --all
`
  return `${head}${lines.map((line) => `${line}\n`).join('')}${next}`
}

/** Commands stay whole, for copying: the terminal may break them where it ends. */
function fit(text: string, columns: number | undefined): string {
  return text.split('\n').map((line) => (line.startsWith('  ecs-regcred ') ? line : wrap(line, columns, 0, line.startsWith(' ') ? 5 : 2).join('\n'))).join('\n')
}

function readable(ms: number): string {
  return ms % 60_000 === 0 && ms > 0 ? `${ms / 60_000} min` : `${ms / 1000} s`
}
