import type { CreateSecretCommandOutput, GetSecretValueCommandOutput, PutSecretValueCommandOutput, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { boundedAwsCall } from '../aws-client.js'
import { deletedSecretError, describeAwsError } from '../aws-errors.js'
import type { SecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import { clientRegion, OPERATOR_CALL_MS, operatorClientOptions } from './operator-client.js'

export type SecretValue = { readonly SecretString: string } | { readonly SecretBinary: Uint8Array }

/** The calls to Secrets Manager that an operator's commands make about one secret. */
export type SecretsCalls = {
  readonly get: (stage: string, signal: AbortSignal) => Promise<GetSecretValueCommandOutput>
  /** Version id that has the stage. The value itself is not asked for. */
  readonly versionOf: (stage: string, signal: AbortSignal) => Promise<string>
  // No signal from here on: once it is sent, whether it was done must be known.
  readonly create: (value: SecretValue) => Promise<CreateSecretCommandOutput>
  readonly put: (value: SecretValue, token: string | undefined) => Promise<PutSecretValueCommandOutput>
}

/** @throws {ServiceError} E_SETTINGS where there is no region */
export async function secretsCalls({ secretId, region: ownRegion }: SecretReference): Promise<SecretsCalls> {
  const sdk = await import('@aws-sdk/client-secrets-manager')
  const client: SecretsManagerClient = new sdk.SecretsManagerClient(operatorClientOptions(ownRegion))
  const region = await clientRegion(client)
  const attempt = (action: string) => ({ action: `secretsmanager:${action}`, resource: secretId, region })

  const toPut = ['secretsmanager:GetSecretValue', 'secretsmanager:PutSecretValue']

  const call = async <T>(action: string, send: (abortSignal: AbortSignal) => Promise<T>, signal = new AbortController().signal): Promise<T> => {
    try {
      return await boundedAwsCall(send, OPERATOR_CALL_MS, signal)
    } catch (error) {
      if (signal.aborted) throw new ServiceError('E_INTERRUPTED', `interrupted while asking Secrets Manager (${action})`)
      throw describeAwsError(error, { ...attempt(action), needs: action === 'DescribeSecret' ? ['secretsmanager:DescribeSecret'] : toPut })
    }
  }
  return {
    get: (stage, signal) => call('GetSecretValue', (abortSignal) => client.send(new sdk.GetSecretValueCommand({ SecretId: secretId, VersionStage: stage }), { abortSignal }), signal),
    versionOf: async (stage, signal) => {
      const secret = await call('DescribeSecret', (abortSignal) => client.send(new sdk.DescribeSecretCommand({ SecretId: secretId }), { abortSignal }), signal)
      if (secret.DeletedDate !== undefined) throw deletedSecretError(attempt('DescribeSecret'), secret.DeletedDate)
      const version = Object.entries(secret.VersionIdsToStages ?? {}).find(([, stages]) => stages.includes(stage))?.[0]
      if (version === undefined) throw new ServiceError('E_NO_CURRENT', `secret ${secretId}: no version has the stage ${stage}`, { fix: 'put a value into it: ecs-regcred secret put' })
      return version
    },
    create: (value) => call('CreateSecret', (abortSignal) => client.send(new sdk.CreateSecretCommand({
      Name: secretId, Description: 'Registry credentials of the ECS agent, read by ecs-regcred', ...value,
    }), { abortSignal })),
    put: (value, token) => call('PutSecretValue', (abortSignal) => client.send(new sdk.PutSecretValueCommand({
      SecretId: secretId, ...(token === undefined ? {} : { ClientRequestToken: token }), ...value,
    }), { abortSignal })),
  }
}
