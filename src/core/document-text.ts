import { isUtf8 } from 'node:buffer'
import { ServiceError } from '../errors.js'

/**
 * The text of a document: strict UTF-8, without its byte order mark.
 * @throws {ServiceError} E_ENCODING
 */
export function decodeDocument(content: Uint8Array, source: string): string {
  const utf16 = utf16Kind(content)
  if (utf16) {
    throw new ServiceError('E_ENCODING', `${source}: looks like ${utf16} (PowerShell redirect?); save as UTF-8`, {
      source, fix: 'save it as UTF-8, in PowerShell: … | Out-File -Encoding ascii FILE',
    })
  }
  if (content[0] === 0x1f && content[1] === 0x8b) {
    throw new ServiceError('E_ENCODING', `${source}: is gzip data, not UTF-8 text`, { source, fix: 'store the document itself, not compressed (gunzip)' })
  }
  if (!isUtf8(content)) {
    throw new ServiceError('E_ENCODING', `${source}: is not UTF-8 text`, { source, fix: 'save it as UTF-8; a binary secret must hold the document\'s own bytes' })
  }
  const text = Buffer.from(content).toString('utf8')
  return text.startsWith('\uFEFF') ? text.slice(1) : text
}

/** By the byte order mark, or by the zero that every second byte of ASCII text is then. */
function utf16Kind(content: Uint8Array): string | undefined {
  const [first, second] = content
  if (first === 0xff && second === 0xfe) return 'UTF-16LE'
  if (first === 0xfe && second === 0xff) return 'UTF-16BE'
  if (content.length < 2) return undefined
  if (first !== 0 && second === 0) return 'UTF-16LE'
  return first === 0 && second !== 0 ? 'UTF-16BE' : undefined
}
