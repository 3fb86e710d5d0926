import { lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { project } from './programs.mjs'

export async function size({ report }) {
  const { REGCRED_BENCH_TARBALL: tarball, REGCRED_BENCH_DIR: dir } = process.env
  if (tarball !== undefined) {
    report('release: tarball', 'MiB', [statSync(tarball).size / 2 ** 20])
    report('release: unpacked', 'MiB', [bytesBelow(dir) / 2 ** 20])
    report('release: of that the program and its packages', 'MiB', [bytesBelow(join(dir, 'app')) / 2 ** 20])
  }
  report('build: dist/', 'MiB', [bytesBelow(join(project, 'dist')) / 2 ** 20])
}

function bytesBelow(folder) {
  return readdirSync(folder, { recursive: true }).reduce((sum, name) => sum + (lstatSync(join(folder, name)).isFile() ? lstatSync(join(folder, name)).size : 0), 0)
}
