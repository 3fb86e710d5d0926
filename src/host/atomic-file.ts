/**
 * Replaces a file that other programs read and write at the same time: at any instant, power loss included, its name leads to a whole old or a
 * whole new content.
 *
 * A temp file beside the target gets mode, owner and SELinux label, then the content, then fsync; then rename, then fsync of the directory
 * (without it a power loss may undo the rename). What others add meanwhile is kept: the file is read again just before the rename, and the
 * replaced file once more after it, for an `echo … >>` that had it open. Only a program that rewrites the file in place within
 * the microseconds between that read and the rename, and does not grow it, can be overwritten: it takes no lock that we could wait for.
 *
 * The calls are synchronous, but for fsync: each takes microseconds, and a change makes some two hundred of them; through Node's thread pool they were
 * most of the time from a wake-up to the written file. A disk that hangs holds the service up either way.
 *
 * Not write-file-atomic: it has no fsync of the directory, does not read again, and the temp files of a killed process cannot be told from those
 * of one at work.
 */
import {
  chmodSync, closeSync, constants, fchmodSync, fchownSync, fstatSync, fsync, openSync, readdirSync, readFileSync, readlinkSync, readSync, realpathSync, renameSync,
  statSync, unlinkSync, writeFileSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { fileError, type FileErrorCode } from './file-error.js'
import { isRunning, processIdentity } from './process-identity.js'
import { copySelinuxLabel } from './selinux.js'

export type FileOnDisk = {
  readonly bytes: Buffer
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeMs: number
  /** The file itself, where the path is a symlink. */
  readonly realPath: string
}

export type UpdateOptions = {
  /** For a file that does not exist yet. Default 0600. */
  readonly newMode?: number
  /** An existing file's mode is kept, less the bits that are not in this. Default 0600. */
  readonly maxMode?: number
  /** Code of the errors: whose file it is. Default E_ECS_CONFIG. */
  readonly code?: FileErrorCode
  /** Where `sys/fs/selinux` is looked for. Default `/`. */
  readonly root?: string
  /** False where another file of the same directory is written next, whose flush of it is for both. Default true. */
  readonly flushDirectory?: boolean
}

/** The file as it stands, a symlink followed; undefined where there is none. */
export async function readFileIfAny(path: string, code: FileErrorCode = 'E_ECS_CONFIG'): Promise<FileOnDisk | undefined> {
  try {
    const file = openIfAny(resolveLinks(path))
    if (file) closeSync(file.fd)
    return file?.content
  } catch (error) {
    throw fileError(code, 'read', path, error)
  }
}

/**
 * Replaces a file by what `change` makes of its content, called again when that moves on meanwhile. Touches nothing where content and mode are right.
 * @param change pure; gets undefined where there is no file
 * @returns what stands in the file now, and whether that took a write
 * @throws {ServiceError} E_ECS_CONFIG, or the code asked for: the file is as it was and no temp file is left, unless the message says otherwise
 */
export async function updateFile(
  path: string,
  change: (current: Buffer | undefined) => Uint8Array,
  options: UpdateOptions = {},
): Promise<{ readonly written: boolean; readonly bytes: Buffer }> {
  const { newMode = 0o600, maxMode = 0o600, code = 'E_ECS_CONFIG' } = options
  let written = false
  let late = Buffer.alloc(0)
  // Each further round means that another program wrote in the instant of ours; ten in a row is a program that writes without pause.
  for (let round = 0; round < 10; round++) {
    let old: OpenFile | undefined
    try {
      const target = resolveLinks(path)
      old = openIfAny(target)
      const current = late.length > 0 ? Buffer.concat([old?.content.bytes ?? late.subarray(0, 0), late]) : old?.content.bytes
      const bytes = Buffer.from(change(current))
      const mode = old ? old.content.mode & maxMode : newMode
      if (old?.content.bytes.equals(bytes) && old.content.mode === mode) return { written, bytes }
      if (!await replace(path, target, bytes, mode, old?.content, options)) continue
      written = true
      late = old ? readAppended(old) : Buffer.alloc(0)
      if (late.length === 0) return { written, bytes }
    } catch (error) {
      throw fileError(code, 'write', path, error)
    } finally {
      if (old) closeSync(old.fd)
    }
  }
  throw fileError(code, 'write', path, Object.assign(new Error('another program keeps changing it'), { code: 'EAGAIN' }))
}

/**
 * Removes the temp files that processes killed in the middle of updateFile left beside `path`. To be called with the lock held, when no update of
 * this process is under way: its own earlier temp files go too.
 * @returns how many there were
 */
export async function removeLeftoverTemps(path: string, code: FileErrorCode = 'E_ECS_CONFIG'): Promise<number> {
  let removed = 0
  try {
    const target = resolveLinks(path)
    const { before, after } = tempNameParts(target)
    const own = await processIdentity()
    for (const name of readdirSync(dirname(target))) {
      if (!name.startsWith(before) || !name.endsWith(after)) continue
      const identity = name.slice(before.length, -after.length).replace(/-[0-9a-f]+$/, '')
      if (identity !== own && await isRunning(identity)) continue
      unlinkIfAny(join(dirname(target), name))
      removed++
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return removed
    throw fileError(code, 'remove a leftover temp file of', path, error)
  }
  return removed
}

/** Takes away the permission bits that are not in `maxMode`. @returns whether there were any */
export async function tightenMode(path: string, maxMode: number, code: FileErrorCode = 'E_ECS_CONFIG'): Promise<boolean> {
  try {
    const mode = statSync(path).mode & 0o7777
    if ((mode & ~maxMode) === 0) return false
    chmodSync(path, mode & maxMode)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw fileError(code, 'tighten the mode of', path, error)
  }
}

const flush = promisify(fsync)

type OpenFile = { readonly fd: number; readonly content: FileOnDisk }

/** The path that a write has to replace: chains of links are followed, to a target that need not exist. */
function resolveLinks(path: string): string {
  let target = path
  // 40 is where the kernel gives up too (path_resolution(7)).
  for (let links = 0; links <= 40; links++) {
    // A `..` in a link counts from the directory the link is really in.
    const directory = unless(['ENOENT'], () => realpathSync.native(dirname(target))) ?? dirname(target)
    target = join(directory, basename(target))
    const link = unless(['EINVAL', 'ENOENT'], () => readlinkSync(target)) // not a link, or nothing there
    if (link === undefined) return target
    target = resolve(directory, link)
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP', syscall: 'readlink' })
}

function openIfAny(path: string): OpenFile | undefined {
  // O_NONBLOCK: opening a FIFO would wait for its writer.
  const fd = unless(['ENOENT'], () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
  if (fd === undefined) return undefined
  try {
    const info = fstatSync(fd)
    if (info.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR', syscall: 'read' })
    if (!info.isFile()) throw Object.assign(new Error('is not a regular file'), { code: 'EINVAL', syscall: 'read' })
    const bytes = readFileSync(fd)
    return { fd, content: { bytes, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid, mtimeMs: info.mtimeMs, realPath: path } }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** One attempt. False where the file moved on since `old` was read; the temp file is gone then, as after every failure. */
async function replace(
  path: string, target: string, bytes: Buffer, mode: number, old: FileOnDisk | undefined, { root = '/', flushDirectory = true }: UpdateOptions,
): Promise<boolean> {
  const { before, after } = tempNameParts(target)
  const temp = join(dirname(target), `${before}${await processIdentity()}-${randomBytes(4).toString('hex')}${after}`)
  // Opened before anything is changed: with no file descriptor to spare, fail while the old file still stands.
  const directory = openSync(dirname(target), constants.O_RDONLY)
  try {
    try {
      await writeTemp(temp, bytes, mode, old, root)
      if (!isStill(path, old, target)) {
        unlinkSync(temp)
        return false
      }
      renameSync(temp, target)
    } catch (error) {
      try {
        unlinkIfAny(temp)
      } catch { /* the first error tells more; removeLeftoverTemps() tries again */ }
      throw error
    }
    if (flushDirectory) await flush(directory).catch((error: NodeJS.ErrnoException) => {
      throw Object.assign(error, { message: 'it holds the new content, which a power loss may still undo: the directory could not be flushed' })
    })
    return true
  } finally {
    closeSync(directory)
  }
}

async function writeTemp(temp: string, bytes: Buffer, mode: number, old: FileOnDisk | undefined, root: string): Promise<void> {
  const fd = openSync(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  try {
    const created = fstatSync(fd)
    if (old && (old.uid !== created.uid || old.gid !== created.gid)) fchownSync(fd, old.uid, old.gid)
    fchmodSync(fd, mode) // after chown, and whatever the umask is
    if (old) await copySelinuxLabel(old.realPath, temp, root)
    writeFileSync(fd, bytes)
    await flush(fd)
  } finally {
    closeSync(fd)
  }
}

function isStill(path: string, old: FileOnDisk | undefined, target: string): boolean {
  if (resolveLinks(path) !== target) return false
  const file = openIfAny(target)
  if (file) closeSync(file.fd)
  const now = file?.content
  if (!now || !old) return now === old
  return now.bytes.equals(old.bytes) && now.mode === old.mode && now.uid === old.uid && now.gid === old.gid
}

/** What was appended to the replaced file after it was read. By now the directory has been flushed, which is time for a writer to finish. */
function readAppended({ fd, content: { bytes } }: OpenFile): Buffer<ArrayBuffer> {
  const { size } = fstatSync(fd)
  if (size <= bytes.length) return Buffer.alloc(0)
  const now = Buffer.alloc(size)
  const bytesRead = readSync(fd, now, 0, size, 0)
  return now.subarray(0, bytes.length).equals(bytes) ? now.subarray(bytes.length, bytesRead) : Buffer.alloc(0)
}

/** `.ecs.config.ecs-regcred-<process identity>-<random>.tmp` */
function tempNameParts(target: string): { readonly before: string; readonly after: string } {
  return { before: `.${basename(target)}.ecs-regcred-`, after: '.tmp' }
}

/** @throws the error of the system where the file is there and stays */
export function unlinkIfAny(path: string): void {
  unless(['ENOENT'], () => unlinkSync(path))
}

/** What `call` gives, or undefined where it fails with one of these. */
function unless<T>(codes: readonly string[], call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    if (codes.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}
