import { ServiceError } from '../errors.js'
import type { ErrorDetails } from '../errors.js'
import { isTame, shownRegistry } from './key-name.js'

/** The one key that the ECS agent looks up for images of Docker Hub, and so the canonical name of Docker Hub. */
export const HUB_KEY = 'https://index.docker.io/v1/'

const HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com', 'hub.docker.com'])

/**
 * A registry's one name: `https://Registry.Example.com:5000/v2/` and `registry.example.com:5000` are the same. A path stays part of it
 * (`acme.jfrog.io/team-a`); every name of Docker Hub becomes `HUB_KEY`, and a path under it `docker.io/PATH`.
 * @throws {ServiceError} E_REGISTRY_KEY. A name may hold a login (`https://user:password@host`), so the message shows only the part that cannot.
 */
export function canonicalRegistry(name: string, details: ErrorDetails = {}): string {
  const refuse: Refuse = (problem, fix) => {
    const where = details.source === undefined ? '' : `${details.source}: `
    return new ServiceError('E_REGISTRY_KEY', `${where}${problem}`, { ...details, fix: fix ?? 'write host, host:port or host/path, e.g. registry.example.com:5000' })
  }
  if (name === '') throw refuse('the registry\'s name is empty')
  if (/[\s\p{C}]/u.test(name)) throw refuse('a registry\'s name has a space or a control character in it')
  const bare = withoutScheme(name, refuse)
  checkShape(bare, refuse)
  const slash = bare.indexOf('/')
  const host = checkHost(slash < 0 ? bare : bare.slice(0, slash), refuse)
  const path = checkPath(slash < 0 ? '' : bare.slice(slash), host, refuse)
  if (HUB_HOSTS.has(host.replace(/:443$/, ''))) {
    const hubPath = path.replace(/^v[12](\/|$)/, '')
    return hubPath === '' ? HUB_KEY : `docker.io/${hubPath}`
  }
  return path === '' || /^v[12]$/.test(path) ? host : `${host}/${path}`
}

/** Whether the ECS agent never uses an entry of this (canonical) name, and with which warning it is left out. */
export function leftOut(registry: string): { readonly code: 'W_ECR_HOST' | 'W_HUB_PATH'; readonly message: string } | undefined {
  if (/^[^/]+\.dkr[.-]ecr(-fips)?\./.test(registry)) {
    return { code: 'W_ECR_HOST', message: `${shownRegistry(registry)}: the ECS agent signs in to ECR itself; left out` }
  }
  if (registry.startsWith('docker.io/')) {
    return { code: 'W_HUB_PATH', message: `${shownRegistry(registry)}: the ECS agent uses one credential for all of Docker Hub, a path under it never matches; left out` }
  }
  return undefined
}

type Refuse = (problem: string, fix?: string) => ServiceError

function withoutScheme(name: string, refuse: Refuse): string {
  const scheme = /^[^:/]*:\/\//.exec(name)
  if (!scheme) return name
  if (!/^https?:\/\//i.test(name)) throw refuse('a registry\'s name has a scheme that is neither http:// nor https://')
  return name.slice(scheme[0].length)
}

/** What names an image, a URL or a pattern rather than a registry. */
function checkShape(bare: string, refuse: Refuse): void {
  const [authority = ''] = bare.split('/', 1)
  if (authority.includes('@')) {
    throw refuse(`a registry's name has a login before "@"${shown(authority.slice(authority.lastIndexOf('@') + 1))}`, 'write the host alone, and the login as "username" and "password"')
  }
  if (/[?#]/.test(bare)) throw refuse(`a registry's name has a "?" or "#" in it${shown(bare.split(/[?#]/, 1)[0] ?? '')}`)
  if (bare.includes('*')) {
    throw refuse(`a registry's name has a wildcard in it${shown(bare.replace(/^\*\.|\*/g, ''))}`, 'write each host by its name: the ECS agent compares keys as plain text')
  }
  if (/[[\]]/.test(authority) || /:.*:/.test(authority)) {
    throw refuse('a registry\'s name is an IPv6 literal or has two ports', 'write a host name; Docker takes no IPv6 literal in an image\'s name')
  }
  if (bare.includes('@')) throw refuse(`a registry's name has a digest or a login after "@"${shown(bare.split('@', 1)[0] ?? '')}`, IMAGE_FIX)
  if (/:[^/]*$/.test(bare.slice(authority.length)) || /:(?!\d{1,5}$)/.test(authority)) {
    throw refuse(`a registry's name has a tag, or a port that is no number, after ":"${shown(bare.slice(0, bare.lastIndexOf(':')))}`, IMAGE_FIX)
  }
}

const IMAGE_FIX = 'that names an image; write the registry, or the path of the repository without tag and digest'

/** The host in lower case, by docker's reference grammar for a domain; anything else matches no image. */
function checkHost(written: string, refuse: Refuse): string {
  const host = written.toLowerCase()
  const [domain = '', port] = host.split(':')
  if (host.length > 255 || !domain.split('.').every((label) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label))) throw refuse('a registry\'s name is not a host')
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) throw refuse(`a registry's port is not in 1 to 65535${shown(domain)}`)
  if (!host.includes('.') && port === undefined && host !== 'localhost') {
    // Shown as written: in lower case, a token in the registry's place may read as words.
    throw refuse(`a registry's name has neither domain nor port${shown(written)}; the ECS agent takes such an image to be on Docker Hub`)
  }
  return host
}

function checkPath(path: string, host: string, refuse: Refuse): string {
  const trimmed = path.replace(/^\/|\/+$/g, '')
  if (trimmed !== '' && (trimmed.length > 512 || !trimmed.split('/').every((part) => /^[A-Za-z0-9._-]+$/.test(part) && /[A-Za-z0-9]/.test(part)))) {
    throw refuse(`the path in a registry's name is not the path of a repository${shown(host)}`)
  }
  return trimmed
}

function shown(part: string): string {
  return isTame(part) ? `: ${part}` : ''
}
