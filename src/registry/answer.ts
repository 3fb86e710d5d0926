import type { HttpAnswer } from '../http-request.js'
import { ProbeEnd } from './finding.js'
import { refusalHint } from './hints.js'
import { readQuota, tellQuota } from './quota.js'
import { withoutSecrets } from './without-secrets.js'

/** What a registry's or token server's answer to a login means. @returns undefined for 200: it said yes */
export function judge(answer: HttpAnswer, url: URL, secrets: readonly string[]): ProbeEnd | undefined {
  const { status } = answer
  const { host } = url
  const said = `${status}${quoteWords(answer, secrets)}`
  if (status === 200) return undefined
  const code = status >= 400 && status < 500 && status !== 429 ? errorCode(answer) : undefined
  // ECR answers an expired password with 400 or 403, others an unknown robot with 404: the code in the body says what is meant.
  if (status === 401 || code === 'UNAUTHORIZED') {
    return new ProbeEnd('unauthorized', `${host} refuses this username and password (${said})${refusalHint(host)}`)
  }
  // GHCR and older GitLab answer a wrong password with 403 as well, so this cannot be told from an account without the right.
  if (status === 403 || code === 'DENIED') {
    return new ProbeEnd('forbidden', `${host} denies this account (${said}): the password is wrong or expired, or the account has no right here${refusalHint(host)}`)
  }
  if (status === 429) return new ProbeEnd('rate-limited', `${host} limits how often it may be asked (${said})${tellQuota(readQuota(answer))}${retryAfter(answer)}`)
  if (status >= 300 && status < 400) return new ProbeEnd('redirect', `${host} sends to ${redirectTarget(answer, url)} (${status}), and a credential does not follow a redirect: use the name that the registry answers at`)
  if (status >= 500) return new ProbeEnd('server-error', `${host} is in trouble itself (${said}): try again later`)
  return new ProbeEnd('not-a-registry', `${host} does not answer as a registry (${said}): is this the registry's host and port?`)
}

/** Seconds to wait, where the server says so in seconds. */
export function retryAfter({ headers }: HttpAnswer): string {
  const seconds = /^\d{1,6}$/.exec(headers['retry-after'] ?? '')?.[0]
  return seconds === undefined ? ': try again later' : `: try again in ${seconds} s`
}

/** The fields of a JSON object that a server sent, or none. */
export function readFields({ body }: HttpAnswer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function firstError(answer: HttpAnswer): Record<string, unknown> {
  const { errors } = readFields(answer)
  const error: unknown = Array.isArray(errors) ? errors[0] : undefined
  return typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : {}
}

function errorCode(answer: HttpAnswer): unknown {
  return firstError(answer)['code']
}

/** The server's own words, in brackets after the status: `{"errors":[{"message"}]}`, Docker Hub's `details`, or plain text. HTML is no help to anyone. */
function quoteWords(answer: HttpAnswer, secrets: readonly string[]): string {
  const fields = readFields(answer)
  const plain = /^text\/plain\b/.test(answer.headers['content-type'] ?? '') ? answer.body.toString() : undefined
  const words = [firstError(answer)['message'], fields['details'], fields['message'], plain].find((text) => typeof text === 'string')
  const safe = typeof words === 'string' ? withoutSecrets(words, secrets) : undefined
  return safe === undefined ? '' : `: ${safe}`
}

/** Only the host: a redirect's path and query may hold anything. */
function redirectTarget({ headers: { location = '' } }: HttpAnswer, url: URL): string {
  return URL.canParse(location, url.href) ? new URL(location, url).host || 'another place' : 'another place'
}
