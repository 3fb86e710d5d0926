import type { Finding } from './ecs-config-lint.js'
import { chooseEntry, hubKey } from './ecs-matching.js'
import type { AgentEntry, EngineAuth } from './ecs-matching.js'
import { readGoJson } from './go-json.js'
import { shownKey } from './key-name.js'

export const REWRITE = 'ecs-regcred sync writes both credential lines anew'
// A pass leaves a file alone that means what the source does: the lines have to go first.
export const REWRITE_SAME = `sed -Ei '/^[[:space:]]*ECS_ENGINE_AUTH_(TYPE|DATA)=/d' /etc/ecs/ecs.config; then ${REWRITE}`

/** Faults of the credentials as the ECS agent takes them: of the type, the document, its keys and its entries. `data` is the text that was parsed. */
export function lintEngineAuth(auth: EngineAuth, data: string): readonly Finding[] {
  return [...lintType(auth, data), ...lintDocument(auth, data), ...lintKeys(auth), ...[...auth.entries.values()].flatMap((entry) => lintEntry(entry, auth.type))]
}

function lintType({ type }: EngineAuth, data: string): Finding[] {
  if (type === '' && data === '') return []
  if (type === '') return [{ id: 'data-without-type', verdict: 'broken',
    message: 'ECS_ENGINE_AUTH_DATA is set and ECS_ENGINE_AUTH_TYPE is not: the ECS agent uses no credentials, and says nothing about it',
    fix: `add ECS_ENGINE_AUTH_TYPE=dockercfg, or: ${REWRITE}` }]
  if (data === '') return [{ id: 'type-without-data', verdict: 'broken',
    message: 'ECS_ENGINE_AUTH_TYPE is set and ECS_ENGINE_AUTH_DATA is not: the ECS agent uses no credentials',
    fix: REWRITE }]
  if (type === 'docker') {
    return [{ id: 'docker-type', verdict: 'warning',
      message: 'ECS_ENGINE_AUTH_TYPE is docker: the password stands in plain text, and one that needs a backslash is read otherwise by systemd',
      fix: `${REWRITE}, as dockercfg` }]
  }
  if (type === 'dockercfg' || /^['"]/.test(type)) return []
  const cased = /^(?:docker|dockercfg)$/i.test(type)
  return [{ id: cased ? 'type-case' : 'unknown-type', verdict: 'broken',
    message: cased ? 'ECS_ENGINE_AUTH_TYPE must be in lower case: the ECS agent knows only docker and dockercfg, and drops all credentials' : 'ECS_ENGINE_AUTH_TYPE is neither docker nor dockercfg: the ECS agent drops all credentials',
    fix: REWRITE }]
}

function lintDocument(auth: EngineAuth, data: string): Finding[] {
  const document = readGoJson(data)
  const isWrapped = Array.isArray(document) && document.some(([name, value]) => name === 'auths' && Array.isArray(value))
  if (isWrapped && (auth.type === 'docker' || auth.type === 'dockercfg')) {
    return [{ id: 'auths-wrapper', verdict: 'broken',
      message: 'ECS_ENGINE_AUTH_DATA is a whole config.json: the ECS agent wants what stands inside "auths", and finds no registry',
      fix: `jq -c .auths makes it right; ${REWRITE}` }]
  }
  if (auth.dropped && (auth.type === 'docker' || auth.type === 'dockercfg') && data !== '') {
    const reason = document === undefined ? 'is not valid JSON on this one line' : 'has a value of the wrong type (each registry must have an object, each of its fields a string)'
    return [{ id: 'data-unreadable', verdict: 'broken',
      message: `ECS_ENGINE_AUTH_DATA ${reason}: the ECS agent drops the credentials of all registries`,
      fix: REWRITE }]
  }
  if (auth.dropped) return []
  return auth.warnings.map((warning) => ({ id: 'entry-malformed', verdict: 'broken', fix: REWRITE_SAME,
    message: `the ECS agent leaves an entry out and logs "${warning}": "auth" must be the padded standard base64 of user:password` }))
}

/** Keys that do not do what whoever wrote them hoped for. */
function lintKeys(auth: EngineAuth): Finding[] {
  const findings: Finding[] = [...auth.collisions].map(([stripped, all]) => ({ id: 'key-collision', verdict: 'broken', fix: 'keep one of them',
    message: `the keys ${all.map(({ key }) => shownKey(key)).join(' and ')} are both ${shownKey(stripped)} to the ECS agent: which one it uses changes with each start` }))
  const all = [...auth.entries.keys()].filter((key) => key !== hubKey && key !== 'auths')
  for (const host of new Set(all.map(hostOf))) {
    const keys = all.filter((key) => hostOf(key) === host)
    for (const key of keys) {
      const why = whyNeverMeant(key, host, keys)
      if (why) findings.push({ id: 'key-never-matches', verdict: 'broken',
        message: `the key ${shownKey(auth.entries.get(key)?.key ?? key)} ${why.message}`,
        fix: why.fix })
    }
    const isRandom = !keys.includes(host) && !chooseEntry(auth, `${host}/\0`).deterministic
    if (isRandom && keys.length > 1) {
      findings.push({ id: 'paths-without-host', verdict: 'broken', fix: `add a key ${shownKey(host)}; ecs-regcred sync does`,
        message: `${shownKey(host)} has ${keys.length} path keys and no key of its own: the ECS agent then chooses at random at each pull` })
    }
  }
  return findings
}

function hostOf(key: string): string {
  return key.split('/', 1)[0] ?? ''
}

const HUB_ALIASES = /^(?:index\.|registry-1\.|registry\.hub\.|hub\.)?docker\.(?:io|com)$/i

function whyNeverMeant(key: string, host: string, keys: readonly string[]): { message: string; fix: string } | undefined {
  const path = key.slice(host.length)
  if (HUB_ALIASES.test(host)) return { message: `serves no image of Docker Hub: the ECS agent looks up https://${hubKey} only, to the last slash`,
    fix: `name it https://${hubKey}` }
  if (/^https?:$/i.test(host)) return { message: 'never matches: only a lower-case http:// or https:// is taken off', fix: 'write the host alone' }
  if (/[\s@?#*]/.test(host)) return { message: 'never matches: it is no host name',
    fix: 'write the host alone, with its port if the image names one' }
  if (!/[.:]/.test(host) && host !== 'localhost') return { message: 'never matches: without a dot or a port the ECS agent takes an image\'s first part for a name on Docker Hub',
    fix: 'write the registry as the image does, e.g. registry.example.com' }
  if (/[A-Z]/.test(host)) return { message: 'has capital letters: it matches only images that are written with the same ones',
    fix: 'write the host in lower case, as the images do' }
  if (/^\/v[12]\/?$/.test(path)) {
    return keys.length > 1
      ? { message: 'never matches: it asks for an image whose name begins with that path, and the host has other keys',
        fix: `write ${shownKey(host)} alone` }
      : { message: 'ends in an API path: the ECS agent uses it only as long as it is the only key of that host',
        fix: `write ${shownKey(host)} alone` }
  }
  if (/:(?:443|80)$/.test(host)) return { message: 'names the default port: it matches only images that name it too',
    fix: 'write the host without the port, unless the images have it' }
  return undefined
}

function lintEntry(entry: AgentEntry, type: string): Finding[] {
  if (entry.key === 'auths') return []
  const key = shownKey(entry.key)
  if (entry.anonymous && entry.authIgnored) {
    return [{ id: 'docker-auth-only', verdict: 'broken',
      message: `${key} has only "auth", which Docker does not look at under type docker: pulls from it are anonymous`,
      fix: `set ECS_ENGINE_AUTH_TYPE=dockercfg; ${REWRITE}` }]
  }
  if (entry.anonymous) return [{ id: 'entry-empty', verdict: 'broken',
    message: `${key} has neither username nor password: pulls from it are anonymous`,
    fix: REWRITE }]
  if (type === 'dockercfg' && /[\r\n\0]$/.test(entry.password.reveal())) {
    return [{ id: 'password-newline', verdict: 'broken',
      message: `the password of ${key} ends in a line end or NUL, which the ECS agent sends as a part of it (made with echo instead of printf?)`,
      fix: REWRITE }]
  }
  return []
}
