import { getSystemErrorMap } from 'node:util'
import { ServiceError, type ErrorCode } from '../errors.js'

export type FileErrorCode = Extract<ErrorCode, 'E_ECS_CONFIG' | 'E_STATE'>

const FIXES: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: (path) => `free space or inodes on its file system: df -h ${path}; df -i ${path}`,
  EDQUOT: (path) => `raise the quota on its file system, or free space: df -h ${path}`,
  EFBIG: () => 'this process may not write files of that size; raise LimitFSIZE= of the unit',
  EROFS: (path) => `its file system is mounted read-only; look for the reason in dmesg, then: mount -o remount,rw the file system of ${path}`,
  EACCES: (path) => `run as root, and look at the directories above it and at SELinux: namei -l ${path}; ausearch -m avc -ts recent`,
  EPERM: (path) => `run as root, and look for an immutable flag: lsattr ${path}`,
  EIO: () => 'the disk failed to read or write; look at dmesg, and replace the volume or the instance',
  EMFILE: () => 'this process has too many files open; raise LimitNOFILE= of the unit',
  ENFILE: () => 'the machine has too many files open; find which program holds them: lsof | awk \'{print $1}\' | sort | uniq -c | sort -n',
  ENOENT: (path) => `its directory does not exist: is the ECS agent installed? Else: mkdir -p its directory (${path})`,
  ENOTDIR: (path) => `something above it is a file, not a directory: namei -l ${path}`,
  EISDIR: (path) => `there is a directory where the file should be; move it away: ${path}`,
  ELOOP: (path) => `its symbolic links lead in a circle: namei -l ${path}`,
  EBUSY: (path) => `it is mounted over (a bind mount of a single file cannot be replaced); mount its directory instead: findmnt ${path}`,
  EAGAIN: (path) => `find the program that rewrites it: fuser -v ${path}`,
}

/**
 * The error of an attempt on a file, in words: errno, path and what to do. Anything but an errno is passed through: a ServiceError keeps its own
 * words, and a bug stays one.
 * @param attempt completes `cannot …`: `read`, `write`
 */
export function fileError(code: FileErrorCode, attempt: string, path: string, error: unknown): unknown {
  const { code: errno, syscall, message } = error as NodeJS.ErrnoException
  if (error instanceof ServiceError || typeof errno !== 'string' || errno.startsWith('ERR_')) return error
  // Node's message repeats errno and paths (temp file's included); a message of ours does not start with the errno.
  const reason = message.startsWith(`${errno}:`) ? systemWords(errno) ?? message : message
  const during = syscall === undefined ? errno : `${errno}, ${syscall}`
  return new ServiceError(code, `cannot ${attempt} ${path}: ${reason} (${during})`, { fix: FIXES[errno]?.(path) ?? `look at dmesg, and at the file system that it is on: findmnt --target ${path}`, cause: error })
}

function systemWords(errno: string): string | undefined {
  for (const [name, words] of getSystemErrorMap().values()) if (name === errno) return words
  return undefined
}
