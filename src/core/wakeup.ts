/**
 * Level-triggered: any number of wake-ups before the loop looks are one. Of several reasons the strongest is told, since a person's signal means
 * more than the poll that happened to coincide with it.
 */
export class Wakeup<T extends string> {
  readonly #strongestFirst: readonly T[]
  #pending: T | undefined
  #resolve: (() => void) | undefined

  constructor(strongestFirst: readonly T[]) {
    this.#strongestFirst = strongestFirst
  }

  wake(reason: T): void {
    const rank = (candidate: T): number => this.#strongestFirst.indexOf(candidate)
    if (this.#pending === undefined || rank(reason) < rank(this.#pending)) this.#pending = reason
    this.#resolve?.()
  }

  /**
   * Resolves at once if woken since the last call, else at the first wake-up, or after `ms` with `otherwise`. One timer, and none between waits.
   * @throws the signal's reason when it is aborted
   */
  async next(ms: number, otherwise: T, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    if (this.#pending === undefined) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#resolve = () => {
          clearTimeout(timer)
          resolve()
        }
        signal.addEventListener('abort', this.#resolve, { once: true })
      })
      if (this.#resolve !== undefined) signal.removeEventListener('abort', this.#resolve)
      this.#resolve = undefined
    }
    signal.throwIfAborted()
    const reason = this.#pending ?? otherwise
    this.#pending = undefined
    return reason
  }
}
