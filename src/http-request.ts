import type { IncomingHttpHeaders, RequestOptions } from 'node:http'

/** What a server answered. `body` holds at most `maxBodyBytes`; what lies beyond is dropped and `truncated` says so. */
export type HttpAnswer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly truncated: boolean
}

/**
 * One HTTP request with a bound on its whole duration, slow drips included, and on what it reads. Redirects are answers, never followed.
 * node:http rather than fetch: undici's memory would be paid on every instance.
 * @param url http:, https:, or with `options.socketPath` any host
 * @throws the socket's, resolver's or TLS's own error; an AbortError or TimeoutError from `signal` or the bound
 */
export async function httpRequest(
  url: string,
  options: RequestOptions & { readonly ca?: string | string[] | undefined; readonly timeoutMs: number; readonly maxBodyBytes?: number },
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const { timeoutMs, maxBodyBytes = 1_000_000, ...requestOptions } = options
  const { request } = url.startsWith('https:') ? await import('node:https') : await import('node:http')
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, ...requestOptions, signal: bounded }, (incoming) => {
      const chunks: Buffer[] = []
      let length = 0
      const answer = (truncated: boolean): void => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks).subarray(0, maxBodyBytes), truncated })
      }
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > maxBodyBytes) {
          answer(true)
          outgoing.destroy()
        }
      })
      incoming.on('end', () => answer(false))
      incoming.on('error', reject)
    })
    // An abort surfaces as the signal's reason: TimeoutError tells the bound from a shutdown.
    outgoing.on('error', (error) => reject(bounded.aborted ? bounded.reason : error))
    outgoing.end()
  })
}
