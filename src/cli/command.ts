import type { Readable, Writable } from 'node:stream'
import type { Logger } from 'pino'
import type { SettingName, Settings } from '../settings.js'

/** A command's own option, beside the settings that every command takes: `parseArgs` of node:util reads it. */
export type OptionSpec = {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  /** For `--help`: what stands after the name (`CLUSTER`), absent for a boolean. */
  readonly value?: string
  readonly help: string
}

/** What a command is given. Everything that reaches the terminal goes through these streams. */
export type CommandContext = {
  /** @throws {ServiceError} E_SETTINGS; a function, so that a command that needs none works on a machine whose settings are broken */
  readonly settings: () => Settings
  readonly options: { readonly [name: string]: string | boolean | readonly (string | boolean)[] | undefined }
  readonly positionals: readonly string[]
  /** `--json`: stdout gets one JSON document and nothing else. */
  readonly json: boolean
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  readonly environment: NodeJS.ProcessEnv
  /** Writes log lines to stderr (stdout for `run`). */
  readonly log: () => Promise<Logger>
  /** Aborted by SIGTERM or SIGINT. */
  readonly signal: AbortSignal
}

/** One command of the contract: options → a call → what to print. */
export type Command = {
  /** First line of `--help`, and its line in the list of commands. */
  readonly summary: string
  /** The settings that bear on it, for `--help`; absent: all of them. It takes the others as well, as the environment may hold them. */
  readonly settings?: readonly SettingName[]
  /** What stands after `ecs-regcred NAME`, e.g. `[FILE|-]`. */
  readonly arguments?: string
  readonly options: { readonly [name: string]: OptionSpec }
  /** A command line that works, for `--help`. */
  readonly example: string
  /**
   * @returns the exit status
   * @throws {ServiceError} main prints it, as text on stderr or as the JSON document on stdout, and exits with its status
   */
  readonly run: (context: CommandContext) => Promise<number>
}
