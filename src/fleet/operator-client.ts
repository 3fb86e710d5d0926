import { AWS_TIMEOUTS, awsClientOptions } from '../aws-client.js'
import { ServiceError } from '../errors.js'

/** Bounds one call of an operator's command, its retries included: throttling of DescribeTasks is usual on a big cluster, and waits between tries. */
export const OPERATOR_CALL_MS = 60_000

/** Options of a client on an operator's machine, where the SDK finds the region (AWS_REGION, the profile) unless it is known better. */
export function operatorClientOptions(region: string | undefined) {
  const { region: _, ...options } = awsClientOptions('', AWS_TIMEOUTS)
  // The SDK for JavaScript passes over AWS_DEFAULT_REGION, which the aws command line reads.
  const named = region ?? (process.env['AWS_REGION'] || process.env['AWS_DEFAULT_REGION'] || undefined)
  return { ...options, maxAttempts: 5, ...(named === undefined ? {} : { region: named }) }
}

/**
 * The region that the client will call.
 * @throws {ServiceError} E_SETTINGS where nobody names one
 */
export async function clientRegion(client: { readonly config: { readonly region: () => Promise<string> } }): Promise<string> {
  try {
    return await client.config.region()
  } catch {
    throw new ServiceError('E_SETTINGS', 'no AWS region is set', { fix: 'export AWS_REGION=eu-west-1 (or AWS_PROFILE with a region in it)' })
  }
}
