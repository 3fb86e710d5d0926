import { ServiceError } from '../errors.js'
import { encodeBase64 } from './base64.js'
import type { Credential, Dockercfg, Registries, Warning } from './credential.js'
import { shownRegistry } from './key-name.js'
import { HUB_KEY, leftOut } from './registry-name.js'

/*
 * The ECS agent looks for the longest key that an image's text begins with, wherever that ends: `r.io/team` also serves `r.io/teamwork/app`. The user
 * means whole path components. So a path becomes the keys that carry its boundary (`/` for what is below it, `:` and `@` for the repository
 * itself), and the longest of them that an image begins with is then the one meant. A host with path keys alone would be served at random
 * (dockerauth.go, GetAuthconfig), so it gets a key of its own too.
 */

/**
 * What the ECS agent shall hold so that it picks, for every image with a tag or a digest, what `registries` mean.
 * @throws {ServiceError} E_EMPTY where nothing is left, unless that is allowed
 */
export function toDockercfg(
  registries: Registries, options: { readonly allowEmpty?: boolean } = {},
): { readonly dockercfg: Dockercfg; readonly warnings: readonly Warning[] } {
  const warnings: Warning[] = []
  const dockercfg = new Map<string, Credential>()
  for (const [registry, credential] of inOrder(registries)) {
    const left = leftOut(registry)
    if (left) warnings.push(left)
    else for (const key of keysOf(registry)) dockercfg.set(key, credential)
  }
  for (const [host, first] of hostsWithoutKey(dockercfg, registries)) {
    const credential = registries.get(first)
    if (credential) dockercfg.set(host, credential)
    warnings.push({
      code: 'W_BARE_HOST',
      message: `${shownRegistry(host)} has keys for paths only, and the ECS agent would serve its other images at random; they get the entry of ${shownRegistry(first)}. Add one for the host to choose`,
    })
  }
  if (dockercfg.size === 0 && !options.allowEmpty) {
    const reasons = warnings.map(({ message }) => message).join('; ')
    throw new ServiceError('E_EMPTY', `nothing remains for the ECS agent: ${reasons || 'no registry is named'}`, {
      fix: 'add a registry that the ECS agent needs a credential for; for ECR alone this service is not needed',
    })
  }
  return { dockercfg, warnings }
}

/**
 * The value of ECS_ENGINE_AUTH_DATA: one line, without a space, a quote at its ends or a backslash, so that ecs-init, systemd and docker read the same.
 * @throws {ServiceError} E_TOO_BIG
 */
export function renderAuthData(dockercfg: Dockercfg): string {
  const entries = inOrder(dockercfg).map(([key, { username, password }]) => {
    // Canonical names need no escape. One that did would be read in two ways, so it must not be written at all.
    if (!/^[\w.:/@-]+$/.test(key)) throw new ServiceError('E_BUG', 'a registry\'s key would need an escape in ecs.config')
    return `"${key}":{"auth":"${encodeBase64(`${username}:${password.reveal()}`)}"}`
  })
  const data = `{${entries.join(',')}}`
  if (data.length > MAX_AUTH_DATA) {
    throw new ServiceError('E_TOO_BIG', `the credentials of ${dockercfg.size} keys come to ${data.length} bytes, and an environment variable holds ${MAX_AUTH_DATA}`, {
      fix: 'keep the registries that this machine needs; a path costs three keys, a host one',
    })
  }
  return data
}

/**
 * What the user means for an image: the longest name that is the image's own or a parent path of it. Undefined: no credential, an ECR image included.
 * `key` is the registry's canonical name.
 */
export function meantCredential(registries: Registries, image: string): { readonly key: string; readonly credential: Credential } | undefined {
  const name = image.replace(/@.*$/s, '').replace(/:[^/]*$/, '')
  const [first = ''] = name.split('/', 1)
  const isHub = first === name || !(/[.:]/.test(first) || first === 'localhost') || HUB_IMAGE_HOSTS.has(first)
  for (let key = isHub ? HUB_KEY : name; key !== ''; key = isHub ? '' : parentOf(key)) {
    const credential = registries.get(key)
    if (credential && !leftOut(key)) return { key, credential }
  }
  return undefined
}

/** Of the 131,072 bytes that Linux gives one string of an environment (MAX_ARG_STRLEN): less the name, the `=` and the final NUL. */
const MAX_AUTH_DATA = 131_050

/** The hosts by which an image of Docker Hub may be named. */
const HUB_IMAGE_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

function keysOf(registry: string): string[] {
  return registry === HUB_KEY || !registry.includes('/') ? [registry] : [`${registry}/`, `${registry}:`, `${registry}@`]
}

/** Hosts that have keys for paths only, each with the name whose entry it shall repeat: its shortest, which is the nearest to the host itself. */
function hostsWithoutKey(dockercfg: Dockercfg, registries: Registries): ReadonlyMap<string, string> {
  const hosts = new Map<string, string>()
  const paths = [...registries.keys()].filter((name) => name !== HUB_KEY && name.includes('/') && dockercfg.has(`${name}/`))
  for (const name of paths.sort((a, b) => a.length - b.length || (a < b ? -1 : 1))) {
    const [host = ''] = name.split('/', 1)
    if (!registries.has(host) && !hosts.has(host)) hosts.set(host, name)
  }
  return hosts
}

function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('/')))
}

/** By key, in the order of their characters. */
function inOrder<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}
