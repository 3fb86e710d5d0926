import { readEnvironment } from '../core/ecs-config-lines.js'
import { lintEcsConfig } from '../core/ecs-config-lint.js'
import { parseEngineAuth, sameMeaning } from '../core/ecs-matching.js'
import type { FileOnDisk } from '../host/atomic-file.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { broken, brokenBy, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import type { Facts } from './facts.js'

/** ecs.config by itself: is it there, who may read it, and does the ECS agent read it as it was meant? */
export const ecsConfig: Check = {
  id: 'ecs-config',
  run: async (facts) => {
    const path = facts.settings.ecsConfigPath
    let file: FileOnDisk | undefined
    try {
      file = await facts.ecsConfig()
    } catch (error) {
      return [brokenBy('ecs-config', error)]
    }
    if (file === undefined) return [broken('ecs-config',
      `there is no ${path}: the ECS agent has no registry credentials, and joins the cluster "default"`,
      'ecs-regcred sync writes it; your other settings (ECS_CLUSTER) belong there too')]
    return [...judgeLines(path, file), judgeMode(path, file), judgePulls(readEnvironment(file.bytes))]
  },
}

function judgeLines(path: string, { bytes }: FileOnDisk): CheckResult[] {
  const findings = lintEcsConfig(bytes)
  if (findings.length === 0) return [ok('ecs-config', `the ECS agent reads ${path} as it is meant`)]
  return findings.map(({ id, verdict, message, fix }) => ({ id: `ecs-config:${id}`, verdict, message, fix: fix.replaceAll('/etc/ecs/ecs.config', path) }))
}

/** root's, and nobody else's to read: ecs-init, the ECS agent and systemd all read it as root. */
function judgeMode(path: string, { bytes, mode, uid }: FileOnDisk): CheckResult {
  const id = 'ecs-config-mode'
  const octal = mode.toString(8).padStart(4, '0')
  // In a line that the ECS agent does not read as such, a comment or an `export`, it is as secret.
  if (!/ECS_ENGINE_AUTH_DATA[ \t]*=[ \t]*\S/i.test(bytes.toString('latin1'))) return ok(id, `${path} has mode ${octal}, and holds no credentials`)
  if ((mode & 0o007) !== 0) return broken(id,
    `every user of this machine can read the credentials: ${path} has mode ${octal}`,
    `chmod 600 ${path}; then change the passwords in it`)
  if ((mode & 0o070) !== 0) return warning(id, `its group can read the credentials: ${path} has mode ${octal}`, `chmod 600 ${path}`)
  if (uid !== 0 && uid !== process.geteuid?.()) return warning(id,
    `${path} belongs to user ${uid}, who can read and change the credentials`,
    `chown root:root ${path}`)
  return ok(id, `${path} has mode ${octal}`)
}

const PULL_ADVICE = 'to have such tasks fail instead: ECS_IMAGE_PULL_BEHAVIOR=always in ecs.config; to find them: ecs-regcred rollout'

/** agent/config/parse.go knows these words in lower case only; anything else is the default. */
function judgePulls(environment: ReadonlyMap<string, string>): CheckResult {
  const id = 'pull-behavior'
  const value = (environment.get('ECS_IMAGE_PULL_BEHAVIOR') ?? '').trim()
  switch (value) {
    case 'always': return ok(id, 'an image that the registry refuses fails its task (ECS_IMAGE_PULL_BEHAVIOR=always)')
    case 'once': return warning(id,
      'ECS_IMAGE_PULL_BEHAVIOR=once: an image that was pulled once runs for ever without asking the registry, so a running task does not show that the credential works',
      PULL_ADVICE)
    case 'prefer-cached': return warning(id,
      'ECS_IMAGE_PULL_BEHAVIOR=prefer-cached: an image that is here runs without asking the registry, so a running task does not show that the credential works',
      PULL_ADVICE)
    default: {
      const unknown = 'no word that the ECS agent knows (always, once, prefer-cached, in lower case), so it is '
      const why = `ECS_IMAGE_PULL_BEHAVIOR is ${value === '' || value === 'default' ? '' : unknown}the default`
      return warning(id, `${why}: where the registry refuses a pull, an image that is still here runs instead, and hides the refusal`, PULL_ADVICE)
    }
  }
}

/** The file against the source, in words that need no secret. Stands with the source's checks. */
export async function judgeFileAgainstSource(facts: Facts, authData: string, registries: readonly string[]): Promise<CheckResult> {
  const id = 'file-source'
  const path = facts.settings.ecsConfigPath
  const file = await facts.ecsConfig().catch(() => null)
  if (file === null) return skipped(id, `${path} cannot be read`)
  const { auth, data } = authOnDisk(file?.bytes)
  if (registries.length === 0) return skipped(id, 'the source names no registry')
  // The meaning, as a pass compares it: another order of the keys is no difference.
  if (auth.type === 'dockercfg' && sameMeaning(auth, parseEngineAuth('dockercfg', authData))) return ok(id, `${path} holds what the source holds`)
  return broken(id,
    data === undefined ? `${path} holds no credentials, and the source does` : `${path} does not hold what the source holds`,
    'ecs-regcred sync; what keeps it from that: ecs-regcred sync --dry-run')
}
