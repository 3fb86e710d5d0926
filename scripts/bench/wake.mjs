/** From the event to the replaced file and to the restart that is asked for. */
import { writeFileSync } from 'node:fs'
import { standInMachine } from './stand-ins.mjs'

export async function wake({ programs, brief, report }) {
  for (const [name, words] of Object.entries(programs)) {
    // What runs on the hosts is the release.
    const repetitions = brief ? 5 : name === 'release' ? 500 : 100
    const budget = name === 'release' ? { p50: 10, p99: 25 } : undefined
    await measure({ words, source: 'file', repetitions }, 'file change', async (machine, _service, n) => machine.login(`password-${n}`), (...row) => report(`${name}: ${row[0]}`, 'ms', row[1], row[0].endsWith('file') ? budget : undefined))
    await measure({ words, source: 'secret', repetitions }, 'SIGHUP, new version of a secret (two calls over TLS)', async (machine, service, n) => {
      machine.login(`password-${n}`)
      return () => service.child.kill('SIGHUP')
    }, (...row) => report(`${name}: ${row[0]}`, 'ms', row[1]))
    await drifted({ words, repetitions }, (values) => report(`${name}: SIGHUP, credentials gone from ecs.config, to the file`, 'ms', values, budget))
  }
}

async function measure({ words, source, repetitions }, event, change, row) {
  const machine = await standInMachine({ source })
  const written = []
  const asked = []
  try {
    const service = machine.start(words, ['run'])
    await service.ready
    await machine.atRest()
    for (let n = 0; n < repetitions; n++) {
      const [renamed, restarted] = [machine.next('renamed'), machine.next('restart')]
      let began = performance.now()
      const send = await change(machine, service, n)
      if (send !== undefined) {
        began = performance.now()
        send()
      }
      written.push(await renamed - began)
      const restartedAt = await restarted
      asked.push(restartedAt - began)
      await machine.atRest(restartedAt)
    }
    await service.stop()
  } finally {
    await machine.close()
  }
  row(`${event}, to the file`, written)
  row(`${event}, to the restart asked`, asked)
}

/** SIGHUP alone: nothing but the signal tells that somebody has taken the lines away. */
async function drifted({ words, repetitions }, row) {
  const machine = await standInMachine({ source: 'file' })
  const values = []
  try {
    const service = machine.start(words, ['run'])
    await service.ready
    await machine.atRest()
    for (let n = 0; n < repetitions; n++) {
      writeFileSync(machine.ecsConfig, 'ECS_CLUSTER=bench\n')
      const renamed = machine.next('renamed')
      const began = performance.now()
      service.child.kill('SIGHUP')
      const renamedAt = await renamed
      values.push(renamedAt - began)
      await machine.atRest(renamedAt)
    }
    await service.stop()
  } finally {
    await machine.close()
  }
  row(values)
}
