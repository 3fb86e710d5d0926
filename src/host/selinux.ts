import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand } from './run-command.js'

/**
 * Gives `to` the SELinux label of `from`, on a machine that has SELinux. Where that fails `to` keeps what it was created with: its directory's,
 * which is the policy's own choice for a file there.
 */
export async function copySelinuxLabel(from: string, to: string, root: string): Promise<void> {
  // node:fs has no extended attributes.
  if (existsSync(join(root, '/sys/fs/selinux'))) await runCommand('chcon', [`--reference=${from}`, '--', to], { timeoutMs: 5000 }, new AbortController().signal)
}
