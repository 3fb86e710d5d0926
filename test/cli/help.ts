import t from 'tap'
import { optionName, SETTINGS, type SettingName } from '../../src/settings.js'
import { runCommandLine } from '../fixtures/command-line.js'

const COMMANDS = ['run', 'sync', 'status', 'doctor', 'check', 'explain', 'probe', 'rollback', 'secret put', 'rollout', 'fleet']
const help = async (command: string, options: Parameters<typeof runCommandLine>[1] = {}): Promise<string> => (await runCommandLine([...command.split(' ').filter(Boolean), '--help'], options)).stdout

void t.test("the service's help has every setting once, under a heading, with its default", async (t) => {
  const text = await help('run')
  for (const [name, row] of Object.entries(SETTINGS)) {
    const lines = text.split('\n').filter((line) => line.startsWith(`  --${optionName(name as SettingName)} `))
    t.equal(lines.length, 1, name)
    if ('default' in row && row.default !== '') t.match(lines[0], `(default ${row.default})`, name)
  }
  t.match(text, /^Settings: the source$/m)
})

void t.test('commands for operators show only the settings that bear on them', async (t) => {
  const shown = async (command: string): Promise<string[]> => Object.keys(SETTINGS).map((name) => `--${optionName(name as SettingName)}`).filter((option) => new RegExp(`^  ${option} `, 'm').test(text[command] ?? ''))
  const text: Record<string, string> = Object.fromEntries(await Promise.all(COMMANDS.map(async (command) => [command, await help(command)] as const)))
  t.same(await shown('rollout'), [])
  t.same(await shown('fleet'), ['--secret-id'])
  t.same(await shown('secret put'), ['--secret-id', '--registry', '--username', '--probe', '--probe-ca-file', '--probe-insecure'])
  t.notMatch(text['rollout'], /REGCRED_/)
})

for (const columns of [40, 69, 70, 80]) {
  void t.test(`a terminal of ${columns} columns is not overrun, but by the example, which is for copying`, async (t) => {
    for (const command of ['', ...COMMANDS]) {
      const lines = (await help(command, { terminal: { columns, rows: 24 }, environment: { NO_COLOR: '1' } })).split('\n')
      t.same(lines.filter((line) => [...line].length > columns && !line.startsWith('Example: ') && !/^ *\S+$/.test(line)), [], command)
    }
  })
}

void t.test('piped it is plain, and a line an option', async (t) => {
  const text = await help('sync')
  t.notMatch(text, '\u001b')
  t.match(text, /^ {2}--timeout DURATION +bound on the whole command .*until then\)$/m)
  t.match(await help('sync', { terminal: { columns: 80, rows: 24 } }), '\u001b[1m--timeout\u001b[0m')
})
