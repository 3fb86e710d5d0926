/**
 * Every error this program means, in one table: its exit status (sysexits.h) and whether the service tries again by itself. With `retry: false`
 * it waits for the next wake-up (the source changes, a signal, the poll), because trying sooner cannot help or would do harm.
 *
 * Adding a code? Also README "When it goes wrong", and the units if its exit status is to prevent a restart.
 */
const CODES = {
  E_USAGE: { exit: 64, retry: false },
  E_SETTINGS: { exit: 78, retry: false },

  // The credential document.
  E_JSON: { exit: 65, retry: false },
  E_JSON_TRUNCATED: { exit: 65, retry: false },
  E_DUP_KEY: { exit: 65, retry: false },
  E_ENCODING: { exit: 65, retry: false },
  E_EMPTY: { exit: 65, retry: false },
  E_UNKNOWN_SHAPE: { exit: 65, retry: false },
  E_WRAPPED: { exit: 65, retry: false },
  E_TYPE: { exit: 65, retry: false },
  E_CREDS_STORE: { exit: 65, retry: false },
  E_NO_AUTH: { exit: 65, retry: false },
  E_AUTH_CONFLICT: { exit: 65, retry: false },
  E_ALIAS_CONFLICT: { exit: 65, retry: false },
  E_B64: { exit: 65, retry: false },
  E_NO_COLON: { exit: 65, retry: false },
  E_EMPTY_USER: { exit: 65, retry: false },
  E_EMPTY_PASSWORD: { exit: 65, retry: false },
  E_USER_COLON: { exit: 65, retry: false },
  E_CONTROL_CHAR: { exit: 65, retry: false },
  E_PLACEHOLDER: { exit: 65, retry: false },
  E_IDENTITY_TOKEN: { exit: 65, retry: false },
  E_REGISTRY_REQUIRED: { exit: 65, retry: false },
  E_REGISTRY_KEY: { exit: 65, retry: false },
  E_CONFLICT: { exit: 65, retry: false },
  E_TOO_BIG: { exit: 65, retry: false },
  E_JSON_KEY: { exit: 65, retry: false }, // the json-key of a secret's ARN is not in the document
  E_TAKEOVER: { exit: 65, retry: false },

  // The source.
  E_SOURCE_FILE: { exit: 74, retry: true },
  E_NO_SOURCE_FILE: { exit: 69, retry: false }, // the watch tells when it appears
  E_SECRET_NOT_FOUND: { exit: 69, retry: true },
  E_SECRET_DELETED: { exit: 69, retry: true },
  E_NO_CURRENT: { exit: 69, retry: true },
  E_IAM: { exit: 77, retry: true }, // an IAM fix must not need us restarted
  E_KMS: { exit: 77, retry: true },
  E_NET: { exit: 69, retry: true },
  E_THROTTLED: { exit: 69, retry: true },
  E_IMDS: { exit: 69, retry: true },
  E_AWS: { exit: 69, retry: true }, // anything else that AWS answers

  // The registry.
  E_REGISTRY_REFUSED: { exit: 77, retry: false }, // a failed login a second would lock the account
  E_REGISTRY_UNAVAILABLE: { exit: 69, retry: true },

  // The machine.
  E_ECS_CONFIG: { exit: 74, retry: true },
  E_STATE: { exit: 74, retry: true },
  E_LOCKED: { exit: 75, retry: true },
  E_NO_ECS_SERVICE: { exit: 69, retry: true },
  E_RESTART_FAILED: { exit: 69, retry: true },
  E_RESTART_OWED: { exit: 75, retry: false }, // put off, and the service knows until when
  E_NOT_VERIFIED: { exit: 75, retry: false }, // the last good credentials are back, and this version is set aside
  E_SET_ASIDE: { exit: 75, retry: false },
  E_TIMEOUT: { exit: 75, retry: true },
  E_INTERRUPTED: { exit: 75, retry: false },

  // The cluster.
  E_ROLLOUT: { exit: 75, retry: false }, // not verified: timed out, or nothing was pulled
  E_ROLLOUT_FAILED: { exit: 69, retry: false },
  E_UNSUPPORTED: { exit: 69, retry: false },

  E_BUG: { exit: 70, retry: false },
} as const

export type ErrorCode = keyof typeof CODES

/** Where a problem stands and what mends it. None of these ever holds a piece of a credential. */
export type ErrorDetails = {
  /** The document's name: `secret prod/registry (version 3f2a…)`, a path. */
  readonly source?: string | undefined
  /** 1-based. */
  readonly line?: number | undefined
  /** 1-based, in characters. */
  readonly column?: number | undefined
  /** Key path in the document: `auths["registry.example.com"].auth`. */
  readonly path?: string | undefined
  /** What to do, as one sentence or command. */
  readonly fix?: string | undefined
}

/** An error that is expected to happen. Its message says what was tried and why it failed, and is safe to print. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & ErrorDetails) {
    super(message, options && 'cause' in options ? { cause: options.cause } : undefined)
    const { cause: _, ...details } = options ?? {}
    this.code = code
    this.details = details
  }

  /** Exit status of a command that ends with this error (sysexits.h). */
  get exitCode(): number {
    return CODES[this.code].exit
  }

  /** Whether the service tries again by itself, with backoff. */
  get retryable(): boolean {
    return CODES[this.code].retry
  }

  /** The document that `--json` prints. */
  toJSON(): Record<string, unknown> {
    return { ok: false, code: this.code, message: this.message, ...this.details }
  }
}
