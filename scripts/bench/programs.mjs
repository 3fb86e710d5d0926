/** What can be measured: the release as it runs on a host, and the plain build as `npm run build` leaves it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const project = join(import.meta.dirname, '../..')
const ARCH = { x64: 'x64', arm64: 'arm64' }[process.arch]

/** The newest tarball of this architecture in out/, built where there is none. */
export function findTarball() {
  const out = join(project, 'out')
  const newest = () => (existsSync(out) ? readdirSync(out) : []).filter((name) => name.endsWith(`-linux-${ARCH}.tar.gz`))
    .map((name) => join(out, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  if (newest() === undefined) execFileSync(join(project, 'scripts/build-release'), ['--arch', ARCH], { cwd: project, stdio: ['ignore', 2, 'inherit'] })
  return newest()
}

/**
 * A release runs at its one path, below /opt. This gives it that path for this process and its children alone: a mount namespace in which the unpacked
 * tarball stands there. Runs `argv` again inside, and gives its exit status; undefined where this is the inside.
 */
export function enterRelease(tarball, argv) {
  if (process.env.REGCRED_BENCH_HOME !== undefined) return undefined
  const dir = mkdtempSync(join(tmpdir(), 'regcred-release-'))
  // A place to mount on; it is gone again afterwards where it was not there before.
  const place = mkdirSync('/opt/ecs-regcred', { recursive: true })
  try {
    execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', dir])
    const home = `/opt/ecs-regcred/${readFileSync(join(dir, 'RELEASE'), 'utf8').trim()}`
    const { status } = spawnSync('unshare', ['-m', ...(process.getuid() === 0 ? [] : ['-r']), 'sh', '-c',
      'mount -t tmpfs tmpfs /opt/ecs-regcred && mkdir -p "$2" && mount --bind "$1" "$2" && "$2/bin/ecs-regcred" --warm-cache && shift 2 && exec "$@"',
      'sh', dir, home, process.execPath, ...process.execArgv, ...argv], {
      stdio: 'inherit', env: { ...process.env, REGCRED_BENCH_HOME: home, REGCRED_BENCH_TARBALL: tarball, REGCRED_BENCH_DIR: dir },
    })
    return status ?? 70
  } finally {
    rmSync(dir, { recursive: true, force: true })
    try { if (place !== undefined) rmdirSync('/opt/ecs-regcred') } catch { /* another one uses it */ }
  }
}

/** By name, each the words that start it. */
export function programs() {
  const home = process.env.REGCRED_BENCH_HOME
  return {
    ...(home === undefined ? {} : { release: [join(home, 'bin/ecs-regcred')] }),
    build: [process.execPath, join(project, 'dist/main.js')],
  }
}
