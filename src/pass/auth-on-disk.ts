import { AUTH_DATA, AUTH_TYPE, readEnvironment } from '../core/ecs-config-lines.js'
import { type EngineAuth, parseEngineAuth } from '../core/ecs-matching.js'

export type AuthOnDisk = {
  /** As the ECS agent understands it. */
  readonly auth: EngineAuth
  /** ECS_ENGINE_AUTH_DATA as ecs-init passes it on; undefined where the file has none. A credential: for comparing only. */
  readonly data: string | undefined
}

export function authOnDisk(file: Uint8Array | undefined): AuthOnDisk {
  const environment = readEnvironment(file ?? new Uint8Array())
  const data = environment.get(AUTH_DATA)
  return { auth: parseEngineAuth(environment.get(AUTH_TYPE), data), data }
}
