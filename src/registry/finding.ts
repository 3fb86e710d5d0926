/** What a conversation with a registry ended in. */
export type ProbeClass =
  | 'ok'
  | 'unauthorized' | 'forbidden' | 'not-found'
  | 'anonymous' | 'blocked' | 'rate-limited' | 'redirect' | 'server-error' | 'not-a-registry'
  | 'no-credential' | 'insecure-realm' | 'tls' | 'no-tls' | 'dns' | 'connection' | 'timeout' | 'settings'

export type Verdict = 'accepted' | 'refused' | 'unknown'

export type Finding = {
  readonly class: ProbeClass
  /** A clause for an operator: who said what, and what to do. Holds no piece of a credential. */
  readonly reason: string
}

/** Only the registry's own no is a refusal. Whatever keeps it from being asked, or the answer from meaning anything, leaves the question open. */
export function verdictOf({ class: kind }: Finding): Verdict {
  if (kind === 'ok') return 'accepted'
  return kind === 'unauthorized' || kind === 'forbidden' || kind === 'not-found' ? 'refused' : 'unknown'
}

/** Ends a conversation early: thrown and caught within this folder. */
export class ProbeEnd extends Error {
  readonly finding: Finding

  constructor(kind: ProbeClass, reason: string) {
    super(reason)
    this.finding = { class: kind, reason }
  }
}
