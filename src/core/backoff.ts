/**
 * How long to wait before try number `attempt` (1 is the first repetition): anywhere between nothing and 1 s, 2 s, 4 s … 60 s. Full jitter, so that a
 * fleet cut off together does not come back together.
 * @param random in [0, 1)
 */
export function backoffMs(attempt: number, random: number): number {
  const longestMs = Math.min(60_000, 1000 * 2 ** Math.min(Math.max(attempt - 1, 0), 16))
  return Math.floor(random * longestMs)
}
