import { readFile } from 'node:fs/promises'

/** The version in package.json, which lies one folder above the program in a checkout and in a release alike. */
export async function readVersion(): Promise<string> {
  for (const path of ['../package.json', '../../package.json']) {
    const text = await readFile(new URL(path, import.meta.url), 'utf8').catch(() => undefined)
    const version = text === undefined ? undefined : (JSON.parse(text) as { name?: string; version?: string })
    if (version?.name === 'ecs-regcred' && version.version !== undefined) return version.version
  }
  return 'unknown'
}
