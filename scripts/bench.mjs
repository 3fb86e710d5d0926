#!/usr/bin/env node
/**
 * What the service costs, measured: `npm run build && node scripts/bench.mjs [--brief] [--write-readme] [--release TARBALL|none] [NAME…]`
 *
 * NAME is one of idle, start, wake, calls, size, core, peers; without any, all. As root on Linux, for the release; it is looked for in out/, and
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
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)
const unknown = names.find((name) => !(name in BENCHMARKS))
if (unknown !== undefined) throw new Error(`there is no benchmark ${unknown}; there are ${Object.keys(BENCHMARKS).join(', ')}`)

const status = options.release === 'none' ? undefined : enterRelease(options.release ?? findTarball(), process.argv.slice(1))
if (status === undefined) await main()
process.exit(status ?? 0)

async function main() {
  const rows = []
  const compared = new Map()
  for (const name of names) {
    await BENCHMARKS[name]({
      programs: programs(),
      brief: options.brief === true,
      report: (figure, unit, values, budget) => {
        const row = rowOf(figure, unit, values, budget)
        rows.push(row)
        console.log(row.join('  '))
      },
      compare: (peer, figure, unit, values) => {
        const shownValue = values.length === 1 && typeof values[0] === 'string' ? values[0] : withUnit(shown(median(values)), unit)
        compared.set(figure, { ...compared.get(figure), [peer]: shownValue })
        console.log([peer, figure, shownValue].join('  '))
      },
    })
  }
  const sections = { figures: rows.length === 0 ? '' : figuresTable(rows), peers: compared.size === 0 ? '' : peersTable(compared) }
  for (const [name, section] of Object.entries(sections)) {
    if (section === '') continue
    const text = `Measured on ${machine()}, with \`node scripts/bench.mjs${positionals.length > 0 ? ` ${positionals.join(' ')}` : ''}\`. Release: Node 24 as carried; build: Node ${process.versions.node}.\n\n${section}`
    const readme = join(project, 'README.md')
    if (options['write-readme'] && existsSync(readme)) writeFileSync(readme, withSection(readFileSync(readme, 'utf8'), name, text))
    else console.log(`\n${text}`)
  }
}

function figuresTable(rows) {
  return ['| figure | median | middle half, or p99 | budget | n |', '|---|---|---|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n')
}

function peersTable(compared) {
  const peers = [...new Set([...compared.values()].flatMap(Object.keys))]
  const rows = [...compared].map(([figure, of]) => `| ${figure} | ${peers.map((peer) => of[peer] ?? '').join(' | ')} |`)
  return [`| median | ${peers.join(' | ')} |`, `|---|${peers.map(() => '---|').join('')}`, ...rows].join('\n')
}

function withUnit(text, unit) {
  return text === '' || unit === '' ? text : `${text} ${unit}`
}

function rowOf(figure, unit, values, budget) {
  const many = values.length >= 100
  const isTwo = typeof budget === 'object'
  return [
    figure, withUnit(shown(median(values)), unit), many ? `p99 ${withUnit(shown(quantile(values, 0.99)), unit)}` : withUnit(spread(values), unit),
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
