/** Time limits of AWS calls, in milliseconds. */
export type AwsTimeouts = {
  readonly connectMs: number
  /** From the request to the answer's headers. */
  readonly attemptMs: number
  /** One call in all: both attempts, the credentials, and a body that drips. */
  readonly callMs: number
}

export const AWS_TIMEOUTS: AwsTimeouts = { connectMs: 3_000, attemptMs: 10_000, callMs: 20_000 }

/**
 * What every AWS client of ours is made with. Two attempts: the service and the operator have retries of their own, and would rather know soon.
 * Connections end with their answer: one kept until the next poll would be a timer, or dead after a suspend.
 */
export function awsClientOptions(region: string, timeouts: AwsTimeouts = AWS_TIMEOUTS) {
  // It would be printed on stderr of every command under the clone's oldest Node; the release brings its own.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
  // HTTPS_PROXY and NO_PROXY: node's own agents follow them since 24.5 when asked to; older ones ignore the option.
  const agent = { keepAlive: false, proxyEnv: process.env }
  return {
    region,
    maxAttempts: 2,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: timeouts.connectMs,
      requestTimeout: timeouts.attemptMs,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  }
}

/** `client.send(command)` of any AWS client, as a function of the signal that ends it. */
export type AwsCall<T> = (abortSignal: AbortSignal) => Promise<T>

/**
 * A call that ends with `callMs` or `signal`, whatever it hangs on: the SDK lets neither end a wait for instance credentials.
 * @throws the SDK's own error; a TimeoutError when the time is over; the signal's reason
 */
export async function boundedAwsCall<T>(call: AwsCall<T>, callMs: number, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  // Not AbortSignal.any and AbortSignal.timeout: the first gathers listeners on a signal as old as the service, the second leaves its timer behind.
  const bound = new AbortController()
  const forward = (): void => bound.abort(signal.reason)
  signal.addEventListener('abort', forward, { once: true })
  const timer = setTimeout(() => bound.abort(new DOMException(`no whole answer within ${callMs / 1000} s`, 'TimeoutError')), callMs)
  const aborted = new Promise<never>((_, reject) => bound.signal.addEventListener('abort', () => reject(bound.signal.reason as Error), { once: true }))
  try {
    return await Promise.race([aborted, call(bound.signal)])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', forward)
  }
}

/** Host of the endpoint that the SDK will call: `secretsmanager.eu-west-1.amazonaws.com`, or what `AWS_ENDPOINT_URL…` says. */
export function awsEndpointHost(service: 'secretsmanager' | 'ecs', region: string, environment: NodeJS.ProcessEnv = process.env): string {
  const name = { secretsmanager: 'AWS_ENDPOINT_URL_SECRETS_MANAGER', ecs: 'AWS_ENDPOINT_URL_ECS' }[service]
  const url = environment[name] || environment['AWS_ENDPOINT_URL']
  if (url && URL.canParse(url)) return new URL(url).host
  return `${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
}
