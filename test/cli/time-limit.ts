import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { withinTimeLimit } from '../../src/cli/time-limit.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const aborted = (signal: AbortSignal) => new Promise<unknown>((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }))
const outer = () => new AbortController()

void t.test('the limit comes, though garbage was collected in the meantime', async (t) => {
  const { signal } = outer()
  t.match(await withinTimeLimit(300, signal, async (bounded) => {
    const reason = aborted(bounded)
    for (let round = 0; round < 3; round++) {
      collectGarbage()
      await setImmediate()
    }
    return reason
  }), { name: 'TimeoutError' })
})

void t.test('a signal from outside comes through at once, with its reason', async (t) => {
  const stop = outer()
  const reason = withinTimeLimit(60_000, stop.signal, aborted)
  stop.abort('stopped')
  t.equal(await reason, 'stopped')
  t.equal(await withinTimeLimit(60_000, stop.signal, async (bounded) => bounded.reason), 'stopped', 'an old one, too')
  t.equal(await withinTimeLimit(undefined, stop.signal, async (bounded) => bounded), stop.signal, 'without a limit it is that very signal')
})
