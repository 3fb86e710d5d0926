/**
 * What the service remembers between passes, in the state directory (0700), each file 0600 and replaced whole. It is help, never truth: a pass decides
 * from what stands on the machine, so that a state file which is gone costs no more than a look. No credential is in state.json, and
 * no plain digest of one either: a short password could be guessed from it. The last good copy of ecs.config does hold credentials.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ErrorCode, ErrorDetails } from '../errors.js'
import { readFileIfAny, removeLeftoverTemps, updateFile } from './atomic-file.js'
import { fileError } from './file-error.js'
import { monotonicUs, readBootId } from './process-identity.js'

/** A point in time that a change of the clock does not move. */
export type Moment = {
  readonly bootId: string
  /** Microseconds on CLOCK_MONOTONIC; means something within the same boot only. */
  readonly monotonicUs: number
  /** For people. */
  readonly at: string
}

/** A version of the source, as the settings say that it is to be read. */
export type ReadVersion = {
  readonly version: string
  /** Of those settings (json-key, registry, username…): by others, the same version of a secret means something else. */
  readonly readAs?: string | undefined
}

/** What was put into ecs.config from one version of the source. */
export type Rendered = ReadVersion & {
  /** Of ECS_ENGINE_AUTH_DATA. */
  readonly fingerprint: string
  readonly registries: readonly string[]
}

/** A change of ours that no ECS agent has been seen healthy with. */
export type PendingChange = Rendered & {
  /** Of the last good copy with these credentials in it: the whole ecs.config, as long as nobody else changes it. */
  readonly fileFingerprint: string
  /** `writing`: it may stand in the file or not; settle-write.ts looks. */
  readonly phase: 'writing' | 'written' | 'rolling-back' | 'restored'
  /** While `writing`: the unverified change that it replaces, which stands in the file until then. */
  readonly before?: PendingChange
  /** When the init system was given the restart for it. */
  readonly restartedAt?: Moment
}

/** Changed in place by the pass that holds the lock, then written. */
export type State = {
  readonly schema: 1
  /** 32 random bytes, in hex: the key of every fingerprint of this machine. */
  readonly fingerprintKey: string
  /** What the service last put into ecs.config. */
  rendered?: Rendered
  /** What it had put into the file that the last good copy is of; undefined where that file was not ours. */
  lastGoodRendered?: Rendered
  pending?: PendingChange
  /** When the credentials in ecs.config last changed by our hand. */
  writtenAt?: Moment
  /** Since when a restart is owed that waits for its time. */
  owedSince?: Moment
  /**
   * Set before the restart is ordered, taken away when the order was given. Upstart's takes two commands, and the way back from a bad change a write and an
   * order: killed between them, the job stands stopped or failed, and only this tells that from an administrator's `stop`.
   */
  restartBegun?: Moment
  lastRestart?: Moment
  /** A restart after which the ECS agent ran and still did not hold the file, by the fingerprint of ECS_ENGINE_AUTH_DATA: the next would not help. */
  futileRestart?: { readonly fingerprint: string; readonly at: Moment }
  /** A version that the ECS agent did not live with: not tried again until the source changes, or a person says so. */
  setAside?: ReadVersion & { readonly reason: string; readonly at: string }
  /** A version that a registry itself refused; `writing` as in SourceReading. */
  refused?: ReadVersion & { readonly registries: readonly string[]; readonly reason: string; readonly at: Moment; readonly tries: number; readonly writing?: string | undefined }
  /** A version of the source that is no usable document, and the words for it: polls need not fetch it again to say so. */
  unusable?: ReadVersion & { readonly code: ErrorCode; readonly message: string; readonly details: ErrorDetails }
  /** ISO 8601. */
  lastSuccess?: string
  /** Of the credentials that were applied, by registry. */
  probes?: Readonly<Record<string, { readonly verdict: 'accepted' | 'refused' | 'unknown'; readonly reason: string; readonly at: string }>>
}

const SCHEMA = 1
const NO_FILE = Buffer.from('# ecs-regcred: before its last change there was no ecs.config here.\n')
const OURS = { code: 'E_STATE' } as const

const statePath = (stateDir: string): string => join(stateDir, 'state.json')
const nextPassPath = (stateDir: string): string => join(stateDir, 'next-pass')
const lastGoodPath = (stateDir: string): string => join(stateDir, 'last-good.ecs.config')

/**
 * The state of this machine; a new one with a key of its own where there is none that can be used.
 * @returns `problem` says why a file that is there was not used
 * @throws {ServiceError} E_STATE where it cannot be read at all: starting anew would forget which version was set aside
 */
export async function readState(stateDir: string): Promise<{ readonly state: State; readonly problem?: string }> {
  const path = statePath(stateDir)
  const file = await readFileIfAny(path, 'E_STATE')
  if (!file) return { state: newState() }
  const stored = parseState(file.bytes)
  return typeof stored === 'string' ? { state: newState(), problem: `${path} ${stored}; starting without it` } : { state: stored }
}

/** @throws {ServiceError} E_STATE */
export async function writeState(stateDir: string, state: State): Promise<void> {
  makeStateDir(stateDir)
  await updateFile(statePath(stateDir), () => Buffer.from(`${JSON.stringify(state, null, 2)}\n`), OURS)
}

/**
 * Keeps what ecs.config held before a change, for the rollback. Safe from a power loss once the state is written, which comes before the change.
 * @param bytes undefined: there was no file
 * @throws {ServiceError} E_STATE
 */
export async function saveLastGood(stateDir: string, bytes: Uint8Array | undefined): Promise<void> {
  makeStateDir(stateDir)
  await updateFile(lastGoodPath(stateDir), () => bytes ?? NO_FILE, { ...OURS, flushDirectory: false })
}

/** @returns undefined where nothing was kept; `bytes` undefined where it was kept that there was no file */
export async function readLastGood(stateDir: string): Promise<{ readonly bytes: Buffer | undefined } | undefined> {
  const file = await readFileIfAny(lastGoodPath(stateDir), 'E_STATE')
  return file && { bytes: file.bytes.equals(NO_FILE) ? undefined : file.bytes }
}

/** When the service looks next, for `status` alone: rewritten at each wait, so neither durable nor part of the state. */
export async function writeNextPass(stateDir: string, at: string): Promise<void> {
  const path = nextPassPath(stateDir)
  await writeFile(`${path}.new`, `${at}\n`, { mode: 0o600 }).then(() => rename(`${path}.new`, path)).catch((error: unknown) => {
    throw fileError('E_STATE', 'write', path, error)
  })
}

export async function readNextPass(stateDir: string): Promise<string | undefined> {
  const text = await readFile(nextPassPath(stateDir), 'utf8').catch(() => '')
  return /^\d{4}-\S+Z$/.exec(text.trim())?.[0]
}

/** Removes what killed processes left half written here; see removeLeftoverTemps(). */
export async function removeStateTemps(stateDir: string): Promise<number> {
  return await removeLeftoverTemps(statePath(stateDir), 'E_STATE') + await removeLeftoverTemps(lastGoodPath(stateDir), 'E_STATE')
}

/**
 * A keyed name for a text, to tell whether it changed and to show which one is meant. 64 bits: two texts of one machine never share one by accident,
 * and without the machine's key nothing can be guessed from it.
 */
export function fingerprint(key: string, text: string | Uint8Array): string {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(text).digest('hex').slice(0, 16)
}

/** Whether ECS_ENGINE_AUTH_DATA is what this service last put into ecs.config. */
export function isRendered({ rendered, fingerprintKey }: State, data: string | undefined): data is string {
  return data !== undefined && rendered?.fingerprint === fingerprint(fingerprintKey, data)
}

export function now(): Moment {
  return { bootId: readBootId(), monotonicUs: monotonicUs(), at: new Date().toISOString() }
}

/** Undefined where `since` was before the last boot. */
export function elapsedMs(since: Moment, until: Moment): number | undefined {
  return since.bootId === until.bootId ? (until.monotonicUs - since.monotonicUs) / 1000 : undefined
}

function newState(): State {
  return { schema: SCHEMA, fingerprintKey: randomBytes(32).toString('hex') }
}

/** @returns the state, or what is wrong with it */
function parseState(bytes: Buffer): State | string {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch {
    return 'is not JSON'
  }
  const { schema, fingerprintKey } = (value ?? {}) as Partial<Record<string, unknown>>
  if (schema !== SCHEMA) return 'was written by another version of the service'
  if (typeof fingerprintKey !== 'string' || !/^[0-9a-f]{64}$/.test(fingerprintKey)) return 'has no fingerprint key'
  // A field that a hand has emptied or damaged is a field that is not there: a pass that fails of it would fail for ever.
  return Object.fromEntries(Object.entries(value as object).filter(([name, field]) => hasShape(field, SHAPES[name] ?? 'object'))) as State
}

type Shape = 'string' | 'number' | 'array' | 'object' | { readonly [name: string]: Shape }

const MOMENT = { bootId: 'string', monotonicUs: 'number' } as const
const READ_VERSION = { version: 'string' } as const
const RENDERED = { ...READ_VERSION, fingerprint: 'string', registries: 'array' } as const
/** What the passes take for granted of each field. */
const SHAPES: Readonly<Record<string, Shape>> = {
  schema: 'number', fingerprintKey: 'string', lastSuccess: 'string',
  rendered: RENDERED, lastGoodRendered: RENDERED, pending: { ...RENDERED, phase: 'string' },
  writtenAt: MOMENT, owedSince: MOMENT, restartBegun: MOMENT, lastRestart: MOMENT,
  futileRestart: { fingerprint: 'string', at: MOMENT }, refused: { ...READ_VERSION, registries: 'array', at: MOMENT }, setAside: READ_VERSION, unusable: READ_VERSION,
}

function hasShape(value: unknown, shape: Shape): boolean {
  if (shape === 'array') return Array.isArray(value)
  if (typeof shape === 'string' && shape !== 'object') return typeof value === shape
  if (typeof value !== 'object' || value === null) return false
  return typeof shape === 'string' || Object.entries(shape).every(([name, inner]) => hasShape((value as Record<string, unknown>)[name], inner))
}

function makeStateDir(stateDir: string): void {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fileError('E_STATE', 'make the state directory', stateDir, error)
  }
}
