import type { Credential } from '../core/credential.js'
import { HUB_KEY } from '../core/registry-name.js'
import type { HttpAnswer } from '../http-request.js'
import { judge, retryAfter } from './answer.js'
import { converse, greet, type ProbeOptions } from './conversation.js'
import { apiHost } from './endpoint.js'
import { ProbeEnd, verdictOf, type Finding, type Verdict } from './finding.js'
import { login } from './login.js'
import { readQuota, tellQuota, type Quota } from './quota.js'
import { parseImage } from './reference.js'

/** `quota` only where the registry tells one, `digest` only where it has the image. */
export type ImageProbeResult = Finding & { readonly image: string; readonly verdict: Verdict; readonly quota?: Quota; readonly digest?: string }

/** Docker's own image for reading the quota of an account (docs.docker.com, "Docker Hub pull usage and limits"). */
export const HUB_QUOTA_IMAGE = 'ratelimitpreview/test:latest'

// What Docker accepts; a registry converts to the poorest, or answers 404, where these are missing.
const MANIFESTS = [
  'application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
].join(', ')

/**
 * Asks whether an image could be pulled with a credential. HEAD on the manifest: Docker Hub counts GET as a pull, and HEAD not.
 * @param credential undefined: as an anonymous pull
 * @throws the signal's reason once it is aborted
 */
export async function probeImage(image: string, credential: Credential | undefined, options: ProbeOptions, signal: AbortSignal): Promise<ImageProbeResult> {
  const finding = await converse<ImageFinding>(options, credential, signal, async (conversation) => {
    const parsed = parseImage(image)
    if (parsed === undefined) throw new ProbeEnd('not-found', 'this is not the name of an image: write HOST/REPOSITORY:TAG')
    const { base, greeting } = await greet(conversation, apiHost(parsed.host === 'docker.io' ? HUB_KEY : parsed.host))
    const authorization = greeting.status === 200 ? undefined
      : await login(conversation, base, greeting, credential, `repository:${parsed.repository}:pull`)
    const url = new URL(`${parsed.repository}/manifests/${parsed.reference}`, base)
    const answer = await conversation.ask(url, { method: 'HEAD', authorization, accept: MANIFESTS })
    if (answer.status === 401 && authorization === undefined && credential !== undefined && greeting.status === 200) {
      throw new ProbeEnd('unauthorized', `${url.host} wants a login for this image (401), but its /v2/ asks for none, and so Docker never sends the credential: make /v2/ answer 401`)
    }
    return judgeManifest(answer, url, conversation.secrets, authorization)
  })
  return { image, verdict: verdictOf(finding), ...finding }
}

type ImageFinding = Finding & { readonly quota?: Quota; readonly digest?: string }

/** HEAD has no body, so only status and headers tell. */
function judgeManifest(answer: HttpAnswer, url: URL, secrets: readonly string[], authorization: string | undefined): ImageFinding {
  const quota = readQuota(answer)
  const extra = quota === undefined ? {} : { quota }
  const digest = /^[a-z0-9]+:[0-9a-f]{32,128}$/.exec(String(answer.headers['docker-content-digest'] ?? ''))?.[0]
  switch (answer.status) {
    case 200:
      return { class: 'ok', reason: `the image is there and may be pulled${tellQuota(quota)}`, ...extra, ...(digest === undefined ? {} : { digest }) }
    case 401:
      if (authorization === undefined) return { class: 'unauthorized', reason: `${url.host} wants a login for this image (401), and there is no credential for it`, ...extra }
      // A token server gives a token without the right to this repository, and leaves it to the registry to say no (Docker Hub, Harbor).
      return { class: authorization.startsWith('Basic ') ? 'unauthorized' : 'not-found', reason: `${url.host} does not let this account pull (401): the image does not exist, or the account has no right to it`, ...extra }
    case 403:
      return { class: 'forbidden', reason: `${url.host} does not let this account pull the image (403): give it the right to pull`, ...extra }
    case 404:
      return { class: 'not-found', reason: `${url.host} has no such image for this account (404): check repository and tag, and the account's right to pull`, ...extra }
    case 429:
      return { class: 'rate-limited', reason: `${url.host} has had too many pulls from this account or address (429)${tellQuota(quota)}${retryAfter(answer)}`, ...extra }
    default:
      return { ...(judge(answer, url, secrets) ?? new ProbeEnd('not-a-registry', '')).finding, ...extra }
  }
}
