import t from 'tap'
import { backoffMs } from '../../src/core/backoff.js'

t.test('the longest wait doubles from one second to a minute and stays there', async (t) => {
  const almostOne = 1 - 2 ** -53
  const longest = [1, 2, 3, 4, 5, 6, 7, 8, 1000, 2 ** 40].map((attempt) => backoffMs(attempt, almostOne))
  t.strictSame(longest, [999, 1999, 3999, 7999, 15_999, 31_999, 59_999, 59_999, 59_999, 59_999])
})

t.test('the jitter is full: any moment up to the longest is as likely', async (t) => {
  t.strictSame([0, 0.25, 0.5].map((random) => backoffMs(3, random)), [0, 1000, 2000])
})
