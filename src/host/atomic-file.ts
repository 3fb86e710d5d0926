/**
 * Replaces a file that other programs read and write at the same time: at any instant, power loss included, its name leads to a whole old or a
 * whole new content.
 *
 * A temp file beside the target gets mode, owner and SELinux label, then the content, then fsync; then rename, then fsync of the directory
 * (without it a power loss may undo the rename). What others add meanwhile is kept: the file is read again just before the rename, and the
 * replaced file once more after it, for an `echo … >>` that had it open. Only a program that rewrites the file in place within
 * the microseconds between that read and the rename, and does not grow it, can be overwritten: it takes no lock that we could wait for.
 *
 * Not write-file-atomic: it has no fsync of the directory, does not read again, and the temp files of a killed process cannot be told from those
 * of one at work.
 */
import { constants } from 'node:fs'
import { chmod, open, readdir, readlink, realpath, rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { basename, dirname, join, resolve } from 'node:path'
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
}

/** The file as it stands, a symlink followed; undefined where there is none. */
export async function readFileIfAny(path: string, code: FileErrorCode = 'E_ECS_CONFIG'): Promise<FileOnDisk | undefined> {
  try {
    const file = await openIfAny(await resolveLinks(path))
    await file?.handle.close()
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
  const { newMode = 0o600, maxMode = 0o600, code = 'E_ECS_CONFIG', root = '/' } = options
  let written = false
  let late = Buffer.alloc(0)
  // Each further round means that another program wrote in the instant of ours; ten in a row is a program that writes without pause.
  for (let round = 0; round < 10; round++) {
    let old: OpenFile | undefined
    try {
      const target = await resolveLinks(path)
      old = await openIfAny(target)
      const current = late.length > 0 ? Buffer.concat([old?.content.bytes ?? late.subarray(0, 0), late]) : old?.content.bytes
      const bytes = Buffer.from(change(current))
      const mode = old ? old.content.mode & maxMode : newMode
      if (old?.content.bytes.equals(bytes) && old.content.mode === mode) return { written, bytes }
      if (!await replace(path, target, bytes, mode, old?.content, root)) continue
      written = true
      late = old ? await readAppended(old) : Buffer.alloc(0)
      if (late.length === 0) return { written, bytes }
    } catch (error) {
      throw fileError(code, 'write', path, error)
    } finally {
      await old?.handle.close()
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
    const target = await resolveLinks(path)
    const { before, after } = tempNameParts(target)
    const own = await processIdentity()
    for (const name of await readdir(dirname(target))) {
      if (!name.startsWith(before) || !name.endsWith(after)) continue
      const identity = name.slice(before.length, -after.length).replace(/-[0-9a-f]+$/, '')
      if (identity !== own && await isRunning(identity)) continue
      await unlinkIfAny(join(dirname(target), name))
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
    const mode = (await stat(path)).mode & 0o7777
    if ((mode & ~maxMode) === 0) return false
    await chmod(path, mode & maxMode)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw fileError(code, 'tighten the mode of', path, error)
  }
}

type OpenFile = { readonly handle: FileHandle; readonly content: FileOnDisk }

/** The path that a write has to replace: chains of links are followed, to a target that need not exist. */
async function resolveLinks(path: string): Promise<string> {
  let target = path
  // 40 is where the kernel gives up too (path_resolution(7)).
  for (let links = 0; links <= 40; links++) {
    // A `..` in a link counts from the directory the link is really in.
    const directory = await realpath(dirname(target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return dirname(target)
      throw error
    })
    target = join(directory, basename(target))
    const link = await readlink(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EINVAL' || error.code === 'ENOENT') return undefined // not a link, or nothing there
      throw error
    })
    if (link === undefined) return target
    target = resolve(directory, link)
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP', syscall: 'readlink' })
}

async function openIfAny(path: string): Promise<OpenFile | undefined> {
  // O_NONBLOCK: opening a FIFO would wait for its writer.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!handle) return undefined
  try {
    const info = await handle.stat()
    if (info.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR', syscall: 'read' })
    if (!info.isFile()) throw Object.assign(new Error('is not a regular file'), { code: 'EINVAL', syscall: 'read' })
    const bytes = await handle.readFile()
    return { handle, content: { bytes, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid, mtimeMs: info.mtimeMs, realPath: path } }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** One attempt. False where the file moved on since `old` was read; the temp file is gone then, as after every failure. */
async function replace(path: string, target: string, bytes: Buffer, mode: number, old: FileOnDisk | undefined, root: string): Promise<boolean> {
  const { before, after } = tempNameParts(target)
  const temp = join(dirname(target), `${before}${await processIdentity()}-${randomBytes(4).toString('hex')}${after}`)
  // Opened before anything is changed: with no file descriptor to spare, fail while the old file still stands.
  const directory = await open(dirname(target), constants.O_RDONLY)
  try {
    try {
      await writeTemp(temp, bytes, mode, old, root)
      if (!await isStill(path, old, target)) {
        await unlink(temp)
        return false
      }
      await rename(temp, target)
    } catch (error) {
      await unlinkIfAny(temp).catch(() => {}) // the first error tells more; removeLeftoverTemps() tries again
      throw error
    }
    await directory.sync().catch((error: NodeJS.ErrnoException) => {
      throw Object.assign(error, { message: 'it holds the new content, which a power loss may still undo: the directory could not be flushed' })
    })
    return true
  } finally {
    await directory.close()
  }
}

async function writeTemp(temp: string, bytes: Buffer, mode: number, old: FileOnDisk | undefined, root: string): Promise<void> {
  const handle = await open(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
  try {
    const created = await handle.stat()
    if (old && (old.uid !== created.uid || old.gid !== created.gid)) await handle.chown(old.uid, old.gid)
    await handle.chmod(mode) // after chown, and whatever the umask is
    if (old) await copySelinuxLabel(old.realPath, temp, root)
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function isStill(path: string, old: FileOnDisk | undefined, target: string): Promise<boolean> {
  if (await resolveLinks(path) !== target) return false
  const file = await openIfAny(target)
  await file?.handle.close()
  const now = file?.content
  if (!now || !old) return now === old
  return now.bytes.equals(old.bytes) && now.mode === old.mode && now.uid === old.uid && now.gid === old.gid
}

/** What was appended to the replaced file after it was read. By now the directory has been flushed, which is time for a writer to finish. */
async function readAppended({ handle, content: { bytes } }: OpenFile): Promise<Buffer<ArrayBuffer>> {
  const { size } = await handle.stat()
  if (size <= bytes.length) return Buffer.alloc(0)
  const now = Buffer.alloc(size)
  const { bytesRead } = await handle.read(now, 0, size, 0)
  return now.subarray(0, bytes.length).equals(bytes) ? now.subarray(bytes.length, bytesRead) : Buffer.alloc(0)
}

/** `.ecs.config.ecs-regcred-<process identity>-<random>.tmp` */
function tempNameParts(target: string): { readonly before: string; readonly after: string } {
  return { before: `.${basename(target)}.ecs-regcred-`, after: '.tmp' }
}

async function unlinkIfAny(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
