import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Check, ok, skipped, warning } from './check.js'

const TAIL_BYTES = 512 * 1024

/** What SELinux refused lately around our files. Its log is root's. */
export const selinux: Check = {
  id: 'selinux',
  run: async ({ settings: { root, ecsConfigPath, stateDir } }) => {
    const enforcing = (await readFile(join(root, '/sys/fs/selinux/enforce'), 'utf8').catch(() => '')).trim()
    if (enforcing === '') return [skipped('selinux', 'there is no SELinux here')]
    const log = await readTail(join(root, '/var/log/audit/audit.log'))
    const denials = log.split('\n').filter((line) => /avc:\s+denied/.test(line) && /ecs\.config|ecs-regcred/.test(line))
    const last = denials.at(-1)
    if (last === undefined) return [ok('selinux', 'SELinux has refused nothing around ecs.config lately')]
    const what = /denied\s+(\{[\w ]+\})/.exec(last)?.[1] ?? ''
    return [warning('selinux',
      `SELinux ${enforcing === '1' ? 'refuses' : 'would refuse, if it were enforcing,'} ${what} around ecs.config (${denials.length} in the end of its log)`,
      `restorecon -Rv ${ecsConfigPath} ${stateDir}; to see them: ausearch -m avc -ts recent`)]
  },
}

async function readTail(path: string): Promise<string> {
  const handle = await open(path).catch(() => undefined)
  if (handle === undefined) return ''
  try {
    const { size } = await handle.stat()
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.min(size, TAIL_BYTES)), 0, Math.min(size, TAIL_BYTES), Math.max(0, size - TAIL_BYTES))
    return buffer.toString('latin1', 0, bytesRead)
  } catch {
    return ''
  } finally {
    await handle.close()
  }
}
