import t from 'tap'
import { mkdir, writeFile } from 'node:fs/promises'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chooseInitSystem } from '../../src/host/index.js'
import { never, standIns } from '../fixtures/stand-ins.js'

const ALL = ['systemctl', 'initctl', 'status', 'stop', 'start']
const noUnit = "printf 'LoadState=not-found\\nActiveState=inactive\\n'"
const unit = "printf 'LoadState=loaded\\nActiveState=active\\n'"
const noJob = 'echo "status: Unknown job: ecs" >&2; exit 1'
const notPid1 = 'echo "System has not been booted with systemd as init system (PID 1). Can\'t operate." >&2; exit 1'

type Case = { programs?: string[]; answers?: Record<string, string>; files?: string[]; expected: string | undefined }
const cases: Record<string, Case> = {
  'the unit is loaded': { answers: { 'systemctl-show': unit, status: noJob }, expected: 'systemd' },
  'systemd runs without the unit, and nothing else': { answers: { 'systemctl-show': noUnit, status: noJob }, files: ['/run/systemd/system/x'], expected: undefined },
  'systemd without the unit, Upstart with the job': { answers: { 'systemctl-show': noUnit, status: 'echo "ecs stop/waiting"' }, expected: 'upstart' },
  'a job file, before any program is asked': { programs: [], files: ['/etc/init/ecs.conf'], expected: 'upstart' },
  'no systemctl, and initctl alone knows the job': { programs: ['initctl'], answers: { 'initctl-status': 'echo "ecs start/running, process 1"' }, expected: 'upstart' },
  'a systemctl that tells nothing, and nothing else': { programs: ['systemctl'], expected: 'systemd' },
  'a systemctl that tells nothing, where systemd is PID 1': { answers: { status: 'echo "ecs stop/waiting"' }, files: ['/run/systemd/system/x'], expected: 'systemd' },
  'systemctl installed, systemd not running': { programs: ['systemctl'], answers: { systemctl: notPid1 }, expected: undefined },
  'neither is there': { programs: [], expected: undefined },
}
for (const [name, { programs = ALL, answers = {}, files = [], expected }] of Object.entries(cases)) {
  t.test(`${name}: ${expected ?? 'none'}`, async (t) => {
    standIns(t, programs, answers)
    const root = mkdtempSync(join(tmpdir(), 'regcred-root-'))
    t.teardown(async () => (await import('node:fs/promises')).rm(root, { recursive: true }))
    for (const file of files) {
      await mkdir(join(root, file, '..'), { recursive: true })
      await writeFile(join(root, file), '')
    }
    t.equal((await chooseInitSystem({ init: 'auto', root, service: 'ecs' }, never))?.name, expected)
  })
}

t.test('what the settings force is taken without asking', async (t) => {
  const calls = standIns(t, ALL, {})
  for (const init of ['systemd', 'upstart'] as const) t.equal((await chooseInitSystem({ init, root: '/', service: 'ecs' }, never))?.name, init)
  t.strictSame(calls(), [])
})
