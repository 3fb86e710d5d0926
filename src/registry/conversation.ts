import { setMaxListeners } from 'node:events'
import type { Credential } from '../core/credential.js'
import { httpRequest, type HttpAnswer } from '../http-request.js'
import { apiUrl, mayCarryCredential } from './endpoint.js'
import { describeFailure } from './failure.js'
import { ProbeEnd, type Finding } from './finding.js'
import { readTrust } from './trust.js'
import { secretForms } from './without-secrets.js'

export type ProbeOptions = {
  /** PEM file of a private CA, beside the public ones. */
  readonly caFile?: string | undefined
  /** Hosts, with or without port, that may be asked over plain http. Loopback always may. */
  readonly insecure: readonly string[]
  /** Bounds the whole conversation. */
  readonly timeoutMs: number
}

/** A few requests to one registry and its token server, within one bound of time. */
export type Conversation = {
  readonly insecure: readonly string[]
  /** Whatever may not be shown: every form of the password, and the tokens that it was exchanged for. */
  readonly secrets: string[]
  /** @throws {ProbeEnd} where no answer comes */
  readonly ask: (url: URL, request?: { readonly method?: 'GET' | 'HEAD'; readonly authorization?: string | undefined; readonly accept?: string }) => Promise<HttpAnswer>
}

const MAX_BODY_BYTES = 65_536

/**
 * Holds a conversation and hands back what it came to.
 * @throws the signal's reason once it is aborted
 */
export async function converse<T extends Finding>(
  options: ProbeOptions,
  credential: Credential | undefined,
  signal: AbortSignal,
  talk: (conversation: Conversation) => Promise<T>,
): Promise<T | Finding> {
  const deadline = performance.now() + options.timeoutMs
  setMaxListeners(0, signal) // one a registry, and there may be many: not the leak that Node would warn of
  try {
    const ca = await readTrust(options.caFile)
    return await talk({
      insecure: options.insecure,
      secrets: credential === undefined ? [] : secretForms(credential),
      ask: async (url, { method = 'GET', authorization, accept = 'application/json' } = {}) => {
        const headers = { accept, 'user-agent': 'ecs-regcred', ...(authorization === undefined ? {} : { authorization }) }
        const timeoutMs = Math.max(1, deadline - performance.now())
        try {
          return await httpRequest(url, { method, headers, timeoutMs, maxBodyBytes: MAX_BODY_BYTES, ...(ca === undefined ? {} : { ca }) }, signal)
        } catch (error) {
          signal.throwIfAborted()
          throw describeFailure(error, url.host, options.timeoutMs)
        }
      },
    })
  } catch (error) {
    if (error instanceof ProbeEnd) return error.finding
    throw error
  }
}

/**
 * Asks a registry's /v2/ without any credential, as Docker does first: over TLS and, only where that host may, over plain http after it.
 * @returns where it answered, and what
 */
export async function greet({ ask, insecure }: Conversation, host: string): Promise<{ base: URL; greeting: HttpAnswer }> {
  const secure = apiUrl('https:', host)
  const plain = apiUrl('http:', host)
  try {
    return { base: secure, greeting: await ask(secure) }
  } catch (error) {
    // A certificate that is not good is no reason to go on without any: somebody may sit in between.
    const noTls = error instanceof ProbeEnd && (error.finding.class === 'no-tls' || error.finding.class === 'connection')
    if (!noTls || !mayCarryCredential(plain, insecure)) throw error
    return { base: plain, greeting: await ask(plain) }
  }
}
