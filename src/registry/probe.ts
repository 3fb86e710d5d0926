import type { Credential } from '../core/credential.js'
import { judge } from './answer.js'
import { converse, greet, type Conversation, type ProbeOptions } from './conversation.js'
import { apiHost } from './endpoint.js'
import { ProbeEnd, verdictOf, type Finding, type Verdict } from './finding.js'
import { basicAuthorization, login } from './login.js'

export type { ProbeOptions } from './conversation.js'
export type ProbeResult = Finding & { readonly registry: string; readonly verdict: Verdict }

/**
 * Logs in to a registry as the ECS agent's Docker does before it pulls. One try: the caller decides about another, because failed logins lock accounts.
 * @param registry canonical name; with a path (`acme.jfrog.io/team-a`) the login at its host, which is all that a login can tell
 * @throws the signal's reason once it is aborted; whatever else goes wrong is an `unknown` with its reason
 */
export async function probeRegistry(registry: string, credential: Credential, options: ProbeOptions, signal: AbortSignal): Promise<ProbeResult> {
  const finding = await converse(options, credential, signal, async (conversation) => {
    const { base, greeting } = await greet(conversation, apiHost(registry))
    const authorization = greeting.status === 200
      ? await loginWhereNobodyAsked(conversation, base, credential)
      : await login(conversation, base, greeting, credential)
    const refusal = judge(await conversation.ask(base, { authorization }), base, conversation.secrets)
    return refusal?.finding ?? { class: 'ok', reason: 'the registry accepts the login' }
  })
  return { registry, verdict: verdictOf(finding), ...finding }
}

/**
 * An open /v2/ proves nothing, and Docker would never show the credential there. A registry that lets everyone read (Nexus) still refuses a wrong
 * password when it is shown one.
 */
async function loginWhereNobodyAsked(conversation: Conversation, base: URL, credential: Credential): Promise<string | undefined> {
  const answer = await conversation.ask(base, { authorization: basicAuthorization(credential) })
  if (answer.status === 200) {
    throw new ProbeEnd('anonymous', `${base.host} lets everyone in, so whether this credential is right cannot be told`)
  }
  const offersBearer = /\bbearer\b/i.test(answer.headers['www-authenticate'] ?? '')
  if (answer.status === 401 && offersBearer) return login(conversation, base, answer, credential)
  throw judge(answer, base, conversation.secrets)
}
