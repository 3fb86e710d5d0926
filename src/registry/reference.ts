/** An image's name taken apart as Docker does it (distribution/reference, ParseDockerRef). */
export type ImageReference = {
  /** Host and port; `docker.io` for Docker Hub. */
  readonly host: string
  /** `library/nginx`. */
  readonly repository: string
  /** What to ask for: the digest, which wins where both stand, else the tag, else `latest`. */
  readonly reference: string
}

const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const REFERENCE = /^([^@]*?)(?::([\w][\w.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$/

/** @returns undefined where Docker would not take this for an image's name */
export function parseImage(image: string): ImageReference | undefined {
  const [, name = '', tag, digest] = REFERENCE.exec(image) ?? []
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  // The first part is a host if it cannot be the first part of a path.
  const hasHost = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  const host = !hasHost || /^(index\.|registry-1\.)?docker\.io$/.test(first) ? 'docker.io' : first
  const path = hasHost ? name.slice(slash + 1) : name
  const repository = host === 'docker.io' && !path.includes('/') ? `library/${path}` : path
  return REPOSITORY.test(repository) && repository.length <= 255 ? { host, repository, reference: digest ?? tag ?? 'latest' } : undefined
}
