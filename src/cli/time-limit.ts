/**
 * Does the work with a signal that comes after `timeoutMs`, or with `signal` where that is sooner; undefined: no limit of time.
 * Not AbortSignal.any() over AbortSignal.timeout(): nothing but that composite refers to the timeout, weakly, so Node 20 may collect it as garbage before
 * its time, and then the limit never comes.
 */
export async function withinTimeLimit<T>(timeoutMs: number | undefined, signal: AbortSignal, work: (bounded: AbortSignal) => Promise<T>): Promise<T> {
  if (timeoutMs === undefined) return work(signal)
  const bound = new AbortController()
  const abort = (): void => bound.abort(signal.reason)
  const timer = setTimeout(() => bound.abort(new DOMException(`not done within ${timeoutMs} ms`, 'TimeoutError')), timeoutMs)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await work(bound.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}
