import type { Redacted } from '../core/redacted.js'

/** One credential document as its origin holds it, not yet understood. */
export type SourceDocument = {
  /** Names the origin in messages, e.g. `secret prod/registry (version 3f2a9c01)` or `/root/.docker/config.json`. */
  readonly source: string
  readonly content: Redacted<Uint8Array>
  /** Where the operator named a member of the document (`ARN:json-key::`): the credential is that member's value, not the whole. */
  readonly jsonKey?: string | undefined
}

/** The answer of a read. `documents` is undefined where the origin still has the version that the caller named as known. */
export type SourceReading = {
  /** The secrets' version ids, comma-separated; undefined for a file, whose version is a keyed fingerprint of what it means. */
  readonly version: string | undefined
  readonly documents: readonly SourceDocument[] | undefined
  /** Of a file: which writing of it this is. The same words written once more are another. */
  readonly writing?: string
}

/** Where registry credentials come from. */
export interface CredentialSource {
  readonly kind: 'secret' | 'file'
  /** Names the origin in logs, e.g. `secret prod/registry`. */
  readonly label: string
  /**
   * The documents as they stand now. With `known`, a source that can tell cheaply that its version has not moved answers without fetching them.
   * @throws {ServiceError} in the words of the attempt, with the fix
   */
  read(known: string | undefined, signal: AbortSignal): Promise<SourceReading>
  /**
   * Calls `wake` whenever a document may have changed: says that, never what. Resolves once watching, so that a later read misses nothing.
   * A source that can only be polled resolves at once and never calls.
   */
  watch(wake: () => void, signal: AbortSignal): Promise<void>
}
