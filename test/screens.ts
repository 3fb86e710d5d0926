/** The screens in the README are what the program shows. `node scripts/screens.mjs` writes them anew. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CANARY } from './fixtures/doctor-machine.js'
import { makeScreens, type Screen } from './fixtures/screens.js'

const README = join(import.meta.dirname, '../README.md')
const [START, END] = ['<!-- screens:start -->', '<!-- screens:end -->']

void t.test('the screens in the README are what the program shows', async (t) => {
  const section = render(await makeScreens(t))
  t.notMatch(section, CANARY)
  t.notMatch(section, /127\.0\.0\.1|\/tmp\//, 'nothing of this machine is shown')
  const readme = readFileSync(README, 'utf8')
  const [before = '', rest] = readme.split(START)
  const [now, after] = rest?.split(END) ?? []
  if (now === undefined || after === undefined) throw new Error(`README.md has no ${START} … ${END}`)
  if (process.env['SCREENS'] === 'write') writeFileSync(README, `${before}${START}\n${section}${END}${after}`)
  else t.equal(now, `\n${section}`, 'node scripts/screens.mjs brings the README up to date')
})

/** The first stands open, the others fold. */
function render([first, ...others]: readonly Screen[]): string {
  const block = ({ command, shown }: Screen): string => `\`\`\`console\n$ ${command}\n${shown}\`\`\`\n`
  return `${first === undefined ? '' : block(first)}\n${others.map((screen) => `<details><summary>${screen.name}</summary>\n\n${block(screen)}\n</details>\n`).join('\n')}`
}
