import { runCommand } from '../host/run-command.js'
import { systemd } from '../host/systemd.js'
import { upstart } from '../host/upstart.js'
import { broken, type Check, type CheckResult, ok, skipped, warning } from './check.js'
import type { Facts } from './facts.js'

const SERVICE = 'ecs-regcred'
const BOOT = 'ecs-regcred-boot'

/** The ECS agent's unit or job is there, and so are ours, running and on at the next boot. */
export const ownService: Check = {
  id: 'init-system',
  run: async (facts, signal) => {
    const init = await facts.initSystem()
    const { ecsService } = facts.settings
    if (init === undefined) return [await withoutInit(facts), skipped('service', 'no init system to ask')]
    const first = ok('init-system', `${init.name} runs the ECS agent as ${ecsService}`)
    return init.name === 'systemd' ? [first, ...await systemdUnits(signal)] : [first, await upstartJob(signal)]
  },
}

async function withoutInit({ settings, seen }: Facts): Promise<CheckResult> {
  const { healthy } = await seen()
  const byHand = healthy ? ', yet an ECS agent runs: a container started by hand keeps its environment for good' : ''
  return broken('init-system',
    `neither systemd nor Upstart has a service named ${settings.ecsService}${byHand}`,
    'run the ECS agent by ecs-init (yum install ecs-init), or name its unit: --ecs-service amazon-ecs')
}

async function systemdUnits(signal: AbortSignal): Promise<CheckResult[]> {
  const [service, boot, serviceEnabled, bootEnabled] = await Promise.all([
    systemd.readJob(SERVICE, signal), systemd.readJob(BOOT, signal), readEnabled(SERVICE, signal), readEnabled(BOOT, signal),
  ])
  if (service.state === 'absent') return [warning('service',
    `${SERVICE}.service is not installed: nothing follows the source by itself`,
    'in the unpacked release: sh install.sh')]
  return [
    service.state !== 'running' && service.state !== 'starting'
      ? broken('service',
        `${SERVICE}.service does not run (${service.detail}): a new credential would not be seen`,
        `see why: journalctl -u ${SERVICE} -n 50; then: systemctl reset-failed ${SERVICE}; systemctl start ${SERVICE}`)
      : serviceEnabled === 'disabled' || serviceEnabled === 'masked'
        ? warning('service', `${SERVICE}.service runs, but is ${serviceEnabled}: not after the next boot`, enable(SERVICE, serviceEnabled))
        : ok('service', `${SERVICE}.service runs, and is ${serviceEnabled}`),
    boot.state === 'absent' ? warning('boot-service',
      `${BOOT}.service is not installed: at boot the ECS agent may start with the credentials of before`,
      'in the unpacked release: sh install.sh')
      : boot.state === 'failed' ? warning('boot-service',
        `${BOOT}.service failed at the last boot (${boot.detail})`,
        `see why: journalctl -u ${BOOT} -n 50`)
        : bootEnabled === 'disabled' || bootEnabled === 'masked'
          ? warning('boot-service',
            `${BOOT}.service is ${bootEnabled}: at boot the ECS agent starts with the credentials of before, and is then restarted`,
            enable(BOOT, bootEnabled))
          : ok('boot-service', `${BOOT}.service is ${bootEnabled}`),
  ]
}

function enable(unit: string, state: string): string {
  return `${state === 'masked' ? `systemctl unmask ${unit}; ` : ''}systemctl enable ${unit}`
}

/** The first word: `enabled`, `disabled`, `static`, `masked`… */
async function readEnabled(unit: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await runCommand('systemctl', ['is-enabled', unit], { timeoutMs: 5_000 }, signal)
  return /^[a-z-]+/.exec(stdout)?.[0] ?? 'of unknown state'
}

/** Upstart 0.6.5 has no `enable`: a job that is installed starts by its own stanza. */
async function upstartJob(signal: AbortSignal): Promise<CheckResult> {
  const { state, detail } = await upstart.readJob(SERVICE, signal)
  if (state === 'absent') return warning('service',
    `there is no job ${SERVICE}: nothing follows the source by itself`,
    'in the unpacked release: sh install.sh')
  if (state === 'running' || state === 'starting') return ok('service', `the job ${SERVICE} runs`)
  return broken('service',
    `the job ${SERVICE} does not run (${detail}): a new credential would not be seen`,
    `tail -n 50 /var/log/ecs-regcred.log; then: start ${SERVICE}`)
}
