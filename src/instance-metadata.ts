import { ServiceError } from './errors.js'
import { httpRequest, type HttpAnswer } from './http-request.js'

const TRY_MS = 1_000
const TRIES = 2

/**
 * One value of the EC2 instance metadata, by IMDSv2, e.g. `placement/region` or `instance-id`. Two tries of a second for each request.
 * @param path under `/latest/meta-data/`
 * @throws {ServiceError} E_IMDS with what to change on the instance
 */
export async function readInstanceMetadata(path: string, signal: AbortSignal, environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (isTrue(environment['AWS_EC2_METADATA_DISABLED'])) {
    throw new ServiceError('E_IMDS', 'could not ask the instance metadata: AWS_EC2_METADATA_DISABLED is set', {
      fix: 'remove AWS_EC2_METADATA_DISABLED, or give AWS_REGION and credentials by the environment',
    })
  }
  const base = metadataEndpoint(environment)
  const token = await ask(base, 'PUT', '/latest/api/token', { 'x-aws-ec2-metadata-token-ttl-seconds': '60' }, signal)
  if (token.status !== 200) {
    throw new ServiceError('E_IMDS', `the instance metadata at ${base} refused an IMDSv2 token (HTTP ${token.status})`, {
      fix: token.status === 403
        ? 'turn it on: aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id ID'
        : 'look for a proxy or firewall rule between this process and 169.254.169.254',
    })
  }
  const answer = await ask(base, 'GET', `/latest/meta-data/${path}`, { 'x-aws-ec2-metadata-token': token.body.toString() }, signal)
  if (answer.status !== 200) {
    throw new ServiceError('E_IMDS', `the instance metadata at ${base} has no ${path} (HTTP ${answer.status})`, {
      fix: path.startsWith('iam/') ? 'attach an instance profile with a role: aws ec2 associate-iam-instance-profile' : undefined,
    })
  }
  return answer.body.toString().trim()
}

/** Why the SDK found no credentials, as the instance metadata shows it: that error loses the reason in a chain of providers. */
export async function explainMissingCredentials(signal: AbortSignal, environment: NodeJS.ProcessEnv = process.env): Promise<ServiceError> {
  const nowhere = 'no AWS credentials: none in the environment or a profile, and'
  try {
    const role = await readInstanceMetadata('iam/security-credentials/', signal, environment)
    return new ServiceError('E_IMDS', `${nowhere} the instance metadata names the role ${firstLine(role)} but handed out none for it`, {
      fix: 'see that the role still exists and trusts ec2.amazonaws.com; a newly attached profile needs a minute',
    })
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    const noRole = error.message.includes('has no iam/')
    return new ServiceError('E_IMDS', `${nowhere} ${noRole ? 'this instance has no role' : error.message}`, { fix: error.details.fix })
  }
}

function metadataEndpoint(environment: NodeJS.ProcessEnv): string {
  const named = environment['AWS_EC2_METADATA_SERVICE_ENDPOINT']
  if (named) return named.replace(/\/+$/, '')
  return environment['AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE']?.toLowerCase() === 'ipv6' ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254'
}

async function ask(base: string, method: string, path: string, headers: Record<string, string>, signal: AbortSignal): Promise<HttpAnswer> {
  let failure: unknown
  for (let attempt = 0; attempt < TRIES; attempt++) {
    try {
      const answer = await httpRequest(base + path, { method, headers, timeoutMs: TRY_MS, maxBodyBytes: 4096 }, signal)
      if (answer.status < 500) return answer
      failure = new Error(`HTTP ${answer.status}`)
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  const { name, code, message } = failure as NodeJS.ErrnoException
  const why = name === 'TimeoutError' ? `no answer within ${TRY_MS / 1000} s` : (code ?? message)
  throw new ServiceError('E_IMDS', `could not reach the instance metadata at ${base}: ${why}`, {
    // The token answer has a TTL of one hop by default: it dies on a container's bridge.
    fix: name === 'TimeoutError'
      ? 'in a container, raise the hop limit: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID; elsewhere give AWS_REGION and credentials'
      : 'off EC2 give AWS_REGION and credentials by the environment; on EC2 look for a firewall rule against 169.254.169.254',
  })
}

function isTrue(text: string | undefined): boolean {
  return text !== undefined && text !== '' && text.toLowerCase() !== 'false'
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.replace(/[^\w+=,.@-]/g, '').slice(0, 64) ?? ''
}
