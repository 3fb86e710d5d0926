import { ServiceError } from '../errors.js'
import type { ErrorCode } from '../errors.js'
import type { Warning } from './credential.js'
import { lineAndColumn, pathOf } from './json.js'
import type { DocumentText, JsonNode } from './json.js'

/** What the functions that read one document share: its text, what the caller asked for, and the warnings so far. */
export type DocumentContext = DocumentText & {
  readonly registry: string | undefined
  readonly username: string | undefined
  readonly keepNewline: boolean
  readonly allowEmpty: boolean
  /** Keys may end in the `:` or `@` that dockercfg.ts gives a path: the document is of an ecs.config. */
  readonly boundaryKeys: boolean
  readonly warnings: Warning[]
  /** How many documents this one stands inside of as text. */
  readonly wraps: number
}

/** The error for what is wrong with `node`, or with the document as a whole. `problem` names members and registries, never values. */
export function refusal(context: DocumentContext, code: ErrorCode, problem: string, fix: string, node?: JsonNode): ServiceError {
  const path = pathOf(node ?? context.within)
  return new ServiceError(code, `${context.source}: ${problem}`, {
    source: context.source,
    ...(node && lineAndColumn(context.text, node.at)),
    ...(path !== '' && { path }),
    fix,
  })
}

export function warn(context: DocumentContext, code: Warning['code'], message: string): void {
  context.warnings.push({ code, message: `${context.source}: ${message}` })
}
