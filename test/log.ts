import { openSync, readFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { readableLine } from '../src/log.js'
import { painter } from '../src/terminal.js'

const LINE = '{"level":"warn","time":"2026-01-02T03:04:05.678Z","event":"source.failed","source":"secret prod/registry","registries":["a.example.com","b.example.com"],"durationMs":12,"code":"E_IAM","fix":"do this","msg":"denied"}'

void t.test('a line for people: time, level, event, message, facts, and the fix below', async (t) => {
  t.equal(readableLine(LINE), '03:04:05 warn  source.failed  denied  source="secret prod/registry" registries=a.example.com,b.example.com durationMs=12 code=E_IAM\n               fix: do this\n')
  t.equal(readableLine('{"level":"info","time":"2026-01-02T03:04:05.678Z","msg":"told"}'), '03:04:05 info  told\n')
})

void t.test('on a terminal the level is coloured, and time and facts step back', async (t) => {
  const line = readableLine(LINE, painter({ isTTY: true }, {}))
  t.match(line, '\u001b[2m03:04:05\u001b[0m \u001b[33mwarn \u001b[0m \u001b[1msource.failed\u001b[0m  denied  \u001b[2msource=')
  t.equal(line.replaceAll(/\u001b\[\d+m/g, ''), readableLine(LINE), 'colour alone')
})

void t.test('JSON lines for machines, and fields that must not be there are taken out', async (t) => {
  const path = join(t.testdir(), 'log')
  const program = "import('./dist/log.js').then(({ createLogger }) => createLogger('info', 1).info({ event: 'x', password: 'canary', deep: { auth: 'canary' } }, 'told'))"
  spawnSync(process.execPath, ['-e', program], { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', openSync(path, 'w'), 'inherit'] })
  const text = readFileSync(path, 'utf8')
  t.match(JSON.parse(text), { level: 'info', event: 'x', msg: 'told', time: /^\d{4}-\d\d-\d\dT.*Z$/ })
  t.notMatch(text, /canary/)
})

// Regression: the error of the write ended whatever wrote the line, the service included, as a bug.
void t.test('lines that cannot be written are lost, and end nothing', async (t) => {
  const program = `import('./dist/log.js').then(async ({ createLogger }) => {
    const { closeSync, openSync } = await import('node:fs')
    const log = createLogger('info', 1)
    for (const line of [1, 2, 3]) log.info('no room for ' + line)
    closeSync(1)
    openSync(process.argv[1], 'w')
    log.info('there is room again')
    log.info('after it')
  })`
  const path = join(t.testdir(), 'log')
  const { status, stderr } = spawnSync(process.execPath, ['-e', program, path], {
    cwd: join(import.meta.dirname, '..'), stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'], encoding: 'utf8', timeout: 20_000,
  })
  t.equal(status, 0, stderr)
  t.same(readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line).msg), ['there is room again', 'after it'])
})
