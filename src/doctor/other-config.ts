import { join } from 'node:path'
import { AUTH_DATA, AUTH_TYPE, readEnvironment } from '../core/ecs-config-lines.js'
import { readGoJson, type GoMember } from '../core/go-json.js'
import { readFileIfAny } from '../host/atomic-file.js'
import { underRoot } from '../settings.js'
import { broken, brokenBy, type Check, type CheckResult, ok, warning } from './check.js'

const INSTANCE_CONFIG = '/var/lib/ecs/ecs.config'
const JSON_CONFIG = '/etc/ecs/ecs.config.json'

/** Settings whose value is JSON: a bad one is a configuration error, and the ECS agent dies of it over and over (agent/config/config.go). */
const JSON_SETTINGS = ['ECS_INSTANCE_ATTRIBUTES', 'ECS_CONTAINER_INSTANCE_TAGS', 'ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES']

/** What else the ECS agent is configured by: built-in < /var/lib/ecs/ecs.config < /etc/ecs/ecs.config, and a JSON file for what those leave unset. */
export const otherConfig: Check = {
  id: 'other-config',
  run: async ({ settings: { root, ecsConfigPath }, ecsConfig }) => {
    const main = readEnvironment((await ecsConfig().catch(() => undefined))?.bytes ?? new Uint8Array())
    const results: CheckResult[] = []
    const instance = await readInstanceConfig(join(root, INSTANCE_CONFIG))
    if ('verdict' in instance) results.push(instance)
    else results.push(...judgeInstance(join(root, INSTANCE_CONFIG), instance, main))

    const merged = new Map([...('verdict' in instance ? [] : instance), ...main])
    results.push(...JSON_SETTINGS.filter((name) => (merged.get(name) ?? '') !== '' && readGoJson(merged.get(name) ?? '') === undefined)
      .map((name) => broken('json-settings',
        `${name} is not valid JSON: the ECS agent does not start with it, and is tried again for ever`,
        `write its value as JSON on one line, without quotes around it: grep -n ${name} ${ecsConfigPath}`)))
    const named = merged.get('ECS_AGENT_CONFIG_FILE_PATH')
    const jsonPath = underRoot(root, named?.startsWith('/') ? named : JSON_CONFIG)
    const json = await readFileIfAny(jsonPath).catch((error: unknown) => brokenBy('json-config', error))
    if (json !== undefined && 'verdict' in json) results.push(json)
    else results.push(judgeJson(jsonPath, json?.bytes.toString() ?? '', main))
    return results
  },
}

async function readInstanceConfig(path: string): Promise<ReadonlyMap<string, string> | CheckResult> {
  return readFileIfAny(path).then((file) => new Map(readEnvironment(file?.bytes ?? new Uint8Array())), (error: unknown) => brokenBy('instance-config', error))
}

function judgeInstance(path: string, instance: ReadonlyMap<string, string>, main: ReadonlyMap<string, string>): CheckResult[] {
  const id = 'instance-config'
  const held = [AUTH_TYPE, AUTH_DATA].filter((name) => (instance.get(name) ?? '') !== '')
  if (held.length === 0) return [ok(id, `${path} holds no registry credentials`)]
  const fix = `sed -i '/^[[:space:]]*ECS_ENGINE_AUTH_/d' ${path}`
  // A blank value in the later file is set, and wins.
  const effective = held.filter((name) => !main.has(name))
  if (effective.length > 0) return [broken(id,
    `${path} sets ${effective.join(' and ')}, ecs.config does not: the ECS agent takes it from there, where nobody keeps it fresh`,
    `${fix}; then: ecs-regcred sync`)]
  return [warning(id, `${path} holds registry credentials too; ecs.config overrides them, and at log level debug ecs-init logs both values`, fix)]
}

/** Field by field, environment before file: what ecs.config leaves unset or blank comes from here. */
function judgeJson(path: string, text: string, main: ReadonlyMap<string, string>): CheckResult {
  const id = 'json-config'
  if (text.trim() === '') return ok(id, 'no ecs.config.json stands in the way')
  const document = readGoJson(text)
  if (!Array.isArray(document)) return broken(id,
    `${path} is not a JSON object: the ECS agent does not start with it, and is tried again for ever`,
    `jq . ${path} shows where; if nothing needs it: rm ${path}`)
  const member = (name: string): GoMember | undefined => (document as readonly GoMember[]).find(([key]) => key.toLowerCase() === name.toLowerCase())
  const [type, data] = [member('EngineAuthType'), member('EngineAuthData')]
  if (type === undefined && data === undefined) return ok(id, `${path} holds no registry credentials`)
  if (data !== undefined && data[1] !== null && !Array.isArray(data[1])) {
    return broken(id,
      `EngineAuthData in ${path} is not a JSON object: the ECS agent does not start with it, and is tried again for ever`,
      removal(path))
  }
  const shadowing = [...(type !== undefined && !main.get(AUTH_TYPE) ? ['EngineAuthType'] : []), ...(data !== undefined && !main.get(AUTH_DATA) ? ['EngineAuthData'] : [])]
  if (shadowing.length > 0) return broken(id,
    `${path} sets ${shadowing.join(' and ')}, which ecs.config leaves unset: the ECS agent takes it from there, where nobody keeps it fresh`,
    `${removal(path)}; then: ecs-regcred sync`)
  return warning(id, `${path} holds registry credentials too: ecs.config overrides them, but without it they would come back`, removal(path))
}

function removal(path: string): string {
  return `jq 'del(.EngineAuthType, .EngineAuthData)' ${path} >${path}.new && chmod 600 ${path}.new && mv ${path}.new ${path}`
}
