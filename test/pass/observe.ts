import { unlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { testMachine } from '../fixtures/machine.js'

void t.test('where nothing on the machine tells a new ECS agent from the old one, an order that was taken counts, once', async (t) => {
  // What answers introspection is in this process and outlives every restart; there is no Docker.
  const introspection = createServer((_, response) => response.end('{"Cluster":"c","Version":"v"}'))
  await new Promise<void>((resolve) => introspection.listen(0, '127.0.0.1', resolve))
  t.teardown(() => introspection.close())
  const { port } = introspection.address() as AddressInfo
  const settings = { REGCRED_PROBE: 'off', REGCRED_VERIFY_TIMEOUT: '3s', REGCRED_INTROSPECTION_URL: `http://127.0.0.1:${port}` }
  for (const init of ['systemd', 'upstart'] as const) {
    const machine = await testMachine(t, { ecsConfig: 'ECS_CLUSTER=production\n', docker: false, init, settings })
    const calls = join(machine.standIn, 'calls')
    const replace = (name: string, script: string): void => {
      unlinkSync(join(machine.root, 'bin', name))
      writeFileSync(join(machine.root, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    }
    if (init === 'systemd') replace('systemctl', `echo "systemctl $*" >>${calls}; [ "$1" != is-active ] || echo active`)
    // The process of the job is not to be found in /proc.
    else for (const verb of ['status', 'stop', 'start']) replace(verb, `echo "${verb} $*" >>${calls}; echo 'ecs start/running, process 4194305'`)
    machine.login('first-password')
    t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'restarted' }, init)
    t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'none' })
    machine.login('second-password')
    t.match(JSON.parse((await machine.run('sync', '--json', '--no-restart')).stdout), { ok: true, action: 'wrote', warnings: [{ code: 'W_RESTART_OWED' }] })
    t.match(JSON.parse((await machine.run('sync', '--json')).stdout), { ok: true, action: 'restarted' }, 'the order of before counts no more')
    t.equal(machine.restarts(), 2)
  }
})

// Regression: after the first write of a boot, `status` and `doctor` said of an ECS agent that did not run yet that it held the wrong credentials, and to restart it.
void t.test('an ECS agent that does not run holds neither the right nor the wrong credentials', async (t) => {
  const machine = await testMachine(t, { ecsConfig: 'ECS_CLUSTER=production\n' })
  machine.login('first-password')
  t.match(JSON.parse((await machine.run('sync', '--boot', '--json')).stdout), { ok: true, action: 'wrote' })
  t.match(JSON.parse((await machine.run('status', '--json')).stdout), { file: { inSync: true }, ecsAgent: { running: false, inSync: null }, restartOwed: false })
  t.match((await machine.run('status')).stdout, /^ECS agent +not running, what it holds is not known$/m)
  const { checks } = JSON.parse((await machine.run('doctor', '--json')).stdout) as { checks: { id: string; verdict: string }[] }
  t.equal(checks.find(({ id }) => id === 'ecs-agent-credentials')?.verdict, 'skipped')
})
