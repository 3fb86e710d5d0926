/** The loop: wake → reconcile → wait. It ends when its signal is aborted, after the pass in hand has come to a safe point. */
import { nextLook } from './core/decide.js'
import { Wakeup } from './core/wakeup.js'
import { ServiceError } from './errors.js'
import { writeNextPass } from './host/state.js'
import { giveBackMemory, interpretOnly } from './memory.js'
import type { PassResult, Trigger } from './pass/pass.js'
import { type Machine, reconcile } from './reconcile.js'

const STRONGEST_FIRST = ['signal', 'file', 'start', 'retry', 'poll'] as const satisfies readonly Trigger[]

export type Service = Machine & {
  /** Called after each pass; what it throws is a warning. */
  readonly afterPass: (pass: { readonly result: PassResult | undefined; readonly error: ServiceError | undefined; readonly durationMs: number }) => Promise<void>
  /** Whoever calls the function that this is given asks for a pass: SIGHUP's door. */
  readonly onSignal: (wake: () => void) => void
}

/** Resolves when the service has stopped. @throws what is not a ServiceError: a bug */
export async function runService(service: Service, signal: AbortSignal): Promise<void> {
  interpretOnly()
  const { settings, source, log } = service
  const wakeup = new Wakeup<(typeof STRONGEST_FIRST)[number]>(STRONGEST_FIRST)
  service.onSignal(() => wakeup.wake('signal'))
  // Watch first, then read: what changes in between is a wake-up, not a loss. Where there is no watch, the poll looks all the same.
  let told: string | undefined
  const watch = async (): Promise<boolean> => source.watch(() => wakeup.wake('file'), signal).then(() => true, (error: unknown) => {
    if (!(error instanceof ServiceError)) throw error
    const level = error.message === told ? 'debug' : 'warn'
    log[level]({ event: 'source.failed', code: error.code, fix: error.details.fix }, `${error.message}; it is polled until that works`)
    told = error.message
    return false
  })
  let watching = await watch()
  log.info({ event: 'service.ready', pid: process.pid }, `ready: keeping the ECS agent's credentials those of ${source.label}`)
  wakeup.wake('start')

  let failures = 0
  let next: ReturnType<typeof nextLook> = { waitMs: 0, trigger: 'poll' }
  for (;;) {
    const trigger = await wakeup.next(next.waitMs, next.trigger, signal).catch(() => undefined)
    if (trigger === undefined) break
    watching ||= await watch()

    const { retryable, lookAgainMs } = await onePass(service, trigger, signal)
    if (signal.aborted) break
    failures = retryable ? failures + 1 : 0
    next = nextLook({ intervalMs: settings.intervalMs, failures, lookAgainMs }, Math.random)
    giveBackMemory()
    await writeNextPass(settings.stateDir, new Date(Date.now() + next.waitMs).toISOString()).catch(() => undefined) // for `status` alone
  }
  log.info({ event: 'service.stopped' }, 'stopped')
}

async function onePass(service: Service, trigger: Trigger, signal: AbortSignal): Promise<{ retryable: boolean; lookAgainMs: number | undefined }> {
  const started = performance.now()
  let result: PassResult | undefined
  let error: ServiceError | undefined
  try {
    result = await reconcile(service, { trigger, splay: true }, signal)
    error = result.error
  } catch (thrown) {
    if (signal.aborted) return { retryable: false, lookAgainMs: undefined }
    if (!(thrown instanceof ServiceError)) throw thrown
    error = thrown
    service.log.error({ event: 'pass.failed', code: error.code, trigger, fix: error.details.fix }, error.message)
  }
  await service.afterPass({ result, error, durationMs: Math.round(performance.now() - started) }).catch((problem: unknown) => {
    service.log.warn({ event: 'report.failed', code: problem instanceof ServiceError ? problem.code : 'E_BUG' }, problem instanceof ServiceError ? problem.message : 'reporting failed')
  })
  return { retryable: result?.retryable ?? error?.retryable ?? false, lookAgainMs: result?.lookAgainMs }
}
