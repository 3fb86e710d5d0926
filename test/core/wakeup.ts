import t from 'tap'
import { Wakeup } from '../../src/core/wakeup.js'

const never = new AbortController().signal
const wakeup = (): Wakeup<'signal' | 'file' | 'poll'> => new Wakeup(['signal', 'file', 'poll'])

void t.test('any number of wake-ups before the look are one, told by the strongest', async (t) => {
  const subject = wakeup()
  for (let i = 0; i < 10_000; i++) subject.wake('file')
  subject.wake('signal')
  subject.wake('poll')
  t.equal(await subject.next(60_000, 'poll', never), 'signal')
  t.equal(await subject.next(1, 'poll', never), 'poll', 'and then none is left')
})

void t.test('a wake-up ends the wait', async (t) => {
  const subject = wakeup()
  const waiting = subject.next(60_000, 'poll', never)
  subject.wake('file')
  t.equal(await waiting, 'file')
})

void t.test('a shutdown ends the wait, and a wait that has not begun', async (t) => {
  const stopping = new AbortController()
  const subject = wakeup()
  const waiting = subject.next(60_000, 'poll', stopping.signal)
  stopping.abort()
  await t.rejects(waiting, { name: 'AbortError' })
  subject.wake('signal')
  await t.rejects(subject.next(60_000, 'poll', stopping.signal), { name: 'AbortError' }, 'a wake-up does not hold it up')
})

void t.test('a wait leaves no listener behind', async (t) => {
  const stopping = new AbortController()
  const subject = wakeup()
  let listeners = 0
  t.intercept(stopping.signal, 'addEventListener', { value: (...args: Parameters<AbortSignal['addEventListener']>) => { listeners++; AbortSignal.prototype.addEventListener.apply(stopping.signal, args) } })
  t.intercept(stopping.signal, 'removeEventListener', { value: (...args: Parameters<AbortSignal['removeEventListener']>) => { listeners--; AbortSignal.prototype.removeEventListener.apply(stopping.signal, args) } })
  for (let i = 0; i < 5; i++) await subject.next(1, 'poll', stopping.signal)
  t.equal(listeners, 0)
})
