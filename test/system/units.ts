import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repository } from './fixtures/release.js'

const UNITS = ['ecs-regcred.service', 'ecs-regcred-boot.service'] as const

/** What systemd 219 (Amazon Linux 2) knows of what the units use. It knows each of these in this spelling, in this section. */
const KNOWN_TO_219 = new Set(['Description', 'After', 'Before', 'Wants', 'Type', 'RemainAfterExit', 'ExecStart', 'ExecReload', 'Restart', 'RestartSec', 'RestartPreventExitStatus',
  'WatchdogSec', 'NotifyAccess', 'TimeoutStartSec', 'TimeoutStopSec', 'KillMode', 'LimitCORE', 'UMask', 'CapabilityBoundingSet', 'NoNewPrivileges', 'ProtectSystem',
  'ReadWriteDirectories', 'ProtectHome', 'PrivateTmp', 'PrivateDevices', 'DevicePolicy', 'RestrictAddressFamilies', 'SystemCallArchitectures', 'SystemCallFilter',
  'SystemCallErrorNumber', 'WantedBy'])
/** Newer: 219 ignores them with a warning, and the service does its job without them. */
const IGNORED_BY_219 = new Set(['StateDirectory', 'StateDirectoryMode', 'ProtectClock', 'ProtectControlGroups', 'ProtectHostname', 'ProtectKernelLogs', 'ProtectKernelModules',
  'ProtectKernelTunables', 'KeyringMode', 'LockPersonality', 'PrivateMounts', 'RemoveIPC', 'RestrictNamespaces', 'RestrictRealtime', 'RestrictSUIDSGID'])

for (const unit of UNITS) {
  const directives = readFileSync(join(repository, 'systemd', unit), 'utf8').split('\n').filter((line) => /^\w+=/.test(line)).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const)
  const values = (name: string): string[] => directives.filter(([directive]) => directive === name).map(([, value]) => value)

  t.test(`${unit}: systemd 219 reads it as meant`, async (t) => {
    for (const [name] of directives) t.ok(KNOWN_TO_219.has(name) || IGNORED_BY_219.has(name), name)
    // 219 takes no value that it does not know, and keeps the one before.
    t.strictSame(values('ProtectSystem'), ['full', 'strict'])
    // It knows no @groups: the first list decides whether the names are denied or allowed, and an allow-list without names would kill the service.
    t.match(values('SystemCallFilter')[0], /^~/)
    t.match(values('Type')[0], /^(simple|oneshot)$/)
    for (const [name, value] of directives) if (name.startsWith('Exec')) t.match(value, /^\//, '+ and ! came later')
  })

  t.test(`${unit}: systemd finds nothing wrong with it, and little exposed`, async (t) => {
    const root = t.testdir()
    mkdirSync(join(root, 'usr/bin'), { recursive: true })
    mkdirSync(join(root, 'etc/systemd/system'), { recursive: true })
    for (const program of ['ecs-regcred', 'kill']) {
      writeFileSync(join(root, 'usr/bin', program), '')
      chmodSync(join(root, 'usr/bin', program), 0o755)
    }
    cpSync(join(repository, 'systemd'), join(root, 'etc/systemd/system'), { recursive: true })
    const security = execFileSync('systemd-analyze', ['security', '--offline=true', `--root=${root}`, '--no-pager', unit], { encoding: 'utf8' })
    const [, figure = '10'] = /exposure level for [\w.-]+: ([\d.]+)/.exec(security) ?? []
    t.ok(Number(figure) <= 2.9, `exposure ${figure}`)
  })
}

t.test('the service: no ordering on what starts it or what it restarts', async (t) => {
  const text = readFileSync(join(repository, 'systemd/ecs-regcred.service'), 'utf8')
  t.notMatch(text, /^(After|Before|Requires|PartOf|BindsTo)=.*(ecs\.service|cloud-final)/m)
  t.match(text, /^RestartPreventExitStatus=64 78$/m)
  t.match(text, /^Restart=always$/m)
  t.match(text, /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
})

t.test('the boot unit: before ecs, bounded, and nothing that depends on it', async (t) => {
  const text = readFileSync(join(repository, 'systemd/ecs-regcred-boot.service'), 'utf8')
  t.match(text, /^Before=ecs\.service$/m)
  t.match(text, /^TimeoutStartSec=\d+s$/m)
  t.match(text, /^ExecStart=.* --boot --timeout /m)
  t.match(text, /^WantedBy=multi-user\.target$/m)
  t.notMatch(text, /^RequiredBy/m)
})
