import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { parseCredentialDocument } from '../core/credential-document.js'
import { renderAuthData, toDockercfg } from '../core/dockercfg.js'
import { ServiceError } from '../errors.js'
import type { Command, CommandContext } from './command.js'

export const check: Command = {
  summary: 'is this credential document usable? offline; what it would render, redacted',
  arguments: '[FILE|-]',
  options: {
    'allow-empty': { type: 'boolean', help: 'a document without registries is meant' },
    'json-key': { type: 'string', value: 'NAME', help: 'the credential is this member of the document, as in ARN:json-key::' },
  },
  settings: ['REGCRED_DOCKER_CONFIG', 'REGCRED_REGISTRY', 'REGCRED_USERNAME', 'REGCRED_KEEP_NEWLINE'],
  example: 'aws secretsmanager get-secret-value --secret-id prod/registry --query SecretString --output text | ecs-regcred check -',
  run: async ({ settings: readSettings, positionals, options, json, stdin, stdout }) => {
    const settings = readSettings()
    const { source, content } = await readDocument(positionals, settings.source, stdin)
    const allowEmpty = options['allow-empty'] === true
    const parsed = parseCredentialDocument(content, {
      source,
      registry: settings.registry,
      username: settings.username,
      keepNewline: settings.keepNewline,
      jsonKey: options['json-key'] as string | undefined,
      allowEmpty,
    })
    const { dockercfg, warnings: renderWarnings } = toDockercfg(parsed.registries, { allowEmpty })
    renderAuthData(dockercfg) // its size is part of the answer
    const warnings = [...parsed.warnings, ...renderWarnings]
    const registries = [...parsed.registries.keys()].sort()
    const rendered = [...dockercfg.keys()].sort()
    if (json) {
      stdout.write(`${JSON.stringify({ ok: true, registries, rendered, warnings })}\n`)
      return 0
    }
    stdout.write(`${source}: usable, ${registries.length} ${registries.length === 1 ? 'registry' : 'registries'}\n`)
    for (const registry of registries) stdout.write(`  ${registry}  username ${parsed.registries.get(registry)?.username ?? ''}\n`)
    const redacted = rendered.map((key) => `${JSON.stringify(key)}:{"auth":"[redacted]"}`).join(',')
    stdout.write(`it renders to\n  ECS_ENGINE_AUTH_TYPE=dockercfg\n  ECS_ENGINE_AUTH_DATA={${redacted}}\n`)
    for (const { code, message } of warnings) stdout.write(`warning ${code}: ${message}\n`)
    return 0
  },
}

async function readDocument(
  [file, more]: readonly string[],
  source: ReturnType<CommandContext['settings']>['source'],
  stdin: CommandContext['stdin'],
): Promise<{ source: string; content: Uint8Array }> {
  if (more !== undefined) throw new ServiceError('E_USAGE', 'check takes one file', { fix: 'ecs-regcred check --help' })
  if (file === '-') return { source: 'standard input', content: await buffer(stdin) }
  const path = file ?? (source.kind === 'file' ? source.path : undefined)
  if (path === undefined) {
    throw new ServiceError('E_USAGE', 'check is offline: it takes a file, or - for standard input', { fix: `${check.example}` })
  }
  try {
    return { source: path, content: await readFile(path) }
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    throw new ServiceError('E_SOURCE_FILE', `cannot read ${path}: ${code}`, { source: path, cause: error })
  }
}
