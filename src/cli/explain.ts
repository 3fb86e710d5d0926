import { buffer } from 'node:stream/consumers'
import { readFile } from 'node:fs/promises'
import { chooseEntry, imageRegistry, type Choice, type EngineAuth } from '../core/ecs-matching.js'
import { shownKey } from '../core/key-name.js'
import { leftOut } from '../core/registry-name.js'
import { ServiceError } from '../errors.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { columnsOf, wrap } from '../terminal.js'
import type { Command } from './command.js'

export const explain: Command = {
  summary: 'which entry the ECS agent would pick for an image, and why',
  arguments: 'IMAGE',
  options: { from: { type: 'string', value: 'FILE', help: 'an ecs.config of either type, read as the ECS agent would (- for standard input)' } },
  settings: ['REGCRED_ECS_CONFIG', 'REGCRED_ROOT'],
  example: 'ecs-regcred explain registry.example.com:5000/team/app:1.2',
  run: async ({ settings, positionals, options, json, stdin, stdout }) => {
    const [image, more] = positionals
    if (image === undefined || more !== undefined) throw new ServiceError('E_USAGE', 'explain takes one image, as a task definition writes it', { fix: explain.example })
    if (image === '' || image.includes('://')) throw new ServiceError('E_USAGE', 'explain takes an image as a task definition writes it, without a scheme in front', { fix: explain.example })
    const path = typeof options['from'] === 'string' ? options['from'] : settings().ecsConfigPath
    const file = path === '-' ? await buffer(stdin) : await readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new ServiceError('E_ECS_CONFIG', `cannot read ${path}: ${error.code ?? 'unknown error'}`, {
        fix: error.code === 'ENOENT' ? 'name another file with --from, or write this one: ecs-regcred sync'
          : error.code === 'EISDIR' ? `that is a directory; name the file in it: --from ${path}/ecs.config` : 'run as root',
        cause: error,
      })
    })

    const { auth } = authOnDisk(file)
    const choice = chooseEntry(auth, image)
    const registry = imageRegistry(image) ?? 'docker.io'
    // A key that the image begins with is known to whoever asks.
    const shown = (key: string): string => (image.startsWith(key) ? key : shownKey(key))
    const key = choice.key === undefined ? null : shown(choice.key)
    const username = choice.entry === undefined ? null : choice.entry.username
    // The backend sends `ecr` with such a container, and then the map is not looked at (dockerapi, getAuthdata).
    const isEcr = leftOut(registry)?.code === 'W_ECR_HOST'
    const reason = isEcr ? `an image of Amazon ECR: the ECS agent signs in there with its own role${key === null ? '' : ', and leaves this key alone'}`
      : [choice.reason, ...auth.warnings, ...silences(auth, choice)].join('; ')
    const anonymous = !isEcr && (choice.entry?.anonymous ?? true)
    const document = { image, registry, key, username, reason, deterministic: choice.deterministic, possible: choice.possible.map(shown), anonymous }
    if (json) {
      stdout.write(`${JSON.stringify(document)}\n`)
      return 0
    }
    stdout.write(`image     ${image}\nregistry  ${registry}\n`)
    stdout.write(key === null ? `key       none${anonymous ? ': the pull is anonymous' : ''}\n` : `key       ${key}\nusername  ${username ?? ''}\n`)
    if (!choice.deterministic) stdout.write(`random    one of ${document.possible.join(', ')}\n`)
    stdout.write(`because   ${wrap(reason, columnsOf(stdout), 10).join('\n')}\n`)
    return 0
  },
}

/** Why a pull is anonymous although there seems to be a credential, where the ECS agent's log says nothing of it. */
function silences(auth: EngineAuth, { entry }: Choice): readonly string[] {
  if (auth.type === '' && auth.dropped) return ['ECS_ENGINE_AUTH_TYPE is not set, so the ECS agent takes nothing from ECS_ENGINE_AUTH_DATA']
  if (entry?.anonymous !== true) return []
  return [entry.authIgnored ? 'but the pull is anonymous: of type docker, Docker does not look at "auth", and there is no "username"' : 'but the pull is anonymous: that entry is empty']
}
