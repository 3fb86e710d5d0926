import { readFileSync } from 'node:fs'
import t from 'tap'
import { readSystemdEnvironment } from '../../src/core/systemd-environment.js'

type Answer = { readonly __ignored_and_logged__?: readonly string[]; readonly __file_rejected__?: number } & Record<string, unknown>
type Vector = { readonly name: string; readonly file_b64: string; readonly systemd219: Answer; readonly systemd252: Answer }
const vectors = JSON.parse(readFileSync(new URL('fixtures/ecs-agent-1.105.1.json', import.meta.url), 'utf8')) as { envfile: readonly Vector[] }

for (const version of [219, 252] as const) {
  t.test(`reads what systemd ${version} was seen to read`, async (t) => {
    for (const vector of vectors.envfile) {
      const { __ignored_and_logged__: logged, __file_rejected__: rejected, ...environment } = vector[`systemd${version}`]
      const reading = readSystemdEnvironment(Buffer.from(vector.file_b64, 'base64'), version)
      t.same(Object.fromEntries(reading.environment), environment, vector.name)
      t.same(reading.logged, logged ?? [], `${vector.name}: logged`)
      t.equal(reading.rejected, rejected !== undefined, `${vector.name}: rejected`)
    }
  })
}

t.test('lines join where systemd joins them', async (t) => {
  const read = (file: string, version: 219 | 252 = 252) => Object.fromEntries(readSystemdEnvironment(Buffer.from(file), version).environment)
  t.same(read('# note \\\nK=v\nL=w\n'), { L: 'w' }, 'a comment that ends in a backslash takes the next line')
  t.same(read('K=a\\\nb\n'), { K: 'ab' })
  t.same(read('K=1\rL=2\n'), { K: '1', L: '2' }, 'a lone carriage return ends a line')
  t.same(read('K="a\nb" c \nL=1'), { K: 'a\nbc', L: '1' }, 'quotes span lines, and text after them is added')
  t.same(read('K=\'{"p":"a\\"b"}\'\n', 219), { K: '{"p":"a"b"}' })
  t.same(read('K=\'{"p":"a\\"b"}\'\n', 252), { K: '{"p":"a\\"b"}' })
  t.same(read('K="{\\"a\\":1}"\n'), { K: '{"a":1}' })
  t.same(read('K=a\\ \nL=\n'), { K: 'a ', L: '' }, 'an escaped space stays')
  t.same(read('K="a\\x"\n'), { K: 'a\\x' })
  t.same(read('K="a\\x"\n', 219), { K: 'ax' })
})

// Regression: a file with one of these was read, while systemd's unichar_is_valid() refuses it and so the whole file.
t.test('a code point that is no character drops the file as well', async (t) => {
  for (const code of [0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1fffe, 0x10ffff]) {
    t.match(readSystemdEnvironment(Buffer.from(`A=1\nB=x${String.fromCodePoint(code)}\n`), 252), { rejected: true }, code.toString(16))
  }
  for (const code of [0xfdcf, 0xfdf0, 0xfffd, 0xfeff, 0x1fffd]) t.match(readSystemdEnvironment(Buffer.from(`B=x${String.fromCodePoint(code)}y\n`), 252), { rejected: false }, code.toString(16))
})

t.test('a value that is no UTF-8 drops the file and is logged', async (t) => {
  const reading = readSystemdEnvironment(Buffer.from('A=1\nB=caf\xe9\n', 'latin1'), 252)
  t.match(reading, { rejected: true, logged: ['B=caf\ufffd'] })
  t.equal(reading.environment.size, 0)
})
