/** What the service costs while nothing happens: memory after a while and after many passes, CPU and wake-ups between two polls. */
import { setTimeout as sleep } from 'node:timers/promises'
import { readMemory, readWork } from './process.mjs'
import { standInMachine } from './stand-ins.mjs'

const BUDGETS = { file: { private: 12, rss: 55 }, secret: { private: 18, rss: 64 } }
const POLLS_AN_HOUR = 12

export async function idle({ programs, brief, report }) {
  const { seconds, passes } = brief ? { seconds: 1, passes: 5 } : { seconds: 60, passes: 1000 }
  for (const [program, words] of Object.entries(programs)) for (const source of ['file', 'secret']) {
    const repetitions = program === 'release' && !brief ? 3 : 1
    const figures = { private: [], rss: [], pss: [], privateLater: [], rssLater: [], privateRestarted: [], wakeups: [], cpu: [], pass: [] }
    for (let n = 0; n < repetitions; n++) {
      const machine = await standInMachine({ source })
      try {
        // As after a boot: the file is right and the ECS agent holds it, so that nothing is to be done but to watch.
        await machine.start(words, ['sync']).exited
        const service = machine.start(words, ['run'])
        await service.ready
        await machine.next('pass')
        await passesOf(machine, service, source === 'secret' ? POLLS_AN_HOUR : 0)
        // Until Node and V8 have tidied up after the start, which they do once.
        await sleep(brief ? 1000 : 20_000)
        const before = readWork(service.pid)
        await sleep(seconds * 1000)
        const between = readWork(service.pid)
        figures.wakeups.push((between.wakeups - before.wakeups) * 60 / seconds)
        figures.cpu.push((between.cpuMs - before.cpuMs) / seconds / 10)
        for (const [name, value] of Object.entries(readMemory(service.pid))) figures[name].push(value)
        await passesOf(machine, service, passes)
        figures.pass.push((readWork(service.pid).cpuMs - between.cpuMs) / passes)
        await sleep(1000)
        const later = readMemory(service.pid)
        figures.privateLater.push(later.private)
        figures.rssLater.push(later.rss)
        const passed = machine.next('pass')
        machine.login('another-password')
        if (source === 'secret') service.child.kill('SIGHUP')
        await passed
        await sleep(1000)
        figures.privateRestarted.push(readMemory(service.pid).private)
        await service.stop()
      } finally {
        await machine.close()
      }
    }
    const name = `${program}, ${source === 'file' ? 'a local file' : 'a secret polled for an hour'}`
    const budget = program === 'release' ? BUDGETS[source] : {}
    report(`${name}: private memory after ${seconds} s`, 'MiB', figures.private, budget.private)
    report(`${name}: RSS`, 'MiB', figures.rss, budget.rss)
    report(`${name}: PSS`, 'MiB', figures.pss)
    report(`${name}: private memory after ${passes} more passes`, 'MiB', figures.privateLater, budget.private)
    report(`${name}: RSS then`, 'MiB', figures.rssLater, budget.rss)
    report(`${name}: private memory once it has restarted the ECS agent`, 'MiB', figures.privateRestarted)
    report(`${name}: wake-ups a minute between polls`, '', figures.wakeups)
    report(`${name}: CPU between polls`, '% of a core', figures.cpu, program === 'release' ? 0.02 : undefined)
    report(`${name}: CPU of a pass that finds nothing new`, 'ms', figures.pass)
    report(`${name}: CPU in all, polling every 5 min`, '% of a core', figures.pass.map((ms, n) => figures.cpu[n] + ms / 3000), program === 'release' ? 0.02 : undefined)
  }
}

async function passesOf(machine, service, count) {
  for (let n = 0; n < count; n++) {
    const passed = machine.next('pass')
    service.child.kill('SIGHUP')
    await passed
  }
}
