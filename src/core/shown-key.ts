/**
 * A registry key of a credential document as a message may show it. A person who is in a hurry pastes a token or `user:password@host` where the name
 * belongs, so only what has the form of a registry (or is a plain word such as `auths`) is shown.
 */
export function shownKey(key: string): string {
  return key.length <= 255 && (REGISTRY.test(key) || /^[A-Za-z]{1,20}$/.test(key)) ? key : '[redacted]'
}

// Host with a dot, `localhost` or a port, then perhaps a path; `:` or `@` at its end is how a path key is given its boundary.
const LABEL = '[A-Za-z0-9_-]{1,63}'
const REGISTRY = new RegExp(
  `^(?:https?://)?(?:${LABEL}(?:\\.${LABEL})+(?::\\d{1,5})?|localhost(?::\\d{1,5})?|${LABEL}:\\d{1,5}|\\[[0-9A-Fa-f:]{2,45}\\](?::\\d{1,5})?)(?:/[\\w./-]*)?[:@]?$`,
  'i',
)
