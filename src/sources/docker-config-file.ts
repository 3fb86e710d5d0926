import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Redacted } from '../core/redacted.js'
import { ServiceError } from '../errors.js'
import { watchPath } from './path-watch.js'
import type { CredentialSource } from './source.js'

const MAX_BYTES = 1024 * 1024
/** A document that is not whole is taken for one being written, until its last write is this old. */
const SETTLED_MS = 1_000
/** A writer that never comes to an end holds nobody up for longer. */
const MAX_WAIT_MS = 5_000

/** A docker config.json. A document read while it is written is read again at its next change: no delay where it is whole. */
export function dockerConfigFileSource(path: string): CredentialSource {
  const file = resolve(path)
  return {
    kind: 'file',
    label: file,
    async read(_known, signal) {
      const { content, ino, mtimeMs } = await readWhole(file, signal)
      return { version: undefined, documents: [{ source: file, content: new Redacted<Uint8Array>(content) }], writing: `${ino} ${mtimeMs}` }
    },
    watch: (wake, signal) => watchPath(file, wake, signal),
  }
}

type Content = { readonly content: Buffer; readonly ino: number; readonly mtimeMs: number }

async function readWhole(file: string, signal: AbortSignal): Promise<Content> {
  const first = await readOnce(file, signal)
  if (isWholeJson(first.content) || remainingMs(first.mtimeMs) === 0) return first

  const watching = new AbortController()
  const stop = (): void => watching.abort()
  signal.addEventListener('abort', stop, { once: true })
  try {
    let changed = (): void => {}
    let change = new Promise<void>((wake) => (changed = wake))
    // Where the system refuses the watch, the document is read again once it has settled.
    await watchPath(file, () => changed(), watching.signal).catch(() => {})
    for (const end = performance.now() + MAX_WAIT_MS; ; ) {
      signal.throwIfAborted()
      const read = await readOnce(file, signal)
      const waitMs = Math.min(remainingMs(read.mtimeMs), end - performance.now())
      if (isWholeJson(read.content) || waitMs <= 0) return read
      await either(change, waitMs, watching.signal)
      change = new Promise<void>((wake) => (changed = wake))
    }
  } finally {
    stop()
    signal.removeEventListener('abort', stop)
  }
}

/** Until the document counts as settled; 0 to SETTLED_MS, whatever the clock has done since. */
function remainingMs(mtimeMs: number): number {
  return Math.min(Math.max(mtimeMs + SETTLED_MS - Date.now(), 0), SETTLED_MS)
}

async function either(change: Promise<void>, waitMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((done) => {
    const timer = setTimeout(done, waitMs)
    const finish = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      done()
    }
    signal.addEventListener('abort', finish, { once: true })
    void change.then(finish)
  })
}

function isWholeJson(content: Buffer): boolean {
  try {
    JSON.parse(content.toString('utf8').replace(/^\uFEFF/, ''))
    return true
  } catch {
    // Its message quotes the document.
    return false
  }
}

async function readOnce(file: string, signal: AbortSignal): Promise<Content> {
  signal.throwIfAborted()
  let handle: FileHandle | undefined
  try {
    // O_NONBLOCK: opening a FIFO would wait for its writer.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats = await handle.stat()
    if (stats.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    if (!stats.isFile()) throw new ServiceError('E_SOURCE_FILE', `could not read ${file}: it is not a regular file`, { source: file, fix: 'name the config.json that docker login writes' })
    const chunks: Buffer[] = []
    // Until its end, not until its size: it may have grown since.
    for (let length = 0; ; ) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(16_384))
      if (bytesRead === 0) return { content: Buffer.concat(chunks), ino: stats.ino, mtimeMs: stats.mtimeMs }
      chunks.push(buffer.subarray(0, bytesRead))
      length += bytesRead
      if (length > MAX_BYTES) throw tooBig(file)
    }
  } catch (error) {
    throw error instanceof ServiceError ? error : fileError(file, error as NodeJS.ErrnoException)
  } finally {
    await handle?.close()
  }
}

function tooBig(file: string): ServiceError {
  return new ServiceError('E_TOO_BIG', `${file} is larger than ${MAX_BYTES / 1024} KiB: not a docker config.json`, { source: file })
}

function fileError(file: string, { code = 'unknown error' }: NodeJS.ErrnoException): ServiceError {
  if (code === 'ENOENT') {
    return new ServiceError('E_NO_SOURCE_FILE', `there is no ${file} yet`, {
      source: file,
      fix: 'run `docker login registry.example.com` as root, name another file with --docker-config, or a secret with --secret-id',
    })
  }
  const asRoot = 'run as root, or let this user read the file and enter its directories'
  const [why, fix] = {
    EACCES: ['permission denied', asRoot],
    EPERM: ['permission denied', asRoot],
    EISDIR: ['it is a directory', 'name the file in it: --docker-config …/config.json'],
    ENOTDIR: ['a part of the path is not a directory', `look at each part of it: namei -l ${file}`],
    ELOOP: ['its symbolic links go in a circle', `look at each part of it: namei -l ${file}`],
    EMFILE: ['too many open files', 'raise LimitNOFILE= of the unit'],
    ENFILE: ['too many open files', 'the whole machine has too many; find which program holds them: lsof'],
    EIO: ['the disk failed', 'look at dmesg, and replace the volume or the instance'],
  }[code] ?? [undefined, `look at dmesg, and at the file system that it is on: findmnt --target ${file}`]
  return new ServiceError('E_SOURCE_FILE', `could not read ${file}: ${why === undefined ? code : `${why} (${code})`}`, { source: file, fix })
}
