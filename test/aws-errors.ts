import { inspect } from 'node:util'
import t from 'tap'
import { describeAwsError, type AwsAttempt } from '../src/aws-errors.js'
import { ServiceError } from '../src/errors.js'

const CANARY = 'canary-2Lm8-password'
const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/registry-AbCdEf'
const reading: AwsAttempt = { action: 'secretsmanager:GetSecretValue', resource: 'prod/registry', region: 'eu-west-1' }
const USER = 'User: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0abc is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/registry'

/** An exception as the SDK throws it for an answer of 4xx. */
function refusal(name: string, message: string, status = 400): Error {
  return Object.assign(new Error(message), { name, $fault: 'client', $metadata: { httpStatusCode: status, requestId: '0a1b2c3d-0000-4000-8000-000000000000' } })
}

function failure(code: string, name = 'Error'): Error {
  return Object.assign(new Error('the socket said something'), { code, name })
}

t.test('each refusal of AWS becomes a code and a fix', async (t) => {
  const cases: [string, Error, string, RegExp, RegExp][] = [
    ['KMS: no kms:Decrypt', refusal('AccessDeniedException', 'Access to KMS is not allowed'), 'E_KMS', /not decrypt it/, /"kms:Decrypt","Resource":"KEY-ARN".*"kms:ViaService":"secretsmanager\.eu-west-1\.amazonaws\.com"/],
    ['KMS: the key is named', refusal('AccessDeniedException', 'User: arn:aws:sts::1:assumed-role/r/i is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:123456789012:key/abc-1 because no'), 'E_KMS', /kms:Decrypt/, /"Resource":"arn:aws:kms:eu-west-1:123456789012:key\/abc-1"/],
    ['KMS: another account', refusal('InvalidRequestException', "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key."), 'E_KMS', /another account/, /--kms-key-id/],
    ['KMS: a former key', refusal('AccessDeniedException', 'Access to KMS is not allowed. This version of secret is not encrypted with the current KMS key.'), 'E_KMS', /former KMS key/, /put the value again/],
    ['KMS: a disabled key', refusal('DecryptionFailure', 'The key is disabled.'), 'E_KMS', /disabled/, /enable-key/],
    ['KMS: no reason', refusal('DecryptionFailure', "Secrets Manager can't decrypt the protected secret text using the provided KMS key."), 'E_KMS', /not decrypt/, /kms:Decrypt/],
    ['throttled', refusal('ThrottlingException', 'Rate exceeded'), 'E_THROTTLED', /throttles/, /REGCRED_INTERVAL/],
    ['throttled by status', refusal('SomethingElse', '', 429), 'E_THROTTLED', /throttles/, /again/],
    ['missing', refusal('ResourceNotFoundException', "Secrets Manager can't find the specified secret."), 'E_SECRET_NOT_FOUND', /no secret prod\/registry in eu-west-1/, /another region/],
    ['no version', refusal('ResourceNotFoundException', "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"), 'E_NO_CURRENT', /AWSCURRENT/, /secret put/],
    ['deleted', refusal('InvalidRequestException', "You can't perform this operation on the secret because it was marked for deletion."), 'E_SECRET_DELETED', /deleted/, /restore-secret --region eu-west-1 --secret-id prod\/registry/],
    ["deleted, in moto's words", refusal('InvalidRequestException', 'You tried to perform the operation on a secret that\'s currently marked deleted.'), 'E_SECRET_DELETED', /deleted/, /restore-secret/],
    ['expired credentials', refusal('ExpiredTokenException', 'The security token included in the request is expired'), 'E_IMDS', /expired/, /169\.254\.169\.254/],
    ['unknown credentials', refusal('UnrecognizedClientException', 'The security token included in the request is invalid.'), 'E_IAM', /does not accept these credentials/, /AWS_ACCESS_KEY_ID/],
    ['a clock that is off', refusal('InvalidSignatureException', 'Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z'), 'E_AWS', /clock/, /chronyc makestep/],
    ['no credentials', Object.assign(new Error('Could not load credentials from any providers'), { name: 'CredentialsProviderError' }), 'E_IMDS', /no AWS credentials/, /instance profile/],
  ]
  for (const [name, error, code, message, fix] of cases) {
    await t.test(name, async (t) => {
      const described = describeAwsError(error, reading)
      t.type(described, ServiceError)
      t.equal(described.code, code)
      t.match(described.message, message)
      t.match(described.details.fix, fix)
    })
  }
})

// Regression: an operator who put a value was told to add kms:Decrypt, whatever was missing.
t.test('to put a value another right on the key is needed, and is the one that is named', async (t) => {
  const attempt = { ...reading, action: 'secretsmanager:PutSecretValue' }
  for (const [error, message] of [
    [refusal('AccessDeniedException', 'User: arn:aws:sts::1:assumed-role/ops/me is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:eu-west-1:123456789012:key/abc-1 because no identity-based policy allows it'), /not encrypt it: kms:GenerateDataKey on its key/],
    [refusal('AccessDeniedException', 'Access to KMS is not allowed'), /kms:GenerateDataKey or kms:Decrypt on its key/],
    [refusal('EncryptionFailure', "Secrets Manager can't encrypt the protected secret text using the provided KMS key."), /kms:GenerateDataKey or kms:Decrypt on its key/],
  ] as const) t.match(describeAwsError(error, attempt), { code: 'E_KMS', message, details: { fix: /"Action":\["kms:GenerateDataKey","kms:Decrypt"\].*"kms:ViaService"/ } })
  t.match(describeAwsError(refusal('EncryptionFailure', 'The key is disabled.'), attempt), { code: 'E_KMS', message: /disabled/ })
})

t.test('a denial names principal, action, resource, and the statement to add where it is to be added', async (t) => {
  const denied = (said: string, attempt = reading) => describeAwsError(refusal('AccessDeniedException', said), attempt)
  const plain = denied(`${USER} because no identity-based policy allows the secretsmanager:GetSecretValue action`)
  t.equal(plain.code, 'E_IAM')
  t.equal(plain.message, 'secretsmanager:GetSecretValue on prod/registry in eu-west-1: arn:aws:sts::123456789012:assumed-role/ecsInstanceRole/i-0abc is not allowed secretsmanager:GetSecretValue: no identity-based policy allows it')
  t.equal(plain.details.fix, 'add to the policies of role ecsInstanceRole: {"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue"],"Resource":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/registry-??????"}')

  const byArn = denied(USER.replace('prod/registry', ARN), { ...reading, resource: ARN })
  t.match(byArn.details.fix, `"Resource":"${ARN}"`, 'a whole ARN is taken as it is')

  const reasons: [string, RegExp, RegExp][] = [
    ['because no resource-based policy allows the secretsmanager:GetSecretValue action', /no resource-based policy/, /put-resource-policy/],
    ['because no VPC endpoint policy allows the secretsmanager:GetSecretValue action', /no VPC endpoint policy/, /policy of the VPC endpoint: \{/],
    ['because no service control policy allows the secretsmanager:GetSecretValue action', /no service control policy/, /organisation/],
    ['because no permissions boundary allows the secretsmanager:GetSecretValue action', /no permissions boundary/, /boundary of role ecsInstanceRole/],
    ['because no session policy allows the secretsmanager:GetSecretValue action', /no session policy/, /session policy of role/],
    ['with an explicit deny in a service control policy', /explicit deny in service control policy/, /deny wins over every allow.*organisation/],
    ['with an explicit deny in an identity-based policy', /explicit deny in identity-based policy/, /deny wins.*policies of role ecsInstanceRole/],
    ['with an explicit deny in a resource-based policy', /explicit deny in resource-based policy/, /deny wins.*resource's own policy/],
    ['with an explicit deny', /explicit deny in a policy/, /deny wins/],
    ['', /AWS gives no reason/, /add to the policies of role ecsInstanceRole/],
  ]
  for (const [reason, message, fix] of reasons) t.match(denied(`${USER} ${reason}`), { code: 'E_IAM', message, details: { fix } }, reason)

  const chinese = denied(USER.replace('arn:aws:', 'arn:aws-cn:'), { ...reading, region: 'cn-north-1' })
  t.match(chinese.details.fix, 'arn:aws-cn:secretsmanager:cn-north-1:')
  const ecs = denied('User: arn:aws:iam::123456789012:user/ops is not authorized to perform: ecs:UpdateService on resource: arn:aws:ecs:eu-west-1:123456789012:service/c/web', { action: 'ecs:UpdateService', resource: 'web', region: 'eu-west-1' })
  t.match(ecs.details.fix, '"Action":"ecs:UpdateService","Resource":"arn:aws:ecs:eu-west-1:123456789012:service/c/web"')
})

t.test('what happens on the way names the endpoint and what to look at', async (t) => {
  const cases: [Error, RegExp, RegExp][] = [
    [failure('ENOTFOUND'), /secretsmanager\.eu-west-1\.amazonaws\.com: the name does not resolve/, /com\.amazonaws\.eu-west-1\.secretsmanager.*NO_PROXY=169\.254\.169\.254/],
    [failure('EAI_AGAIN'), /does not resolve \(EAI_AGAIN\)/, /DNS/],
    [failure('ECONNREFUSED', 'AggregateError'), /connection refused/, /proxy/],
    [failure('ECONNRESET', 'TimeoutError'), /was cut \(ECONNRESET\)/, /again/],
    [failure('ETIMEDOUT', 'TimeoutError'), /no answer in time/, /security group/],
    [failure('EHOSTUNREACH'), /not reachable \(EHOSTUNREACH\)/, /routes/],
    [failure('SELF_SIGNED_CERT_IN_CHAIN'), /TLS failed \(SELF_SIGNED_CERT_IN_CHAIN\)/, /NODE_EXTRA_CA_CERTS/],
    [failure('ERR_TLS_CERT_ALTNAME_INVALID'), /TLS failed/, /clock/],
    [new DOMException('over', 'TimeoutError'), /no answer in time/, /443/],
  ]
  for (const [error, message, fix] of cases) t.match(describeAwsError(error, reading), { code: 'E_NET', message, details: { fix } })
  t.match(describeAwsError(failure('ENOTFOUND'), { ...reading, region: 'cn-north-1' }).message, 'secretsmanager.cn-north-1.amazonaws.com.cn:')
  t.match(describeAwsError(failure('ENOTFOUND'), { action: 'ecs:ListTasks', resource: 'c', region: 'eu-west-1' }), { message: /: ecs\.eu-west-1\.amazonaws\.com:/, details: { fix: /com\.amazonaws\.eu-west-1\.ecs/ } })
  t.match(describeAwsError(failure('ENOTFOUND'), { ...reading, endpoint: 'vpce-1.example:8443' }).message, 'vpce-1.example:8443')
})

t.test('anything else is E_AWS: with what a refusal says, and nothing of an answer that may hold the value', async (t) => {
  t.match(describeAwsError(refusal('InvalidParameterException', 'Invalid name.'), reading), { code: 'E_AWS', message: /AWS answered InvalidParameterException: Invalid name\. \(HTTP 400, request 0a1b2c3d-/ })
  t.match(describeAwsError(refusal('ClusterNotFoundException', 'Cluster not found.'), { action: 'ecs:ListServices', resource: 'c', region: 'eu-west-1' }), { code: 'E_AWS', message: 'there is no cluster c in eu-west-1', details: { fix: /list-clusters --region eu-west-1/ } })
  const holding = [
    Object.assign(new SyntaxError(`Unexpected token 'c', "${CANARY}" is not valid JSON`), { $metadata: { httpStatusCode: 200 }, $responseBodyText: CANARY, $response: { body: CANARY } }),
    Object.assign(new Error(CANARY), { name: CANARY, code: CANARY, $fault: 'server', $metadata: { httpStatusCode: 500, requestId: `${CANARY} x` } }),
    Object.assign(new Error(CANARY), { name: 'InternalServiceError', $fault: 'client', $metadata: { httpStatusCode: 500 } }),
    Object.assign(new Error(CANARY), { cause: new Error(CANARY) }),
    Object.assign(failure('ECONNRESET'), { message: CANARY }),
    CANARY, undefined, null, { message: CANARY },
  ]
  for (const error of holding) {
    const described = describeAwsError(error, reading)
    t.notMatch(`${inspect(described, { depth: 9, showHidden: true })} ${described.stack} ${JSON.stringify(described)}`, CANARY)
    t.match(described.code, /E_AWS|E_NET/)
    t.equal(described.retryable, true)
  }
})

t.test('an error of ours passes through', async (t) => {
  const ours = new ServiceError('E_NO_CURRENT', 'said already')
  t.equal(describeAwsError(ours, reading), ours)
})
