/** What usually is wrong when this registry says no, as the end of a sentence; empty where nothing is known. */
export function refusalHint(host: string): string {
  const hint = HINTS.find(([pattern]) => pattern.test(host))?.[1]
  return hint === undefined ? '' : `; ${hint}`
}

// Each from the provider's own documentation of its login.
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)docker\.io$/, 'at Docker Hub the password is an access token, and a deleted or expired one is refused'],
  [/^ghcr\.io$/, 'GHCR takes a classic personal access token with read:packages, authorised for the organisation where it uses SSO'],
  [/^quay\.io$/, 'a robot account of Quay is written NAMESPACE+NAME'],
  [/(^|\.)gitlab\./, 'GitLab wants a deploy token or an access token with read_registry that has not expired'],
  [/^nvcr\.io$/, 'the username for NGC is the word $oauthtoken'],
  [/\.dkr\.ecr\..*amazonaws\./, 'a password of ECR lasts 12 hours; the ECS agent logs in to ECR with the instance role and needs no entry for it'],
  [/(^|\.)(gcr\.io|pkg\.dev)$/, 'an access token of Google lasts an hour; for a key file the username is the word _json_key'],
  [/\.azurecr\.io$/, 'an access token of ACR lasts three hours; use a service principal or a repository token'],
  [/\.jfrog\.io$/, 'Artifactory wants an identity or access token of this very user'],
]
