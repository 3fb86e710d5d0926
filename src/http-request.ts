import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'

/** What a server answered. `body` holds at most `maxBodyBytes`, as sent; what lies beyond is dropped and `truncated` says so. */
export type HttpAnswer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly truncated: boolean
}

export type HttpRequestOptions = Omit<RequestOptions, 'signal' | 'timeout'> & {
  readonly ca?: string | string[] | undefined
  readonly body?: string | Buffer | undefined
  /** Bounds the whole of it: resolving, connecting, TLS, the last byte of a slow drip. */
  readonly timeoutMs: number
  readonly maxBodyBytes?: number
}

/**
 * One HTTP request with a bound on its whole duration and on what it reads. Redirects are answers, never followed; nothing is decompressed.
 * node:http rather than fetch: undici's memory would be paid on every instance.
 * @param url http:, https:, or with `options.socketPath` any host
 * @throws the socket's, resolver's or TLS's own error; a TimeoutError when the bound is passed; the signal's reason once it is aborted
 */
export async function httpRequest(url: string | URL, options: HttpRequestOptions, signal: AbortSignal): Promise<HttpAnswer> {
  const { timeoutMs, maxBodyBytes = 1_000_000, body, ...requestOptions } = options
  // Not `import`: it would read node:http's getters, and the one of WebSocket loads undici after all (6 MB).
  const { request } = String(url).startsWith('https:') ? process.getBuiltinModule('node:https') : process.getBuiltinModule('node:http')
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, ...requestOptions }, (incoming) => {
      outgoing.off('close', fallSilent)
      read(incoming, maxBodyBytes).then(finish, fail)
    })
    // Node tells nothing else of a server that answers 101 to a question that asked for no switch of protocol.
    const fallSilent = (): void => fail(Object.assign(new Error('the connection was closed before an answer'), { code: 'ECONNRESET' }))
    const abort = (): void => fail(signal.reason)
    // A timer and a listener of its own rather than AbortSignal.timeout and AbortSignal.any: these outlive the request, and the service's
    // signal lives as long as the service.
    const timer = setTimeout(() => fail(new DOMException(`no complete answer within ${timeoutMs} ms`, 'TimeoutError')), timeoutMs)
    signal.addEventListener('abort', abort, { once: true })

    function finish(answer: HttpAnswer): void {
      release()
      resolve(answer)
    }
    function fail(error: unknown): void {
      release()
      reject(error)
    }
    function release(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      outgoing.destroy()
    }
    outgoing.on('error', fail)
    outgoing.on('close', fallSilent)
    outgoing.end(body)
  })
}

async function read(incoming: IncomingMessage, maxBodyBytes: number): Promise<HttpAnswer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBodyBytes) break
  }
  const { statusCode = 0, headers } = incoming
  return { status: statusCode, headers, body: Buffer.concat(chunks).subarray(0, maxBodyBytes), truncated: length > maxBodyBytes }
}
