#!/usr/bin/env node
/**
 * Writes the screens in README.md anew, by running each command against the stand-ins of test/fixtures. `--check`: fails where they are not what the
 * program shows now, as `npm test` does.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const env = { ...process.env, ...(process.argv.includes('--check') ? {} : { SCREENS: 'write' }) }
const { status } = spawnSync('npx', ['tap', 'run', '--disable-coverage', 'test/screens.ts'], { cwd: join(import.meta.dirname, '..'), env, stdio: 'inherit' })
process.exit(status ?? 1)
