import { readdir, readFile, readlink } from 'node:fs/promises'
import { readStartedAtUs } from './process-identity.js'

/**
 * When the process that listens on a TCP port started, in microseconds on CLOCK_MONOTONIC: tells a new ECS agent from the old one where there is no
 * Docker to ask. Undefined where nobody listens, or it belongs to another user and we are not root.
 */
export async function listenerStartedAtUs(port: number): Promise<number | undefined> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'latin1').catch(() => '')
    for (const inode of parseListeners(text, port)) inodes.add(inode)
  }
  if (inodes.size === 0) return undefined
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (/^\d+$/.test(pid) && await holdsSocket(pid, inodes)) return readStartedAtUs(Number(pid))
  }
  return undefined
}

/** The socket inodes that listen on `port`, of a table as /proc/net/tcp has it (proc(5)). */
export function parseListeners(table: string, port: number): string[] {
  const inodes: string[] = []
  for (const line of table.split('\n').slice(1)) {
    // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode; addresses are hex, and state 0A is LISTEN.
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
    if (state === '0A' && inode !== undefined && local?.endsWith(`:${port.toString(16).toUpperCase().padStart(4, '0')}`)) inodes.push(inode)
  }
  return inodes
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  // Processes end and are not ours to read: neither is worth a word.
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
    if (inode !== undefined && inodes.has(inode)) return true
  }
  return false
}
