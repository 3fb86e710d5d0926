import type { Credential } from '../core/credential.js'

/** No piece of a secret as long as this gets out: a server may echo a token cut short, or masked in its middle. */
const PIECE = 6
const MAX_SHOWN = 200

/** Every way in which a server may echo the password: as it is, for a URL, in base64 (the Authorization header's own), in JSON, in HTML. */
export function secretForms({ username, password }: Credential): string[] {
  const plain = password.reveal()
  const base64 = [plain, `${username}:${plain}`].map((text) => Buffer.from(text).toString('base64'))
  const html = plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&#34;').replaceAll("'", '&#39;')
  return [plain, encodeURIComponent(plain), new URLSearchParams({ p: plain }).toString().slice(2), JSON.stringify(plain).slice(1, -1), html,
    ...base64, ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')), Buffer.from(plain).toString('hex')]
}

/** A server's words made safe to print: one line, at most 200 characters, nothing that steers a terminal. Undefined where they hold a piece of a secret. */
export function withoutSecrets(text: string, secrets: readonly string[]): string | undefined {
  // \p{C}: control characters, and those that turn the writing direction or show as nothing.
  const words = text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').replace(/\s+/g, ' ').trim()
  const shown = words.length > MAX_SHOWN ? `${words.slice(0, MAX_SHOWN - 1)}…` : words
  return shown === '' || secrets.some((secret) => sharesPiece(shown.toLowerCase(), secret.toLowerCase())) ? undefined : shown
}

function sharesPiece(text: string, secret: string): boolean {
  if (secret === '') return false
  const length = Math.min(PIECE, secret.length)
  for (let start = 0; start + length <= text.length; start++) {
    if (secret.includes(text.slice(start, start + length))) return true
  }
  return false
}
