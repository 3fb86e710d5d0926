/** From the start of the process to `service.ready`, and a whole `sync --boot`; what the imports cost. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { project } from './programs.mjs'
import { readWork } from './process.mjs'
import { standInMachine } from './stand-ins.mjs'

const IMPORTS = ['pino', 'chokidar', 'dotenv', 'prom-client', '@aws-sdk/client-secrets-manager', '@aws-sdk/client-ecs']

export async function start({ programs, brief, report }) {
  const repetitions = brief ? 1 : 31
  for (const source of ['file', 'secret']) {
    const machine = await standInMachine({ source })
    try {
      const figures = Object.fromEntries(Object.keys(programs).map((name) => [name, { ready: [], readyCpu: [], boot: [] }]))
      // In turns, so that a noisy minute falls on each.
      for (let n = 0; n < repetitions; n++) for (const [name, words] of Object.entries(programs)) {
        const service = machine.start(words, ['run'])
        figures[name].ready.push(await service.ready)
        figures[name].readyCpu.push(readWork(service.pid).cpuMs)
        await machine.next('pass')
        await service.stop()
        const { status, ms, output } = await machine.start(words, ['sync', '--boot']).exited
        if (status !== 0) throw new Error(output)
        figures[name].boot.push(ms)
      }
      for (const [name, { ready, readyCpu, boot }] of Object.entries(figures)) {
        const budget = name === 'release' && source === 'file'
        report(`${name}, ${source}: start to service.ready`, 'ms', ready, budget ? 100 : undefined)
        report(`${name}, ${source}: CPU of that`, 'ms', readyCpu)
        report(`${name}, ${source}: sync --boot with nothing to do`, 'ms', boot, budget ? 130 : undefined)
      }
    } finally {
      await machine.close()
    }
  }
  const own = programs.release === undefined ? process.execPath : join(programs.release[0], '../node')
  report('node itself, an empty program', 'ms', Array.from({ length: repetitions }, () => cost(own, '0').ms))
  for (const name of IMPORTS) {
    const costs = Array.from({ length: brief ? 1 : 11 }, () => cost(process.execPath, `const t=performance.now(),m=process.memoryUsage.rss();await import('${name}');console.log(JSON.stringify([performance.now()-t,process.memoryUsage.rss()-m]))`))
    const values = costs.map(({ output }) => JSON.parse(output))
    report(`import of ${name}, from node_modules`, 'ms', values.map(([ms]) => ms))
    report(`import of ${name}: RSS`, 'MiB', values.map(([, bytes]) => bytes / 2 ** 20))
  }
}

function cost(node, code) {
  const began = performance.now()
  const { stdout } = spawnSync(node, ['--input-type=module', '-e', code], { cwd: project, encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } })
  return { ms: performance.now() - began, output: stdout }
}
