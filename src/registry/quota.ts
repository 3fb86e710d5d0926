import type { HttpAnswer } from '../http-request.js'

/** Docker Hub's count of pulls: `remaining` of `limit` in any `windowSeconds`. */
export type Quota = { readonly limit: number; readonly remaining: number; readonly windowSeconds: number }

/** `ratelimit-limit: 200;w=21600` and `ratelimit-remaining: 76;w=21600`; an account without a limit gets neither. */
export function readQuota({ headers }: Pick<HttpAnswer, 'headers'>): Quota | undefined {
  const [limit, remaining] = ['ratelimit-limit', 'ratelimit-remaining'].map((name) => /^(\d{1,9})(?:;w=(\d{1,9}))?$/.exec(String(headers[name] ?? '')))
  return limit && remaining ? { limit: Number(limit[1]), remaining: Number(remaining[1]), windowSeconds: Number(limit[2] ?? 0) } : undefined
}

/** `; 76 of 200 pulls are left in any 6 h`, or nothing. */
export function tellQuota(quota: Quota | undefined): string {
  if (quota === undefined) return ''
  const window = quota.windowSeconds > 0 ? ` in any ${+(quota.windowSeconds / 3600).toFixed(1)} h` : ''
  return `; ${quota.remaining} of ${quota.limit} pulls are left${window}`
}
