#!/usr/bin/env node
/**
 * What the service costs, measured: `npm run build && node scripts/bench.mjs [--brief] [--write-readme] [--release TARBALL|none] [NAME…]`
 *
 * NAME is one of idle, start, wake, calls, size, core, peers; without any, all but peers. As root on Linux, for the release; it is looked for in out/, and
 * built where it is not there. --brief runs each with few repetitions, to show that it runs; --write-readme puts the table into README.md.
 * Nothing is asserted about times. On a machine that others use too: nice -n -15.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { calls } from './bench/calls.mjs'
import { core } from './bench/core.mjs'
import { idle } from './bench/idle.mjs'
import { peers } from './bench/peers.mjs'
import { enterRelease, findTarball, programs, project } from './bench/programs.mjs'
import { size } from './bench/size.mjs'
import { start } from './bench/start.mjs'
import { median, quantile, shown, spread } from './bench/statistics.mjs'
import { wake } from './bench/wake.mjs'

const BENCHMARKS = { idle, start, wake, calls, size, core, peers }
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { brief: { type: 'boolean' }, 'write-readme': { type: 'boolean' }, release: { type: 'string' } },
})
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS).filter((name) => name !== 'peers')
const unknown = names.find((name) => !(name in BENCHMARKS))
if (unknown !== undefined) throw new Error(`there is no benchmark ${unknown}; there are ${Object.keys(BENCHMARKS).join(', ')}`)

const status = options.release === 'none' ? undefined : enterRelease(options.release ?? findTarball(), process.argv.slice(1))
if (status === undefined) await main()
process.exit(status ?? 0)

async function main() {
  const rows = []
  for (const name of names) {
    await BENCHMARKS[name]({
      programs: programs(),
      brief: options.brief === true,
      report: (figure, unit, values, budget) => {
        const row = rowOf(figure, unit, values, budget)
        rows.push(row)
        console.log(row.join('  '))
      },
    })
  }
  const table = [
    `Measured on ${machine()}, with \`node scripts/bench.mjs${positionals.length > 0 ? ` ${positionals.join(' ')}` : ''}\`. Release: Node 24 as carried; build: Node ${process.versions.node}.`,
    '',
    '| figure | median | middle half, or p99 | budget | n |', '|---|---|---|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n')
  const readme = join(project, 'README.md')
  if (!options['write-readme'] || !existsSync(readme)) return console.log(`\n${table}`)
  writeFileSync(readme, withSection(readFileSync(readme, 'utf8'), 'figures', table))
}

function rowOf(figure, unit, values, budget) {
  const withUnit = (text) => (text === '' || unit === '' ? text : `${text} ${unit}`)
  const many = values.length >= 100
  const isTwo = typeof budget === 'object'
  return [
    figure, withUnit(shown(median(values))), many ? `p99 ${withUnit(shown(quantile(values, 0.99)))}` : withUnit(spread(values)),
    budget === undefined ? '' : isTwo ? `${budget.p50}, p99 ${budget.p99}` : String(budget), String(values.length),
  ]
}

function machine() {
  return `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${shown(totalmem() / 2 ** 30)} GiB, Linux ${release()}`
}

/** The text between `<!-- NAME:start -->` and `<!-- NAME:end -->` replaced; at the end of the file where there are no such lines. */
function withSection(text, name, section) {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`]
  const from = text.indexOf(start)
  const to = text.indexOf(end)
  const block = `${start}\n${section}\n${end}`
  return from >= 0 && to > from ? text.slice(0, from) + block + text.slice(to + end.length) : `${text.trimEnd()}\n\n## Figures\n\n${block}\n`
}
