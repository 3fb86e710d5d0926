/** Calls to Secrets Manager, counted where they arrive, and what they come to in a month. */
import { standInMachine } from './stand-ins.mjs'

/** https://aws.amazon.com/secrets-manager/pricing: $0.05 for 10,000 calls, every Region but the Chinese ones. */
const DOLLARS_A_CALL = 0.05 / 10_000
/** The poll comes after the interval less up to a fifth of it: 0.9 of it on average (src/core/decide.ts, pollDelayMs). */
const POLLS_A_MONTH = 30 * 24 * 60 / (5 * 0.9)

export async function calls({ programs, brief, report }) {
  const [name, words] = Object.entries(programs)[0]
  const machine = await standInMachine({ source: 'secret' })
  try {
    const taken = () => machine.secretsManager.calls.splice(0)
    let service = machine.start(words, ['run'])
    await service.ready
    await machine.next('pass')
    taken()
    const pass = async (before) => {
      before?.()
      const passed = machine.next('pass')
      service.child.kill('SIGHUP')
      await passed
      return taken()
    }
    const idle = []
    for (let n = 0; n < (brief ? 3 : 100); n++) idle.push(await pass())
    const others = idle.flat().filter((call) => call !== 'DescribeSecret')
    if (others.length > 0) throw new Error(`an idle poll called ${others[0]}`)
    const change = await pass(() => machine.login('second-password'))
    await service.stop()
    service = machine.start(words, ['run'])
    await service.ready
    await machine.next('pass')
    const restart = taken()
    await service.stop()
    report(`${name}: API calls of a poll (DescribeSecret and nothing else)`, '', idle.map((each) => each.length))
    report(`${name}: API calls of a change (${change.join(', ')})`, '', [change.length])
    report(`${name}: API calls of a restart of the service (${restart.join(', ')})`, '', [restart.length])
    report(`${name}: a thousand hosts that poll every 5 min, a month`, 'US$', [1000 * POLLS_A_MONTH * DOLLARS_A_CALL])
    report(`${name}: a thousand hosts that poll hourly, with the signal of cloudformation/`, 'US$', [1000 * POLLS_A_MONTH / 12 * DOLLARS_A_CALL])
  } finally {
    await machine.close()
  }
}
