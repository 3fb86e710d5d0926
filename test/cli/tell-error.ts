import t from 'tap'
import { runCommandLine } from '../fixtures/command-line.js'

const WRONG = { REGCRED_INTERVALL: '5m', REGCRED_PROBE: 'maybe' }

void t.test('an error is told with its code; each further problem has a line of its own', async (t) => {
  const { status, stderr } = await runCommandLine(['sync'], { environment: WRONG })
  t.equal(status, 78)
  t.equal(stderr, [
    'ecs-regcred: REGCRED_INTERVALL (environment) is not a setting; did you mean REGCRED_INTERVAL?',
    '  REGCRED_PROBE=maybe: write on or off',
    '  (E_SETTINGS, exit status 78)',
    '',
  ].join('\n'))
})

void t.test('the fix stands on a line of its own', async (t) => {
  t.equal((await runCommandLine(['snyc'])).stderr, 'ecs-regcred: there is no command "snyc"; did you mean sync?\n  fix: ecs-regcred --help\n  (E_USAGE, exit status 64)\n')
})

void t.test('on a terminal the fix is one line, for copying', async (t) => {
  const { stderr } = await runCommandLine(['secret', 'put', '--password-stdin', '--secret-id', 'a', '--registry', 'ghcr.io', '--username', 'ci'], { terminal: { columns: 20, rows: 24 } })
  t.match(stderr, /\n {2}\u001b\[1mfix\u001b\[0m: was the pipe before it empty\? Nothing was put\n/)
})

void t.test('on a terminal it is coloured and fits, unless NO_COLOR says otherwise', async (t) => {
  const terminal = { columns: 40, rows: 24 }
  const { stderr } = await runCommandLine(['sync'], { environment: WRONG, terminal })
  t.match(stderr, '\u001b[31mecs-regcred\u001b[0m: REGCRED_INTERVALL')
  t.same(stderr.replaceAll(/\u001b\[\d+m/g, '').split('\n').filter((line) => line.length > 40 && !line.startsWith('  fix: ')), [])
  t.notMatch((await runCommandLine(['sync'], { environment: { ...WRONG, NO_COLOR: '1' }, terminal })).stderr, '\u001b')
})
