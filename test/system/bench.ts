/** The benchmarks and the simulated fleet, briefly: that they run and say what they should. No time is asserted. */
import t from 'tap'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { buildRelease, repository, tarballName } from './fixtures/release.js'

const run = async (...args: string[]): Promise<string> => (await promisify(execFile)(process.execPath, args, { cwd: repository, timeout: 240_000 })).stdout

t.test('each benchmark gives its figures of the release and of the plain build', async (t) => {
  const tarball = join(buildRelease('x64'), tarballName('x64'))
  const stdout = await run('scripts/bench.mjs', '--brief', '--release', tarball)
  for (const program of ['release', 'build']) {
    t.match(stdout, new RegExp(`^\\| ${program}, a local file: private memory after .* \\| [\\d.]+ MiB`, 'm'))
    t.match(stdout, new RegExp(`^\\| ${program}, file: start to service.ready \\| [\\d.,]+ ms`, 'm'))
    t.match(stdout, new RegExp(`^\\| ${program}: file change, to the restart asked \\| [\\d.,]+ ms`, 'm'))
  }
  t.match(stdout, /^\| release: API calls of a poll .* \| 1 \|/m, 'an idle poll is one DescribeSecret')
  t.match(stdout, /^\| release: API calls of a change \(DescribeSecret, GetSecretValue\) \| 2 \|/m)
  t.match(stdout, /^\| release: tarball \| [\d.]+ MiB/m)
  t.match(stdout, /^\| a restart that was refused is asked for again \| yes \| no \| yes \|/m, 'peers: ecs-regcred, a shell loop, ecs-regcred')
  t.match(stdout, /^\| core: parse and render 500 registries \| [\d.,]+ ms/m)
})

t.test('a simulated fleet keeps its promises, and is drawn', async (t) => {
  const svg = join(t.testdir(), 'fleet.svg')
  t.match(await run('scripts/simulate-fleet.mjs', '--hosts', '300', '--hours', '9', '--svg', svg), /^\| 300 \| 5 min \| 1 min \|/m)
  t.match(readFileSync(svg, 'utf8'), /<polyline .*<polyline .*<polyline /s)
})
