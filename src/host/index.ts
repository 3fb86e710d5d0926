import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { InitSystem } from './init-system.js'
import { systemd } from './systemd.js'
import { upstart } from './upstart.js'

/**
 * The init system that has the ECS agent's unit or job; undefined where none has. By that, not by the name of the operating system: images differ, and
 * an Ubuntu of the Upstart years may run either.
 * @param options.init `auto`, or what the settings force
 */
export async function chooseInitSystem(
  options: { readonly init: 'auto' | 'systemd' | 'upstart'; readonly root: string; readonly service: string },
  signal: AbortSignal,
): Promise<InitSystem | undefined> {
  const { init, root, service } = options
  if (init !== 'auto') return init === 'systemd' ? systemd : upstart

  const unit = await systemd.readJob(service, signal)
  // systemd is PID 1 here: what it does not tell today is no sign of Upstart (sd_booted(3)).
  if (unit.state !== 'absent' && (unit.state !== 'unknown' || await exists(join(root, '/run/systemd/system')))) return systemd
  if (await exists(join(root, '/etc/init', `${service}.conf`))) return upstart
  const job = await upstart.readJob(service, signal)
  if (job.state !== 'absent' && job.state !== 'unknown') return upstart
  return unit.state === 'unknown' ? systemd : undefined
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false)
}
