import { awsEndpointHost } from '../aws-client.js'
import { HUB_KEY } from '../core/registry-name.js'
import { registryOfKey } from '../core/registry-of-key.js'
import { parseSecretReference } from '../core/secret-reference.js'
import { runCommand } from '../host/run-command.js'
import { httpRequest } from '../http-request.js'
import { authOnDisk } from '../pass/auth-on-disk.js'
import { broken, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import type { Facts } from './facts.js'

/** AWS refuses signatures that are further off (Signature Version 4: five minutes). */
const BROKEN_S = 240
const WARNING_S = 30
const FIX = 'chronyc makestep, or: timedatectl set-ntp true; on Amazon Linux 1: service chronyd restart'

/** The clock against chrony's sources, or against the Date of an answer over HTTP. */
export const clock: Check = {
  id: 'clock',
  run: async (facts, signal) => {
    const tracked = await runCommand('chronyc', ['-c', 'tracking'], { timeoutMs: 3_000 }, signal)
    const offset = parseTracking(tracked.stdout)
    if (offset !== undefined) return [judge(offset, 'chrony')]
    const url = await urlToAsk(facts)
    const date = url === undefined ? undefined : await readDate(url, signal)
    if (url === undefined || date === undefined) return [skipped('clock', 'neither chronyc nor an answer over the network tells the time')]
    return [judge((Date.now() - date) / 1000, new URL(url).host)]
  },
}

/** `chronyc -c tracking` (chronyc(1)): field 5 is the offset of the system clock in seconds, the last one the leap status. */
export function parseTracking(line: string): number | undefined {
  const fields = line.trim().split(',')
  const offset = Number(fields[4])
  return fields.length >= 14 && fields.at(-1) !== 'Not synchronised' && Number.isFinite(offset) ? offset : undefined
}

function judge(offsetS: number, by: string): CheckResult {
  const off = Math.abs(offsetS)
  if (off < WARNING_S) return ok('clock', `the clock is right by ${by}`)
  const message = `the clock is ${Math.round(off)} s ${offsetS > 0 ? 'ahead' : 'behind'}, by ${by}`
  return off < BROKEN_S ? warning('clock', message, FIX) : broken('clock',
    `${message}: AWS refuses what is signed with it, and certificates seem expired or not valid yet`,
    FIX)
}

async function urlToAsk({ settings, ecsConfig, environment }: Facts): Promise<string | undefined> {
  if (settings.source.kind === 'secret') {
    const named = settings.source.secretIds.map((id) => parseSecretReference(id).region).find(Boolean) ?? environment['AWS_REGION'] ?? environment['AWS_DEFAULT_REGION']
    if (named === undefined) return undefined
    const host = awsEndpointHost('secretsmanager', named, environment)
    const url = environment['AWS_ENDPOINT_URL_SECRETS_MANAGER'] ?? environment['AWS_ENDPOINT_URL']
    return url !== undefined && URL.canParse(url) ? new URL(url).origin : `https://${host}`
  }
  const { auth } = authOnDisk((await ecsConfig().catch(() => undefined))?.bytes)
  const [first] = [...auth.entries.values()].map(({ key }) => registryOfKey(key))
  const registry = first === HUB_KEY ? 'registry-1.docker.io' : first?.split('/', 1)[0]
  if (registry === undefined) return undefined
  const plain = settings.probeInsecure.includes(registry) || /^(localhost|127\.)/.test(registry)
  const url = `${plain ? 'http' : 'https'}://${registry}/v2/`
  return URL.canParse(url) ? url : undefined
}

/** Nothing but the header is of interest, so a certificate that this clock takes for expired is no hindrance: no credential is sent, and nothing read is believed. */
async function readDate(url: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const { headers } = await httpRequest(url, { method: 'HEAD', timeoutMs: 5_000, rejectUnauthorized: false } as Parameters<typeof httpRequest>[1], signal)
    const date = Date.parse(headers.date ?? '')
    return Number.isNaN(date) ? undefined : date
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
