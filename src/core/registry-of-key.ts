import { canonicalRegistry } from './registry-name.js'
import { shownKey } from './key-name.js'

/** The registry that a key of ECS_ENGINE_AUTH_DATA stands for: of `r.io/foo/`, `r.io/foo:` and `r.io/foo@`, the boundary keys of one path, `r.io/foo`. */
export function registryOfKey(key: string): string {
  try {
    return canonicalRegistry(/\/.*[:@]$/.test(key.replace(/^https?:\/\//i, '')) ? key.slice(0, -1) : key)
  } catch {
    return shownKey(key)
  }
}
