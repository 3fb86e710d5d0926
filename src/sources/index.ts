import { parseSecretReference } from '../core/secret-reference.js'
import type { Settings } from '../settings.js'
import { dockerConfigFileSource } from './docker-config-file.js'
import { secretsManagerSource } from './secrets-manager.js'
import type { CredentialSource } from './source.js'

/** The source that the settings name. */
export function chooseSource({ source }: Pick<Settings, 'source'>): CredentialSource {
  return source.kind === 'file' ? dockerConfigFileSource(source.path) : secretsManagerSource(source.secretIds.map(parseSecretReference))
}
