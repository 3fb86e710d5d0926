import { parseSecretReference } from '../core/secret-reference.js'
import { ServiceError } from '../errors.js'
import type { Settings } from '../settings.js'
import { dockerConfigFileSource } from './docker-config-file.js'
import { secretsManagerSource } from './secrets-manager.js'
import type { CredentialSource } from './source.js'

/**
 * The source that the settings name.
 * @throws {ServiceError} E_SETTINGS with every secret id that cannot be meant, one a line
 */
export function chooseSource({ source }: Pick<Settings, 'source'>): CredentialSource {
  if (source.kind === 'file') return dockerConfigFileSource(source.path)
  const problems: ServiceError[] = []
  const references = source.secretIds.flatMap((text) => {
    try {
      return [parseSecretReference(text)]
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      problems.push(error)
      return []
    }
  })
  if (problems.length > 0) {
    throw new ServiceError('E_SETTINGS', problems.map(({ message }) => message).join('\n'), { fix: problems.find(({ details }) => details.fix)?.details.fix })
  }
  return secretsManagerSource(references)
}
