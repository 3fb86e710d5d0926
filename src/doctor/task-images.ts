import { chooseEntry, imageRegistry } from '../core/ecs-matching.js'
import { leftOut } from '../core/registry-name.js'
import { httpRequest } from '../http-request.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { type Check, ok, skipped, warning } from './check.js'
import { putCommand } from './registries.js'

const LOOK_MS = 3_000

/** Hosts that serve everyone: an image from there needs no key. */
const OPEN = /^(public\.ecr\.aws|mcr\.microsoft\.com|registry\.k8s\.io|docker\.elastic\.co|public\.[\w.-]+)$/

/** The images of the ECS tasks on this instance: is there a key for each registry that wants one? */
export const taskImages: Check = {
  id: 'task-images',
  run: async ({ settings, ecsConfig, seen }, signal) => {
    const id = 'task-images'
    if (!(await seen()).healthy) return [skipped(id, 'the ECS agent does not answer, so its tasks are not known')]
    const dockerIds = containerIds(await readJson(`${settings.introspectionUrl}/v1/tasks`, undefined, signal))
    const images = new Set(imagesOf(await readJson('http://docker/containers/json', settings.dockerSocket, signal), dockerIds))
    if (dockerIds.size === 0) return [ok(id, 'no task runs here')]
    if (images.size === 0) return [skipped(id, 'Docker does not tell the images of the tasks')]

    const { auth } = authOnDisk((await ecsConfig().catch(() => undefined))?.bytes)
    const wanting = [...images].flatMap((image) => {
      const host = imageRegistry(image)
      if (host === undefined || OPEN.test(host) || leftOut(host) !== undefined) return []
      const { key, deterministic, reason } = chooseEntry(auth, image)
      if (key !== undefined && deterministic) return []
      return [warning(id, `a task's image ${image.slice(0, 200)}: ${reason}`, key === undefined
        ? `if ${host} wants a login: ${putCommand(settings, host)}; see: ecs-regcred explain ${image.slice(0, 200)}`
        : 'ecs-regcred sync adds the key of the host')]
    })
    return wanting.length > 0 ? wanting : [ok(id, `a key, or no need of one, for each image of the tasks here (${images.size})`)]
  },
}

/** Undefined where there is no answer that can be used: this check is a help, not a need. */
async function readJson(url: string, socketPath: string | undefined, signal: AbortSignal): Promise<unknown> {
  try {
    const { status, body } = await httpRequest(url, { timeoutMs: LOOK_MS, ...(socketPath === undefined ? {} : { socketPath }) }, signal)
    return status === 200 ? JSON.parse(body.toString()) as unknown : undefined
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

/** introspection's /v1/tasks: `{"Tasks":[{"Containers":[{"DockerId":…}]}]}` (ecs-agent/introspection/v1). */
function containerIds(answer: unknown): Set<string> {
  return new Set(members(answer, 'Tasks').flatMap((task) => members(task, 'Containers')).flatMap((container) => text(container, 'DockerId')))
}

/** Docker's `GET /containers/json`: the running ones, `Image` as it was asked for. One whose tag has moved on is told by its digest, which names no registry. */
function imagesOf(answer: unknown, wanted: ReadonlySet<string>): string[] {
  return (Array.isArray(answer) ? answer : []).filter((container) => text(container, 'Id').some((id) => wanted.has(id)))
    .flatMap((container) => text(container, 'Image')).filter((image) => !/^(sha256:)?[0-9a-f]{12,64}$/.test(image))
}

function members(value: unknown, name: string): unknown[] {
  const list = (value as Record<string, unknown> | null | undefined)?.[name]
  return Array.isArray(list) ? list : []
}

function text(value: unknown, name: string): string[] {
  const member = (value as Record<string, unknown> | null | undefined)?.[name]
  return typeof member === 'string' && member !== '' ? [member] : []
}
