import { stat } from 'node:fs/promises'
import { decideEcsAgent } from '../core/decide.js'
import type { State } from '../host/state.js'
import type { Settings } from '../settings.js'
import { broken, brokenBy, type Check, type CheckResult, ok, warning } from './check.js'
import type { Facts } from './facts.js'

/** A pass that found nothing to do is a success too: without one for so many intervals, none came to its end. */
const INTERVALS = 3
const LEAST_MS = 15 * 60_000

/** What the passes before this look have left: an owed restart, a version that waits, the last success. */
export const stateDir: Check = {
  id: 'state',
  run: async (facts) => {
    const { settings } = facts
    let state: State
    let problem: string | undefined
    try {
      ({ state, problem } = await facts.state())
    } catch (error) {
      return [brokenBy('state', error)]
    }
    return [await judgeDirectory(settings.stateDir, problem), await judgeRestart(facts), ...judgeHeld(state), judgeLastSuccess(state, settings, Date.now())]
  },
}

async function judgeDirectory(path: string, problem: string | undefined): Promise<CheckResult> {
  const info = await stat(path).catch(() => undefined)
  if (info === undefined) return warning('state', `there is no ${path}: no pass has run here yet`, 'ecs-regcred sync')
  if (problem !== undefined) return warning('state', problem, 'the next pass writes it anew; if it stays, look at the disk: dmesg')
  if ((info.mode & 0o077) !== 0) return broken('state',
    `${path} holds the last good credentials, and other users may enter it (mode ${(info.mode & 0o7777).toString(8)})`,
    `chmod 700 ${path}`)
  return ok('state', `${path} is the service's alone`)
}

async function judgeRestart({ seen, initSystem }: Facts): Promise<CheckResult> {
  const id = 'restart-owed'
  if (await initSystem() === undefined) return ok(id, 'no restart is owed')
  const { facts } = await seen()
  if (decideEcsAgent(facts) !== 'restart') return ok(id, 'no restart is owed')
  return warning(id,
    'a restart of the ECS agent is owed: the service pays it at its next pass, in its place of the splay window',
    'at once: ecs-regcred sync --force')
}

function judgeHeld({ setAside, refused }: State): CheckResult[] {
  return [
    setAside === undefined ? ok('set-aside', 'no version is set aside')
      : { ...broken('set-aside',
        `version ${setAside.version} is set aside since ${setAside.at}: ${setAside.reason}`,
        'put a working credential into the source, or try this one again: ecs-regcred sync --force'), code: 'E_SET_ASIDE' },
    ...(refused === undefined ? [] : [{ ...broken('refused',
      `version ${refused.version} is not applied: ${refused.registries.join(', ')} refused it`,
      'put the right password into the source; to try this one again: systemctl reload ecs-regcred'), code: 'E_REGISTRY_REFUSED' as const }]),
  ]
}

function judgeLastSuccess({ lastSuccess }: State, { intervalMs }: Settings, nowMs: number): CheckResult {
  const id = 'last-success'
  const fix = 'see why: journalctl -u ecs-regcred -n 50 (on Amazon Linux 1: /var/log/ecs-regcred.log); or make a pass by hand: ecs-regcred sync'
  if (lastSuccess === undefined) return warning(id, 'no pass has come to its end here yet', fix)
  const agoMs = nowMs - Date.parse(lastSuccess)
  if (!(agoMs > Math.max(INTERVALS * intervalMs, LEAST_MS))) return ok(id, `the last pass without an error ended ${ago(agoMs)} ago`)
  return broken(id, `no pass has come to its end for ${ago(agoMs)}, with a pass due every ${ago(intervalMs)}: a new credential would not arrive`, fix)
}

function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  return seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}
