/** One way of logging in that a server offers: `Bearer realm="…",service="…"`. */
export type Challenge = {
  /** In lower case. */
  readonly scheme: string
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

// A word; then, if `=` follows, a quoted or a plain value. A word without `=` begins a challenge (RFC 9110, 11.6.1).
const WORD = /[\s,]*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y

/**
 * The challenges of a WWW-Authenticate header, in order. Several may stand in one header, and a comma or a space in quotes separates nothing:
 * `Bearer realm="https://r/token",scope="repository:a:pull,push", Basic realm="r"`. What cannot be read is left out, with all that follows.
 */
export function parseChallenges(header: string | undefined): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  for (const [text, word = '', quoted, plain] of (header ?? '').matchAll(new RegExp(WORD, 'gy'))) {
    if (!text.includes('=')) challenges.push({ scheme: word.toLowerCase(), parameters: new Map() })
    const parameters = challenges.at(-1)?.parameters
    const name = word.toLowerCase()
    if (text.includes('=') && parameters?.has(name) === false) parameters.set(name, quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '')
  }
  return challenges
}
