import { basename, dirname } from 'node:path'
import type { Credential } from '../core/credential.js'
import { registryOfKey } from '../core/registry-of-key.js'
import { HUB_KEY, leftOut } from '../core/registry-name.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import type { Settings } from '../settings.js'
import { broken, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import type { Facts } from './facts.js'

const TIMEOUT_MS = 8_000

/** Each registry of ecs.config is logged in to as the ECS agent's Docker would; where the file has none yet, each of the source. */
export const registries: Check = {
  id: 'registry',
  run: async (facts, signal) => {
    const { settings } = facts
    if (!settings.probe) return [skipped('registry', 'REGCRED_PROBE=off: no registry is asked; once, by hand: ecs-regcred probe')]
    const credentials = await gather(facts)
    if (credentials.size === 0) return [skipped('registry', 'there is no credential to log in with')]
    const { probeRegistry } = await import('../registry/probe.js')
    return Promise.all([...credentials].map(async ([registry, credential]) => {
      const options = { caFile: settings.probeCaFile, insecure: settings.probeInsecure, timeoutMs: TIMEOUT_MS }
      return judge(registry, await probeRegistry(registry, credential, options, signal), settings)
    }))
  },
}

async function gather(facts: Facts): Promise<ReadonlyMap<string, Credential>> {
  const { auth } = authOnDisk((await facts.ecsConfig().catch(() => undefined))?.bytes)
  const inFile = [...auth.entries.values()].filter(({ username, password }) => username !== '' && password.reveal() !== '')
    .map((entry) => [registryOfKey(entry.key), entry] as const)
  const found: Iterable<readonly [string, Credential]> = inFile.length > 0 ? inFile : await facts.source().then((source) => source.registries, () => [])
  return new Map([...found].filter(([registry]) => leftOut(registry) === undefined))
}

function judge(registry: string, { verdict, class: kind, reason }: { readonly verdict: string; readonly class: string; readonly reason: string }, settings: Settings): CheckResult {
  const name = registry === HUB_KEY ? 'docker.io' : registry
  const id = `registry:${name}`
  if (verdict === 'accepted') return ok(id, `${name} accepts the login`)
  if (verdict === 'refused') return { ...broken(id,
    `${name} refuses the login: ${reason}`,
    `put the right password into the source: ${putCommand(settings, name)}`), code: 'E_REGISTRY_REFUSED' }
  const fix = FIXES[kind]?.(name.split('/', 1)[0] ?? '') ?? `ecs-regcred probe ${name} asks again`
  // What keeps us from the registry keeps Docker from it as well, but for TLS: Docker trusts /etc/docker/certs.d, too.
  if (kind === 'dns' || kind === 'connection' || kind === 'timeout') return { ...broken(id, `${name} cannot be reached: ${reason}`, fix), code: 'E_REGISTRY_UNAVAILABLE' }
  return warning(id, `whether ${name} accepts the login cannot be told: ${reason}`, fix)
}

const FIXES: Record<string, (host: string) => string> = {
  dns: (host) => `getent hosts ${host.replace(/:\d+$/, '')} shows the same; see /etc/resolv.conf and the VPC's DNS settings, and the spelling in the source`,
  connection: (host) => `curl -v https://${host}/v2/ shows the same; see the route, the security group, the network ACL and the registry itself`,
  timeout: (host) => `curl -v -m 10 https://${host}/v2/ shows the same; see the route, the security group and the network ACL`,
  tls: (host) => `openssl s_client -connect ${/:\d+$/.test(host) ? host : `${host}:443`} </dev/null shows the certificate; `
    + `a private CA: REGCRED_PROBE_CA_FILE=/etc/docker/certs.d/${host}/ca.crt`,
  'no-tls': (host) => `if it is meant to speak plain http: REGCRED_PROBE_INSECURE=${host}`,
}

/** How an operator puts a login for that registry into the source of this machine. */
export function putCommand({ source }: Settings, registry: string): string {
  if (source.kind === 'file') {
    // docker knows a directory, and the file in it by this one name.
    return basename(source.path) === 'config.json' ? `DOCKER_CONFIG=${dirname(source.path)} docker login ${registry}` : `write its login into ${source.path}`
  }
  const [id, ...others] = source.secretIds
  return `ecs-regcred secret put --secret-id ${others.length === 0 ? id : 'ID'} --registry ${registry} --username USER`
}
