import { ProbeEnd } from './finding.js'

/**
 * The certificates to trust: the public ones and those of `caFile`; undefined, Node's own default, without a file.
 * @throws {ProbeEnd} where the file cannot be read or holds no certificate
 */
export async function readTrust(caFile: string | undefined): Promise<string[] | undefined> {
  if (caFile === undefined) return undefined
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(caFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ProbeEnd('settings', `the CA file ${caFile} (REGCRED_PROBE_CA_FILE) cannot be read (${error.code ?? 'unknown error'})`)
  })
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  const { X509Certificate } = await import('node:crypto')
  const isCertificate = (block: string): boolean => {
    try {
      return new X509Certificate(block).raw.length > 0
    } catch {
      return false
    }
  }
  if (blocks.length === 0 || !blocks.every(isCertificate)) {
    throw new ProbeEnd('settings', `the CA file ${caFile} (REGCRED_PROBE_CA_FILE) is not a PEM file of certificates: it begins with -----BEGIN CERTIFICATE-----`)
  }
  const { rootCertificates } = await import('node:tls')
  return [...rootCertificates, ...blocks]
}
