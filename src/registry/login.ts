/**
 * Docker's login to a registry, from its 401 to an Authorization header: distribution's registry/client/auth/session.go, whose steps these are
 * (`docker login` and every pull go through it). Redirects are answers here and end the conversation, so no credential follows one.
 */
import type { Credential } from '../core/credential.js'
import type { HttpAnswer } from '../http-request.js'
import { judge, readFields } from './answer.js'
import { parseChallenges, type Challenge } from './challenge.js'
import type { Conversation } from './conversation.js'
import { mayCarryCredential } from './endpoint.js'
import { ProbeEnd, verdictOf } from './finding.js'

/**
 * @param greeting what /v2/ answered to a request without credentials
 * @param credential undefined: a token for anonymous use, where the registry gives one
 * @param scope what the token is for, e.g. `repository:library/nginx:pull`; a login asks for none
 * @returns the Authorization header to go on with
 * @throws {ProbeEnd}
 */
export async function login(conversation: Conversation, base: URL, greeting: HttpAnswer, credential: Credential | undefined, scope?: string): Promise<string | undefined> {
  const challenges = demandedLogin(conversation, base, greeting)
  const basic = challenges.some(({ scheme }) => scheme === 'basic')
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
  if (bearer !== undefined) {
    const token = await fetchToken(conversation, base, bearer, credential, scope, basic)
    if (token !== undefined) return `Bearer ${token}`
  }
  if (basic) return credential === undefined ? undefined : basicAuthorization(credential)
  const offered = challenges.map(({ scheme }) => scheme).filter((scheme) => /^[a-z0-9-]{1,20}$/.test(scheme)).join(', ')
  throw new ProbeEnd('not-a-registry', `${base.host} asks for a login that Docker does not know (${offered || 'no WWW-Authenticate header that can be read'}): is this the registry's host and port?`)
}

export function basicAuthorization({ username, password }: Credential): string {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}`
}

/** @throws {ProbeEnd} where a request without credentials was answered by anything but a demand for them */
function demandedLogin({ secrets }: Conversation, base: URL, greeting: HttpAnswer): Challenge[] {
  if (greeting.status === 401) return parseChallenges(greeting.headers['www-authenticate'])
  const end = judge(greeting, base, secrets)
  // No credential was shown yet, so none was refused.
  if (end === undefined || verdictOf(end.finding) === 'refused') {
    throw new ProbeEnd('blocked', `${base.host} answers ${greeting.status} before it is shown any credential: a firewall or an allow-list does not know this machine's address`)
  }
  throw end
}

/** @returns undefined where there is no token server at the place named, and Basic is on offer too (Artifactory behind a proxy that knows half of its paths) */
async function fetchToken(
  { ask, insecure, secrets }: Conversation, base: URL, { parameters }: Challenge, credential: Credential | undefined, scope: string | undefined, basicToo: boolean,
): Promise<string | undefined> {
  const realm = parameters.get('realm') ?? ''
  if (realm === '' || !URL.canParse(realm, base.href)) {
    if (basicToo) return undefined
    throw new ProbeEnd('not-a-registry', `${base.host} asks for a token but does not name a token server that can be read`)
  }
  const url = new URL(realm, base)
  if (!mayCarryCredential(url, insecure)) {
    throw new ProbeEnd('insecure-realm', `${base.host} names a token server without TLS (${url.host}), so the credential was not sent: give that server https, or name it in REGCRED_PROBE_INSECURE`)
  }
  // A user in the URL would become credentials of its own.
  url.username = ''
  url.password = ''
  url.hash = ''
  const service = parameters.get('service')
  if (service !== undefined && service !== '') url.searchParams.append('service', service)
  for (const wanted of [scope, ...(parameters.get('scope') ?? '').split(/\s+/)]) {
    if (wanted !== undefined && wanted !== '' && !url.searchParams.getAll('scope').includes(wanted)) url.searchParams.append('scope', wanted)
  }
  url.searchParams.append('client_id', 'ecs-regcred')
  // No offline_token: a refresh token would outlive this question.
  if (credential !== undefined) url.searchParams.append('account', credential.username)

  const answer = await ask(url, { authorization: credential && basicAuthorization(credential) })
  const refusal = judge(answer, url, secrets)
  if (refusal?.finding.class === 'not-a-registry' && basicToo) return undefined
  if (refusal !== undefined) throw refusal
  const { token, access_token: accessToken } = readFields(answer)
  const found = [token, accessToken].find((value): value is string => typeof value === 'string' && /^[\x21-\x7e]+$/.test(value))
  if (found === undefined) throw new ProbeEnd('not-a-registry', `the token server ${url.host} answers 200 without a token: is it a login page or a proxy?`)
  secrets.push(found)
  return found
}
