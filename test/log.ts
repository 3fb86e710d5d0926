import { openSync, readFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { readableLine } from '../src/log.js'

void t.test('a line for people: time, level, event, message, facts, and the fix below', async (t) => {
  t.equal(
    readableLine('{"level":"warn","time":"2026-01-02T03:04:05.678Z","event":"source.failed","source":"secret prod/registry","registries":["a.example.com"],"fix":"do this","msg":"denied"}'),
    '03:04:05  warn   source.failed  denied  (source=secret prod/registry registries=["a.example.com"])\n          fix: do this\n',
  )
})

void t.test('JSON lines for machines, and fields that must not be there are taken out', async (t) => {
  const path = join(t.testdir(), 'log')
  const program = "import('./dist/log.js').then(({ createLogger }) => createLogger('info', 1, false).info({ event: 'x', password: 'canary', deep: { auth: 'canary' } }, 'told'))"
  spawnSync(process.execPath, ['-e', program], { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', openSync(path, 'w'), 'inherit'] })
  const text = readFileSync(path, 'utf8')
  t.match(JSON.parse(text), { level: 'info', event: 'x', msg: 'told', time: /^\d{4}-\d\d-\d\dT.*Z$/ })
  t.notMatch(text, /canary/)
})
