import { isIPv4 } from 'node:net'
import { HUB_KEY } from '../core/registry-name.js'
import { ProbeEnd } from './finding.js'

// dockerd's own translation (moby, registry/config.go: DefaultV2Registry).
const HUB_HOST = 'registry-1.docker.io'

/** The host, with its port, that answers for a registry: `acme.jfrog.io/team-a` is asked at `acme.jfrog.io`. */
export function apiHost(registry: string): string {
  return registry === HUB_KEY ? HUB_HOST : registry.split('/', 1)[0] ?? ''
}

/** @throws {ProbeEnd} where `host` is not one */
export function apiUrl(protocol: 'https:' | 'http:', host: string): URL {
  const url = /^[\w.:[\]-]+$/.test(host) && URL.canParse(`${protocol}//${host}/v2/`) ? new URL(`${protocol}//${host}/v2/`) : undefined
  if (url === undefined) {
    // Not shown: in a broken ecs.config this may be `user:password@host`.
    throw new ProbeEnd('not-a-registry', "the registry's name is not the name of a host: write HOST or HOST:PORT")
  }
  return url
}

/** Whether a credential may travel to this URL: over TLS, inside this machine, or where the operator said that it may. */
export function mayCarryCredential({ protocol, hostname, host }: URL, insecure: readonly string[]): boolean {
  if (protocol === 'https:') return true
  if (protocol !== 'http:') return false
  const allowed = insecure.map((name) => name.toLowerCase())
  return isLoopback(hostname) || allowed.includes(host) || allowed.includes(hostname)
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || (isIPv4(hostname) && hostname.startsWith('127.'))
}
