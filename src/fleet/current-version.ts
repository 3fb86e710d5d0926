import { parseSecretReference } from '../core/secret-reference.js'
import { secretsCalls } from './secrets-calls.js'

/**
 * The version that every host should hold, as hosts name it: of several secrets the ids in the order of the setting, apart by commas.
 * The role needs secretsmanager:DescribeSecret, and no right to the value.
 */
export async function currentVersion(secretIds: readonly string[], signal: AbortSignal): Promise<string> {
  const versions = await Promise.all(secretIds.map(async (text) => {
    const reference = parseSecretReference(text)
    const { versionStage, versionId } = reference
    if (versionStage === undefined && versionId !== undefined) return versionId
    return (await secretsCalls(reference)).versionOf(versionStage ?? 'AWSCURRENT', signal)
  }))
  return versions.join()
}
