/*
 * Strict base64 of our own: Buffer.from takes junk, url-safe text and any padding without a word, and Go, in which the ECS agent is written, refuses them.
 */

/** `normalised`: not as `encodeBase64` writes it (wrapped, unpadded, url-safe), though its meaning is clear. */
export type DecodedBase64 =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly normalised: boolean }
  | { readonly ok: false; /** 1-based character that cannot be. */ readonly position: number }

/** What the text means, if it is base64 in the standard or the url-safe alphabet, padded or not, on one line or wrapped. */
export function decodeBase64(text: string): DecodedBase64 {
  const leading = text.length - text.trimStart().length
  const trimmed = text.trim()
  // Both alphabets in one text means that it was damaged, not that it was written by another tool.
  const urlSafe = /[-_+/]/.exec(trimmed)?.[0]?.match(/[-_]/) != null
  const junk = (urlSafe ? /[^A-Za-z0-9_\r\n=-]/ : /[^A-Za-z0-9+/\r\n=]/).exec(trimmed)
  if (junk) return { ok: false, position: leading + junk.index + 1 }
  const padding = /=[=\r\n]*/.exec(trimmed)
  if (padding && padding.index + padding[0].length < trimmed.length) return { ok: false, position: leading + padding.index + 1 }
  const compact = trimmed.replace(/[\r\n]/g, '')
  const body = compact.replace(/=+$/, '')
  const pad = compact.length - body.length
  if (body.length % 4 === 1 || (pad > 0 && pad !== (4 - (body.length % 4)) % 4)) {
    return { ok: false, position: leading + (padding ? padding.index : trimmed.length) + 1 }
  }
  const bytes = Buffer.from(body.replace(/-/g, '+').replace(/_/g, '/'), 'base64')
  return { ok: true, bytes, normalised: encodeBase64(bytes) !== text }
}

/** Standard alphabet, padded, one line: what Go's base64.StdEncoding reads. */
export function encodeBase64(content: Uint8Array | string): string {
  return Buffer.from(content as Uint8Array).toString('base64')
}
