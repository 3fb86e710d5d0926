import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { SETTINGS } from '../src/settings.js'

const PROJECT = join(import.meta.dirname, '..')
const readme = readFileSync(join(PROJECT, 'README.md'), 'utf8')

void t.test('the README has a row for each setting, with its default', async (t) => {
  for (const [name, row] of Object.entries(SETTINGS)) {
    const line = readme.split('\n').find((text) => text.startsWith(`| \`${name}\` |`))
    t.ok(line, name)
    if ('default' in row && row.default !== '') t.match(line?.split('|')[2], `\`${row.default}\``, name)
  }
})

void t.test('the README tells the fix of each error, under its exit status', async (t) => {
  const source = readFileSync(join(PROJECT, 'src/errors.ts'), 'utf8')
  for (const [, code = '', exit = ''] of source.matchAll(/^ {2}(E_\w+): \{ exit: (\d+)/gm)) {
    t.ok(readme.split('\n').some((line) => line.startsWith(`| ${exit} |`) && line.includes(`\`${code}\``)), code)
  }
})

void t.test('each file that the README names is there', async (t) => {
  for (const [, path = ''] of readme.matchAll(/`((?:scripts|cloudformation|systemd|upstart|src|test)\/[\w./-]+)`/g)) t.ok(readFileOrFolder(path), path)
})

function readFileOrFolder(path: string): boolean {
  try {
    readFileSync(join(PROJECT, path))
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR'
  }
}
