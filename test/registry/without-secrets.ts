import t from 'tap'
import { Redacted } from '../../src/core/redacted.js'
import { secretForms, withoutSecrets } from '../../src/registry/without-secrets.js'

const password = 'c4n4ry&pass word/+"1'
const secrets = secretForms({ username: 'ci', password: new Redacted(password) })

t.test('plain words pass', async (t) => {
  t.equal(withoutSecrets('incorrect username or password', secrets), 'incorrect username or password')
})

for (const [form, echoed] of [
  ['as it is', password],
  ['in other case', password.toUpperCase()],
  ['for a URL', encodeURIComponent(password)],
  ['for a form', 'c4n4ry%26pass+word'],
  ['in base64', Buffer.from(password).toString('base64')],
  ['as in the Authorization header', Buffer.from(`ci:${password}`).toString('base64')],
  ['in base64 for URLs', Buffer.from(password).toString('base64url')],
  ['in JSON', JSON.stringify(password)],
  ['in HTML', 'c4n4ry&amp;pass word'],
  ['in hex', Buffer.from(password).toString('hex')],
  ['cut short', `${password.slice(0, 6)}…`],
  ['masked at its ends', `***${password.slice(4, 12)}***`],
  ['broken by a line end, which is a space here', password.replace(' ', '\n')],
] as const) {
  t.test(`words that hold the password ${form} are not shown at all`, async (t) => {
    t.equal(withoutSecrets(`login of ci with ${echoed} failed`, secrets), undefined)
  })
}

t.test('a password that the cut leaves a few characters of is not shown', async (t) => {
  t.equal(withoutSecrets(`${'x'.repeat(190)}${password}`, secrets), undefined)
})

t.test('a short password hides words that hold all of it', async (t) => {
  t.equal(withoutSecrets('no abc here', secretForms({ username: 'ci', password: new Redacted('abc') })), undefined)
})

t.test('nothing steers the terminal, and two hundred characters are enough', async (t) => {
  t.equal(withoutSecrets('a\u001b[31mb\r\nc\u202ed\u0000e', []), 'a [31mb c d e')
  t.equal(withoutSecrets('y'.repeat(300), [])?.length, 200)
  t.equal(withoutSecrets(' \n ', []), undefined)
})
