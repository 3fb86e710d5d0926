/** What ECS says of a task that did not get its image, sorted into what a person does about it. */

export type ReasonClass =
  | 'denied' | 'no-credentials' | 'rate-limited' | 'not-found' | 'network' | 'tls' | 'platform' | 'disk' // the pull
  | 'ecr' | 'task-credentials' // a pull that is not ours to mend
  | 'other-pull'
  | 'application' | 'health-check' | 'placement' | 'scheduler' | 'other' // no pull at all

/** What to do, per class: one sentence. */
export const ADVICE: { readonly [Class in ReasonClass]: string } = {
  denied: 'the registry refused the credential, or it has no right to that repository: ecs-regcred probe REGISTRY --image IMAGE on that host',
  'no-credentials': 'that host had no credential for the registry: ecs-regcred doctor on that host',
  'rate-limited': 'the registry limits pulls: wait, or log in with an account that has a higher limit (Docker Hub counts anonymous pulls per address)',
  'not-found': 'the registry knows no such image or tag, or hides it from this credential: compare the image in the task definition',
  network: 'the host does not reach the registry: look at routes, security groups, DNS and proxies of that host',
  tls: 'the host does not trust the certificate of the registry: put the CA into /etc/docker/certs.d/REGISTRY/ca.crt of that host',
  platform: 'the image has no variant for the processor of that host',
  disk: 'the disk of that host is full',
  ecr: 'an image of Amazon ECR: the ECS agent signs in there with its own role, no credential of ours is used; look at the role and the repository policy',
  'task-credentials': 'the task definition names its own credential (repositoryCredentials), which goes before the one of the host: look at that secret and the execution role',
  'other-pull': 'the image could not be pulled, for a reason not known here: read it in full',
  application: 'the container could not be started, or ended by itself: read the reason, and look at the log of the application',
  'health-check': 'the task ran and did not become healthy: look at the health check and the log of the application',
  placement: 'no container instance has room for the task: look at CPU, memory, ports and placement constraints',
  scheduler: 'ECS stopped the task as part of its own work',
  other: 'read the reason in full',
}

/** Classes that a changed registry credential can cause. */
export function isRefusal(reasonClass: ReasonClass | undefined): boolean {
  return reasonClass === 'denied' || reasonClass === 'no-credentials'
}

const PULL_CLASSES: ReadonlySet<string> = new Set<ReasonClass>([
  'denied', 'no-credentials', 'rate-limited', 'not-found', 'network', 'tls', 'platform', 'disk', 'ecr', 'task-credentials', 'other-pull',
])

/** Whether the class tells of an image that could not be pulled. */
export function isPullFailure(reasonClass: ReasonClass | undefined): boolean {
  return reasonClass !== undefined && PULL_CLASSES.has(reasonClass)
}

// First match wins. `no basic auth credentials` goes before `unauthorized`, and the rate limit before everything: Docker Hub's 429 arrives wrapped in
// messages that also say `unauthorized` or `denied`. Docker's `pull access denied for X, repository does not exist or may require 'docker login'`
// is a refusal: a registry hides a private repository behind it.
const PULL_PATTERNS: readonly (readonly [ReasonClass, RegExp])[] = [
  ['rate-limited', /toomanyrequests|too many requests|rate limit|\b429\b/i],
  ['no-credentials', /no basic auth credentials/i],
  ['denied', /pull access denied|access to the requested resource|unauthori[sz]ed|authentication required|authentication failed|forbidden|denied|insufficient_scope|incorrect username or password|does not exist or no pull access|\b40[13]\b/i],
  ['platform', /no matching manifest for|descriptor matching platform|does not match the specified platform|image operating system|exec format error/i],
  ['not-found', /manifest unknown|manifest for \S+ not found|name unknown|repository does not exist|repository \S+ not found|image \S+ not found|: not found\b|\b404\b|invalid reference format/i],
  ['tls', /x509|tls:|certificate|server gave HTTP response to HTTPS client/i],
  ['disk', /no space left on device|not enough space|disk quota/i],
  ['network', /dial tcp|i\/o timeout|no such host|connection re(fused|set)|network is unreachable|no route to host|(request|context) canceled|deadline exceeded|could not reach any registry|temporary failure in name resolution|\bEOF\b|timed? ?out|\b50[0234]\b|proxyconnect/i],
]

const OTHER_PATTERNS: readonly (readonly [ReasonClass, RegExp])[] = [
  ['scheduler', /scaling activity|scheduler initiated|service scheduler|task stopped by|deployment .*rolling back/i],
  ['health-check', /health check/i],
  ['application', /essential container|exited|OutOfMemory|Cannot(Start|Create)Container|ContainerRuntime|Could not transition to (created|started)|OOM/i],
  ['placement', /unable to place|met all of its requirements|insufficient|RESOURCE:/i],
]

// What the ECS agent and the backend write before the cause; `inspect image has been retried` and the like follow it.
const PULL = /Cannot ?Pull|Could not transition to pulled|pull image manifest|image pull|pull access denied|failed to resolve ref/i
const ECR_IMAGE = /\.dkr[.-]ecr[.-]|(^|[\s"'/])public\.ecr\.aws\//i
const TASK_CREDENTIALS = /secrets? ?manager|\basm\b|repositoryCredentials|registry auth(entication)?/i

/**
 * @param reason `stoppedReason` of a task or `reason` of a container
 * @param image the container's image, where it is known: ECR's are told apart by it
 */
export function classifyReason(reason: string, image = ''): ReasonClass {
  // ResourceInitializationError: the credential that the task definition itself names could not be fetched (the `asm` type).
  if (/ResourceInitializationError|unable to (pull secrets|retrieve) /i.test(reason) && TASK_CREDENTIALS.test(reason)) {
    return /unable to retrieve ecr registry auth/i.test(reason) ? 'ecr' : 'task-credentials'
  }
  if (!PULL.test(reason)) return OTHER_PATTERNS.find(([, pattern]) => pattern.test(reason))?.[0] ?? 'other'
  if (/CannotPullECRContainer/i.test(reason) || ECR_IMAGE.test(reason) || ECR_IMAGE.test(image)) return 'ecr'
  // Digests, ports and tags are full of digits that look like a status: `app:404` may well be build 404.
  const words = reason.replace(/sha256:[0-9a-f]+/gi, '').replace(/"[^"]*"(?=: )/g, '').replace(/(?<=[\w./-][:./-])\d+/g, '')
  return PULL_PATTERNS.find(([, pattern]) => pattern.test(words))?.[0] ?? 'other-pull'
}
