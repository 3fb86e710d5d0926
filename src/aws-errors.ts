/**
 * What AWS answered, in words that a person can act on. Nothing is taken over from an answer but what is known to be safe: the name of an
 * exception, the sentence that a 4xx gives with it, and the request id. A GetSecretValue answer that did not parse is an error as well, and it
 * carries the secret (`message`, `$responseBodyText`, `$response`), so the SDK's error is never a `cause`.
 */
import { awsEndpointHost } from './aws-client.js'
import { ServiceError } from './errors.js'

/** One call, as the message shall name it. */
export type AwsAttempt = {
  /** IAM's name: `secretsmanager:GetSecretValue`, `ecs:UpdateService`. */
  readonly action: string
  /** Name or ARN. */
  readonly resource: string
  readonly region: string
  /** Host that was called, where it is not the region's own. */
  readonly endpoint?: string | undefined
  /** Every action on that resource that the work takes, where it is more than this one: to be allowed at once. */
  readonly needs?: readonly string[] | undefined
}

type Facts = {
  readonly name: string
  /** AWS's own sentence, one line; empty where it is not known to be safe. */
  readonly said: string
  readonly status: number | undefined
  readonly requestId: string | undefined
  readonly errno: string | undefined
}

const AGAIN = 'the service tries again by itself, and a command by hand wants to be given again'

/** @returns the error to throw; its code tells IAM, KMS, network and the rest apart */
export function describeAwsError(error: unknown, attempt: AwsAttempt): ServiceError {
  if (error instanceof ServiceError) return error
  const facts = readFacts(error)
  const { name, said, errno } = facts
  const what = `${attempt.action} on ${attempt.resource} in ${attempt.region}`

  if (name === 'CredentialsProviderError' || name === 'ProviderError' || name === 'TokenProviderError') {
    return new ServiceError('E_IMDS', `no AWS credentials for ${what}`, {
      fix: 'attach an instance profile with a role, or give credentials by the environment (AWS_PROFILE, AWS_ACCESS_KEY_ID)',
    })
  }
  if (/^ExpiredToken|^RequestExpired/.test(name)) {
    return new ServiceError('E_IMDS', `${what}: the credentials in use have expired`, {
      fix: 'on an instance see that the clock is right (chronyc tracking) and that 169.254.169.254 answers; elsewhere renew them (aws sso login)',
    })
  }
  if (name === 'RequestTimeTooSkewed' || /signature (expired|not yet current)/i.test(said)) {
    return new ServiceError('E_AWS', `${what}: AWS refused the signature's time: the clock of this machine is off`, {
      fix: 'set the clock: chronyc makestep, or timedatectl set-ntp true',
    })
  }
  if (/^(UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken)/.test(name)) {
    return new ServiceError('E_IAM', `${what}: AWS does not accept these credentials (${name})`, {
      fix: 'see where they come from (AWS_ACCESS_KEY_ID in the environment wins over the instance role), and that the region is enabled and of the same partition',
    })
  }
  return kmsError(facts, what, attempt)
    ?? iamError(facts, what, attempt)
    ?? secretError(facts, what, attempt)
    ?? clusterError(facts, attempt)
    ?? (isThrottling(error, facts) ? new ServiceError('E_THROTTLED', `${what}: AWS throttles the calls of this account (${name})`, {
      fix: `${AGAIN}; with many hosts raise REGCRED_INTERVAL`,
    }) : undefined)
    ?? (isNetwork(name, errno) ? networkError(facts, error, what, attempt) : undefined)
    ?? otherError(facts, what)
}

function readFacts(error: unknown): Facts {
  const { name, message, $fault, $metadata, code } = (error ?? {}) as {
    name?: unknown; message?: unknown; $fault?: unknown; $metadata?: { httpStatusCode?: number; requestId?: string }; code?: unknown
  }
  const status = typeof $metadata?.httpStatusCode === 'number' ? $metadata.httpStatusCode : undefined
  const isAnswer = $fault === 'client' && status !== undefined && status >= 400 && status < 500
  return {
    name: typeof name === 'string' && /^[A-Za-z][A-Za-z0-9]{0,79}$/.test(name) ? name : 'an unknown error',
    said: isAnswer && typeof message === 'string' && message !== 'UnknownError' ? message.replace(/\s+/g, ' ').trim().slice(0, 700) : '',
    status,
    requestId: typeof $metadata?.requestId === 'string' && /^[\w-]{1,64}$/.test($metadata.requestId) ? $metadata.requestId : undefined,
    errno: typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code) ? code : undefined,
  }
}

/** The three texts are those of AWS's knowledge centre, "secrets-manager-cross-account-key". */
function kmsError({ name, said }: Facts, what: string, attempt: AwsAttempt): ServiceError | undefined {
  if (/different AWS account.*default KMS/i.test(said)) {
    return new ServiceError('E_KMS', `${what}: the secret is of another account and encrypted with that account's aws/secretsmanager key, which cannot be shared`, {
      fix: 'give the secret a key of your own there (aws secretsmanager update-secret --kms-key-id KEY), and allow this role kms:Decrypt in the key policy',
    })
  }
  if (/not encrypted with the current KMS key/i.test(said)) {
    return new ServiceError('E_KMS', `${what}: this version is still encrypted with the secret's former KMS key, which this role may not use`, {
      fix: 'put the value again, so that it is encrypted with the current key: ecs-regcred secret put, or aws secretsmanager put-secret-value',
    })
  }
  if (/^KMS|^(De|En)cryptionFailure/.test(name) && /disabled|pending deletion|invalid state|KMSInvalidState/i.test(`${name} ${said}`)) {
    return new ServiceError('E_KMS', `${what}: the secret's KMS key is disabled or about to be deleted`, {
      fix: 'aws kms enable-key --key-id KEY (aws kms cancel-key-deletion first)',
    })
  }
  if (/access to KMS is not allowed|perform: kms:/i.test(said) || /^(De|En)cryptionFailure|^KMSAccessDenied/.test(name)) {
    const key = /on resource: (arn:[\w:/-]+)/.exec(said)?.[1] ?? 'KEY-ARN'
    // To put a value Secrets Manager needs a data key, and decrypts what is there ("Permissions for the KMS key" in its guide).
    const isPut = /:(Put|Create)/.test(attempt.action)
    const missing = /perform: (kms:\w+)/.exec(said)?.[1] ?? (isPut ? 'kms:GenerateDataKey or kms:Decrypt' : 'kms:Decrypt')
    const statement = {
      Effect: 'Allow', Action: isPut ? ['kms:GenerateDataKey', 'kms:Decrypt'] : 'kms:Decrypt', Resource: key,
      Condition: { StringEquals: { 'kms:ViaService': `secretsmanager.${attempt.region}.amazonaws.com` } },
    }
    const problem = isPut ? 'the role may write the secret but not encrypt it' : 'the role may read the secret but not decrypt it'
    return new ServiceError('E_KMS', `${what}: ${problem}: ${missing} on its key is missing`, {
      fix: `add to the role's policy, and see that the key policy allows the role or its account: ${JSON.stringify(statement)}`,
    })
  }
  return undefined
}

function iamError({ name, said }: Facts, what: string, attempt: AwsAttempt): ServiceError | undefined {
  if (!/^(AccessDenied|UnauthorizedOperation|NotAuthorized)/.test(name)) return undefined
  const principal = /User: (arn:[\w:/+=,.@-]+)/.exec(said)?.[1]
  const role = /:assumed-role\/([^/]+)\//.exec(principal ?? '')?.[1]
  const who = role ? `role ${role}` : (principal ?? 'the identity in use')
  const action = /perform: ([a-z0-9-]+:\w+)/.exec(said)?.[1] ?? attempt.action
  const statement = JSON.stringify(allowStatement(action, principal, /on resource: (arn:[\w:/+=,.@!*-]+)/.exec(said)?.[1], attempt))
  const policy = /(?:explicit deny in an?|because no) ([\w -]*?polic(?:y|ies)|permissions boundary)/i.exec(said)?.[1] ?? ''
  const why = said.includes('explicit deny') ? `an explicit deny in ${policy || 'a policy'}` : policy ? `no ${policy} allows it` : 'AWS gives no reason'
  return new ServiceError('E_IAM', `${what}: ${principal ?? who} is not allowed ${action}: ${why}`, { fix: iamFix(said, policy, who, statement) })
}

function iamFix(said: string, policy: string, who: string, statement: string): string {
  const place = /service control|resource control/i.test(policy) ? `the organisation's ${policy}, which its administrators keep`
    : /resource-based/i.test(policy) ? "the resource's own policy (another account's secret needs one: aws secretsmanager put-resource-policy)"
    : /endpoint/i.test(policy) ? 'the policy of the VPC endpoint'
    : /boundary/i.test(policy) ? `the permissions boundary of ${who}`
    : /session/i.test(policy) ? `the session policy of ${who}`
    : `the policies of ${who}`
  if (said.includes('explicit deny')) return `a deny wins over every allow: find it in ${place}, and except ${who} from it`
  return `add to ${place}: ${statement}`
}

function allowStatement(action: string, principal: string | undefined, resource: string | undefined, attempt: AwsAttempt): Record<string, unknown> {
  const needs = attempt.needs ?? ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue']
  const [, partition = 'aws', , , account = '*'] = principal?.split(':') ?? []
  const named = resource ?? attempt.resource
  return {
    Effect: 'Allow',
    Action: needs.includes(action) ? needs : action,
    // Six random characters end a secret's ARN; `??????` matches them and, unlike `*`, no other secret whose name only begins alike.
    Resource: named.startsWith('arn:') ? named
      : action.startsWith('secretsmanager:') ? `arn:${partition}:secretsmanager:${attempt.region}:${account}:secret:${named}-??????`
      : '*',
  }
}

function secretError({ name, said }: Facts, what: string, attempt: AwsAttempt): ServiceError | undefined {
  if (!attempt.action.startsWith('secretsmanager:')) return undefined
  if (/marked (for deletion|deleted)|scheduled for deletion/i.test(said)) return deletedSecretError(attempt)
  if (name !== 'ResourceNotFoundException') return undefined
  if (/value for|staging label|VersionId/i.test(said)) {
    return new ServiceError('E_NO_CURRENT', `${what}: the secret has no such version: ${said}`, {
      fix: 'put a value into it: ecs-regcred secret put, or aws secretsmanager put-secret-value',
    })
  }
  return new ServiceError('E_SECRET_NOT_FOUND', `there is no secret ${attempt.resource} in ${attempt.region}`, {
    fix: attempt.resource.startsWith('arn:') ? 'compare the ARN with: aws secretsmanager list-secrets'
      : `is it in another region or account? Its ARN names both: aws secretsmanager list-secrets --region ${attempt.region}`,
  })
}

function clusterError({ name }: Facts, { resource, region }: AwsAttempt): ServiceError | undefined {
  if (name !== 'ClusterNotFoundException') return undefined
  return new ServiceError('E_AWS', `there is no cluster ${resource.split('/', 1)[0]} in ${region}`, {
    fix: `is it in another region or account? Those here: aws ecs list-clusters --region ${region}`,
  })
}

/** A secret that waits to be deleted: DescribeSecret answers it with a date, GetSecretValue with an error. */
export function deletedSecretError({ resource, region }: AwsAttempt, deletedAt?: Date): ServiceError {
  return new ServiceError('E_SECRET_DELETED', `secret ${resource} in ${region} is deleted${deletedAt ? ` since ${deletedAt.toISOString()}` : ''}, and can still be restored`, {
    fix: `aws secretsmanager restore-secret --region ${region} --secret-id ${resource}`,
  })
}

function isThrottling(error: unknown, { name, status }: Facts): boolean {
  const { $retryable } = (error ?? {}) as { $retryable?: { throttling?: boolean } }
  return status === 429 || $retryable?.throttling === true || /^(Throttl|TooManyRequests|RequestLimitExceeded|RequestThrottled|SlowDown|LimitExceeded|PriorRequestNotComplete)/.test(name)
}

const TLS_ERRNO = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_|ERR_SSL_|EPROTO|HOSTNAME_MISMATCH)/

function isNetwork(name: string, errno: string | undefined): boolean {
  return name === 'TimeoutError' || name === 'AbortError'
    || (errno !== undefined && (TLS_ERRNO.test(errno) || /^(E[A-Z]{3,}|EAI_AGAIN|HPE_\w+|UND_ERR_\w+|ERR_PROXY_\w+)$/.test(errno)))
}

function networkError({ errno }: Facts, error: unknown, what: string, attempt: AwsAttempt): ServiceError {
  const service = attempt.action.startsWith('ecs:') ? 'ecs' : 'secretsmanager'
  const host = attempt.endpoint ?? awsEndpointHost(service, attempt.region)
  const endpointHint = `in a private subnet: a VPC endpoint com.amazonaws.${attempt.region}.${service} with private DNS, whose security group lets this host in on 443; `
    + 'or a proxy (HTTPS_PROXY, with NO_PROXY=169.254.169.254)'
  const failure = (why: string, fix: string): ServiceError => new ServiceError('E_NET', `${what}: ${host}: ${why}`, { fix })
  switch (errno) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failure(`the name does not resolve (${errno})`, `see that ${attempt.region} is a region and that this host has DNS (getent hosts ${host}); ${endpointHint}`)
    case 'ECONNREFUSED':
      return failure('connection refused', `see what listens there (AWS_ENDPOINT_URL…, a proxy); ${endpointHint}`)
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return failure(`the connection was cut (${errno})`, `${AGAIN}; if it lasts, look for a proxy or firewall on the way; ${endpointHint}`)
  }
  if (errno?.startsWith('HPE_')) return failure(`what answers there is not HTTP (${errno})`, 'see what listens there (AWS_ENDPOINT_URL…), and whether a proxy answers in its place')
  if (errno === 'EPROTO' || errno?.startsWith('ERR_SSL_')) {
    return failure(`what answers there is not TLS, or none that can be agreed on (${errno})`, 'see what listens there (AWS_ENDPOINT_URL… with https: for a plain port), and whether a proxy answers in its place')
  }
  if (errno !== undefined && TLS_ERRNO.test(errno)) {
    return failure(`TLS failed (${errno})`, 'a proxy that opens TLS needs its CA in NODE_EXTRA_CA_CERTS; else see the clock and the name of the endpoint')
  }
  const timedOut = errno === 'ETIMEDOUT' || errno === undefined || (error as Error).name === 'TimeoutError'
  return failure(timedOut ? 'no answer in time' : `not reachable (${errno})`, `security groups, network ACLs and routes for 443; ${endpointHint}`)
}

function otherError({ name, said, status, requestId }: Facts, what: string): ServiceError {
  const request = requestId === undefined ? '' : `, request ${requestId}`
  if (status !== undefined && status >= 500) {
    return new ServiceError('E_AWS', `${what}: AWS answered HTTP ${status} (${name}${request})`, { fix: `${AGAIN}; see https://health.aws.amazon.com` })
  }
  if (said !== '') return new ServiceError('E_AWS', `${what}: AWS answered ${name}: ${said} (HTTP ${String(status)}${request})`)
  return new ServiceError('E_AWS', `${what}: the answer could not be understood (${name}${status === undefined ? '' : `, HTTP ${status}`}${request})`, {
    fix: 'see whether a proxy answers in its place; the answer itself is not shown, for it may hold the secret',
  })
}
