import t from 'tap'
import { screen } from '../../src/doctor/screen.js'
import { painter, plain } from '../../src/terminal.js'
import type { CheckResult } from '../../src/doctor/check.js'

const LONG = 'https://registry.example.com/a-name-that-is-longer-than-any-narrow-terminal-has-columns/v2'
const RESULTS: readonly CheckResult[] = [
  { id: 'file-source', verdict: 'broken', message: 'ecs.config does not hold\nwhat the source holds', fix: 'ecs-regcred sync --force' },
  { id: 'init-system', verdict: 'ok', message: 'systemd runs the ECS agent as ecs, and this goes on for much longer than eighty columns have room' },
  { id: 'docker-group', verdict: 'warning', message: `someone at ${LONG} is in group docker`, fix: 'if nobody needs that: gpasswd -d ec2-user docker; gpasswd -d somebody-else docker' },
  { id: 'aws', verdict: 'skipped', message: 'the source is a file' },
]
const lines = (text: string): string[] => text.slice(0, -1).split('\n')

t.test('no terminal: one line a result and one a fix, whole, without colour', async (t) => {
  t.strictSame(lines(screen(RESULTS, { columns: undefined, paint: plain })), [
    'ok       init-system: systemd runs the ECS agent as ecs, and this goes on for much longer than eighty columns have room',
    'skipped  aws: the source is a file',
    `warning  docker-group: someone at ${LONG} is in group docker`,
    '         fix: if nobody needs that: gpasswd -d ec2-user docker; gpasswd -d somebody-else docker',
    'broken   file-source: ecs.config does not hold; what the source holds',
    '         fix: ecs-regcred sync --force',
    '',
    '1 broken, 1 warning, 1 ok, 1 skipped',
  ])
})

for (const columns of [20, 30, 49, 50, 80, 132]) {
  t.test(`${columns} columns hold every line but a fix and a longer word, which stay whole for copying`, async (t) => {
    const text = screen(RESULTS, { columns, paint: plain })
    for (const line of lines(text)) t.ok([...line].length <= columns || /^(\w+ +)?\S+$/.test(line.trim()) || line.trim().startsWith('fix: '), line)
    for (const { fix } of RESULTS) if (fix !== undefined) t.ok(lines(text).some((line) => line.trim() === `fix: ${fix}`), fix)
    t.match(text, LONG)
    const squeezed = text.replaceAll(/\s/g, '')
    for (const wanted of [LONG, 'gpasswd -d somebody-else docker', 'what the source holds', 'ecs-regcred sync --force']) t.ok(squeezed.includes(wanted.replaceAll(/\s/g, '')), wanted)
    t.equal(lines(text).filter((line) => line.startsWith('ok ')).length, 1)
  })
}

t.test('colour marks the verdict and nothing else', async (t) => {
  const coloured = screen(RESULTS, { columns: 80, paint: painter({ isTTY: true }, {}) })
  t.match(coloured, '\u001b[31mbroken \u001b[0m  file-source')
  t.equal(coloured.replaceAll(/\u001b\[\d+m/g, ''), screen(RESULTS, { columns: 80, paint: plain }))
})

t.test('nothing broken is said in so many words', async (t) => {
  t.match(lines(screen([], { columns: 80, paint: plain })).at(-1), /^nothing is broken/)
})
