import t from 'tap'
import { clip, columnsOf, painter, plain, wrap } from '../src/terminal.js'

void t.test('colour is for a terminal that wants it', async (t) => {
  t.equal(painter({ isTTY: true }, {})('red', 'x'), '\u001b[31mx\u001b[0m')
  for (const [output, environment] of [[{}, {}], [{ isTTY: true }, { NO_COLOR: '1' }], [{ isTTY: true }, { TERM: 'dumb' }]] as const) t.equal(painter(output, environment)('red', 'x'), 'x')
  t.equal(painter({ isTTY: true }, { NO_COLOR: '' })('red', 'x'), '\u001b[31mx\u001b[0m', 'an empty NO_COLOR is none (no-color.org)')
  t.equal(plain('red', 'x'), 'x')
})

void t.test('only a terminal has columns, and one that does not say how many has 80', async (t) => {
  t.equal(columnsOf({ isTTY: true, columns: 40 }), 40)
  t.equal(columnsOf({ isTTY: true, columns: 0 }), 80)
  t.equal(columnsOf({ columns: 40 }), undefined)
})

void t.test('lines break at spaces, hang by their indent, and keep the spaces within', async (t) => {
  t.strictSame(wrap('one two three four', 12, 0, 2), ['one two', '  three four'])
  t.strictSame(wrap('  a  b', 40), ['  a  b'])
  t.strictSame(wrap('', 40), [''])
  t.strictSame(wrap('as long as it may be', undefined), ['as long as it may be'])
  t.strictSame(wrap('first line is shorter', 20, 14, 14), ['first', ' '.repeat(14) + 'line is', ' '.repeat(14) + 'shorter'])
})

// Regression: `NAME  VERDICT        REASON` left blanks at the end of a line and at the beginning of the next, and an indent became a line of its own.
void t.test('spaces that line columns up are dropped where a line breaks in them', async (t) => {
  t.same(wrap('service  failed         three tasks could not', 20, 0, 4), ['service  failed', '    three tasks', '    could not'])
  t.same(wrap('    a-word-of-twenty-one, b', 20, 0, 4), ['    a-word-of-twenty-one,', '    b'])
  t.same(wrap('', 20), [''])
})

void t.test('a word that is longer than a line stays whole, for copying', async (t) => {
  const arn = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/registry-AbCdEf'
  t.strictSame(wrap(`secret ${arn} version 1`, 40, 14), ['secret', `${' '.repeat(14)}${arn}`, `${' '.repeat(14)}version 1`])
  t.strictSame(wrap(arn, 40), [arn])
})

void t.test('escape codes take no room', async (t) => {
  const red = painter({ isTTY: true }, {})
  t.strictSame(wrap(`${red('red', 'refused')} by it`, 13), [`${red('red', 'refused')} by it`])
})

void t.test('what is clipped says so', async (t) => {
  t.equal(clip('registry', 8), 'registry')
  t.equal(clip('registry', 5), 'regi…')
})
