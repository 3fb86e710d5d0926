import fc from 'fast-check'
import t from 'tap'
import { decodeBase64, encodeBase64 } from '../../src/core/base64.js'

t.test('bytes come back from every way of writing them', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    const text = encodeBase64(bytes)
    const unpadded = text.replace(/=+$/, '')
    const urlSafe = text.replaceAll('+', '-').replaceAll('/', '_')
    const wrapped = text.replace(/.{76}/g, '$&\r\n')
    for (const written of [text, unpadded, urlSafe, urlSafe.replace(/=+$/, ''), wrapped, ` ${text}\n`]) {
      const decoded = decodeBase64(written)
      if (!decoded.ok || !Buffer.from(bytes).equals(decoded.bytes) || decoded.normalised !== (written !== text)) throw new Error('differs')
    }
  }))
  t.end()
})

t.test('what Buffer.from would take and Go would not is refused at its place', (t) => {
  const refused: readonly (readonly [string, number])[] = [
    ['Y2k6czNjcjN!', 12], ['a2vp...', 5], ['Y2k6 czNjcjN0', 5], ['Y2k6=czN', 5], ['Y2k6cz==NjcjN0', 7], ['Y2k6c', 6], ['Y2k6cz=', 7], ['Y2k6czN==', 8],
    ['Y2k6czNj====', 9], ['ab+c-d==', 5], ['ab_c/d==', 5], ['  Y2k!', 6], ['é', 1], ['====', 1], ['Y2k6\tczNj', 5],
  ]
  for (const [text, position] of refused) t.same(decodeBase64(text), { ok: false, position }, text)
  t.end()
})

t.test('trailing bits that Go tolerates are tolerated and written right', (t) => {
  t.match(decodeBase64('dTq='), { ok: true, normalised: true })
  t.equal(encodeBase64('u:✓'), 'dTrinJM=')
  t.end()
})
