/**
 * Watches what a path names, whichever way that changes: the file itself, a file renamed over it, a link on the way pointed elsewhere, a directory
 * on the way replaced or not there yet. Every directory that the path leads through is watched for the one name that the path takes in it. The
 * file is watched as well: where it is bind-mounted, its directory hears nothing of a write.
 */
import { type FSWatcher, lstatSync, readlinkSync, watch as watchDirectory } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ServiceError } from '../errors.js'

/** As Linux: more links than this on one path are a loop. */
const MAX_LINKS = 40
const REPAIR_MS = 60_000

/** What befell a name that the path takes. */
type Touch = 'written' | 'replaced' | 'directory-gone'

type Watcher = { readonly close: () => Promise<void> }

type Trail = {
  /** Real directories on the way, each with the names that the path takes in it. */
  readonly names: ReadonlyMap<string, ReadonlySet<string>>
  readonly file: string | undefined
  /** Differs when a directory or link on the way is another one than before. */
  readonly identity: string
}

/**
 * Calls `wake` whenever `path` may name something else or hold something else, and for nothing else in its directory. Resolves once watching;
 * ends with `signal`.
 * @throws {ServiceError} E_SOURCE_FILE where the system refuses the watch
 */
export async function watchPath(path: string, wake: () => void, signal: AbortSignal): Promise<void> {
  let watcher: Watcher | undefined
  let trail: Trail | undefined
  let queue: Promise<void> = Promise.resolve()
  let queued = false
  let stale = false
  let repair: NodeJS.Timeout | undefined

  async function follow(): Promise<void> {
    do {
      // The old one first: chokidar keeps one inotify watch per path, and would share that of a directory that is gone.
      await watcher?.close()
      if (signal.aborted) return
      trail = readTrail(path)
      watcher = await openWatcher(trail, hear, signal)
    } while (!signal.aborted && readTrail(path).identity !== trail.identity)
    if (signal.aborted) await watcher.close()
  }

  function hear(event: Touch): void {
    wake()
    stale ||= event === 'directory-gone'
    if (event === 'written' || queued) return
    queued = true
    queue = queue.then(async () => {
      queued = false
      const isSame = !stale && readTrail(path).identity === trail?.identity
      stale = false
      if (signal.aborted || isSame) return
      await follow()
      // What happened between the two watches was heard by neither.
      if (!signal.aborted) wake()
    }).catch(() => {
      // The poll still looks at the file; the watch comes back when the system gives one.
      stale = true
      if (!signal.aborted) repair = setTimeout(() => hear('directory-gone'), REPAIR_MS)
    })
  }

  signal.addEventListener('abort', () => {
    clearTimeout(repair)
    void watcher?.close()
  }, { once: true })
  await follow()
}

async function openWatcher(trail: Trail, hear: (event: Touch) => void, signal: AbortSignal): Promise<Watcher> {
  const { watch } = await import('chokidar')
  // chokidar 5 cannot watch `/`: it takes the directory for an entry of its own that is gone, and drops it with everything below.
  const paths = [...trail.names.keys(), ...(trail.file === undefined ? [] : [trail.file])].filter((path) => path !== '/')
  const watched = new Set(paths)
  // `atomic` would hold back an `unlink` for 100 ms and look away from names that end in `~`.
  const watcher = watch(paths, { depth: 0, ignoreInitial: true, atomic: false, followSymlinks: false, ignorePermissionErrors: true, ignored: (name) => !watched.has(name) })
  const touched = (event: string, name: string | null, watchedPath: string): void => {
    const names = trail.names.get(watchedPath)
    if (names === undefined) hear('written')
    // A directory's own end comes with the directory's own name (libuv).
    else if (event === 'rename' && name === basename(watchedPath)) hear('directory-gone')
    else if (name === null || names.has(name)) hear(event === 'rename' ? 'replaced' : 'written')
  }
  // `raw`, not `change`: chokidar drops a `change` that follows another one within 50 ms, and a second write would wait for the poll.
  watcher.on('raw', (event: string, name: string | null, details: unknown) => touched(event, name, (details as { watchedPath: string }).watchedPath))
  let root: FSWatcher | undefined
  const close = async (): Promise<void> => {
    root?.close()
    await watcher.close()
  }
  const opened = new AbortController()
  try {
    // It throws where the system refuses; chokidar emits.
    root = watchDirectory('/', (event, name) => touched(event, name, '/'))
    await new Promise<void>((resolve, reject) => {
      root?.on('error', reject)
      watcher.on('error', reject)
      watcher.on('ready', resolve)
      if (paths.length === 0) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true, signal: opened.signal })
    })
  } catch (error) {
    await close()
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    throw new ServiceError('E_SOURCE_FILE', `could not watch ${[...trail.names.keys()].at(-1)}: ${code}`, {
      fix: code === 'ENOSPC' ? 'raise the limit: sysctl fs.inotify.max_user_watches=65536' : code === 'EMFILE' ? 'raise the limit: sysctl fs.inotify.max_user_instances=512' : undefined,
    })
  } finally {
    opened.abort()
  }
  for (const part of [root, watcher]) part.on('error', () => hear('directory-gone'))
  return { close }
}

function readTrail(path: string): Trail {
  const names = new Map<string, Set<string>>()
  const identity: string[] = []
  const rest = resolve(path).split('/').filter((part) => part !== '')
  let directory = '/'
  for (let links = 0; rest.length > 0; ) {
    const name = rest.shift() as string
    if (name === '.') continue
    if (name === '..') {
      directory = dirname(directory)
      continue
    }
    const here = join(directory, name)
    names.set(directory, (names.get(directory) ?? new Set()).add(name))
    const stats = ifPresent(here, () => lstatSync(here, { bigint: true }))
    if (stats?.isSymbolicLink()) {
      const target = ifPresent(here, () => readlinkSync(here))
      identity.push(`${here} -> ${target}`)
      if (target === undefined || ++links > MAX_LINKS) break
      if (target.startsWith('/')) directory = '/'
      rest.unshift(...target.split('/').filter((part) => part !== ''))
    } else if (stats?.isDirectory()) {
      // An inode's number is used again soon; its birth is not.
      identity.push(`${here} ${stats.dev}:${stats.ino}:${stats.birthtimeNs}`)
      directory = here
    } else {
      // Whether the file is there, and which one: the directory's watch tells.
      return { names, file: stats === undefined ? undefined : here, identity: identity.join('\n') }
    }
  }
  return { names, file: undefined, identity: identity.join('\n') }
}

/** Undefined for what is not there, or not for us to see. What a failing disk says of a path is no answer, and would be watched from then on. */
function ifPresent<T>(path: string, look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code)
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG', 'EINVAL'].includes(code)) return undefined
    throw new ServiceError('E_SOURCE_FILE', `could not watch ${path}: ${code}`, { fix: `look at dmesg, and at the file system that it is on: findmnt --target ${path}` })
  }
}
