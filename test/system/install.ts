import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { optionName, SETTINGS, type SettingName } from '../../src/settings.js'
import { installStandInEcs, makeRoot, overlayRoot } from './fixtures/nspawn.js'
import { repository, unpackRelease } from './fixtures/release.js'

const { dir: release, dispose } = unpackRelease('x64')
t.teardown(dispose)
const id = readFileSync(join(release, 'RELEASE'), 'utf8').trim()

t.test('every script passes shellcheck', async () => {
  const scripts = ['scripts/install.sh', 'scripts/build-release', 'test/system/fixtures/make-root.sh']
  execFileSync('shellcheck', [...scripts, join(release, 'bin/ecs-regcred')], { cwd: repository, stdio: 'inherit' })
  // $settings is meant to be several words there.
  execFileSync('shellcheck', ['--exclude=SC2086', ...readdirSync(join(repository, 'scripts/user-data')).filter((name) => name.endsWith('.sh'))], {
    cwd: join(repository, 'scripts/user-data'), stdio: 'inherit',
  })
})

t.test('it takes every setting there is as an option', async (t) => {
  const [, listed = ''] = /^SETTINGS='([^']+)'/m.exec(readFileSync(join(repository, 'scripts/install.sh'), 'utf8')) ?? []
  t.strictSame(listed.split(/\s+/).sort(), (Object.keys(SETTINGS) as SettingName[]).map(optionName).sort())
})

for (const [name, shell] of [['dash', ['dash']], ['bash as sh', ['bash', '--posix']], ['busybox sh', ['busybox', 'sh']]] as const) {
  const install = (root: string, ...args: string[]) => spawnSync(shell[0], [...shell.slice(1), join(release, 'install.sh'), ...args], {
    env: { PATH: process.env['PATH'], DESTDIR: root, LC_ALL: 'C.UTF-8' }, encoding: 'utf8', // Amazon Linux 2023's
  })

  t.test(`${name}: into a tree with systemd`, async (t) => {
    const root = tree(t, { 'usr/lib/systemd/system/ecs.service': '', 'etc/ecs/ecs.config': 'ECS_CLUSTER=a\n' })
    const { status, stderr } = install(root, '--secret-id', 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf', '--interval=10m', '--env', 'AWS_REGION=eu-west-1')
    t.equal(status, 0, stderr)
    t.equal(readlinkSync(join(root, 'opt/ecs-regcred/current')), id)
    t.equal(readlinkSync(join(root, 'usr/bin/ecs-regcred')), '/opt/ecs-regcred/current/bin/ecs-regcred')
    for (const unit of ['ecs-regcred.service', 'ecs-regcred-boot.service']) {
      t.equal(statSync(join(root, 'etc/systemd/system', unit)).mode & 0o777, 0o644)
      t.equal(readlinkSync(join(root, 'etc/systemd/system/multi-user.target.wants', unit)), `../${unit}`)
    }
    t.equal(statSync(join(root, 'var/lib/ecs-regcred')).mode & 0o777, 0o700)
    t.match(settings(root), /^REGCRED_SECRET_ID=arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbCdEf\nREGCRED_INTERVAL=10m\nAWS_REGION=eu-west-1\n$/m)
    t.equal(statSync(join(root, 'etc/ecs-regcred/ecs-regcred.env')).mode & 0o777, 0o600)
    t.equal(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), 'ECS_CLUSTER=a\n', 'the source is not asked')

    await t.test('twice is once, and settings stay', async (t) => {
      writeFileSync(join(root, 'etc/ecs-regcred/ecs-regcred.env'), `# mine\n${settings(root)}REGCRED_LOG_LEVEL=debug\n`)
      const link = join(root, 'usr/bin/ecs-regcred')
      const inode = lstatSync(link).ino
      const before = listing(root)
      const again = install(root)
      t.equal(again.status, 0, again.stderr)
      t.strictSame(listing(root), before)
      // Regression: it was made anew each time, which a read-only /usr does not allow, and which is a moment without the command.
      t.equal(lstatSync(link).ino, inode, 'and the link is not touched')
      t.match(settings(root), /^# mine\n[^]*\nREGCRED_LOG_LEVEL=debug\n$/)
    })

    await t.test('an option changes its own line; a source of the other kind takes the place of the first', async (t) => {
      t.equal(install(root, '--interval', '1m', '--docker-config', '/root/my docker/config.json').status, 0)
      t.match(settings(root), /^# mine\n/)
      t.match(settings(root), /^REGCRED_INTERVAL=1m$/m)
      t.match(settings(root), /^REGCRED_DOCKER_CONFIG='\/root\/my docker\/config\.json'$/m)
      t.notMatch(settings(root), /SECRET_ID|=10m/)
    })

    await t.test('a copy that was cut short is thrown away', async (t) => {
      mkdirSync(join(root, 'opt/ecs-regcred', `${id}.new`))
      rmSync(join(root, 'opt/ecs-regcred', id), { recursive: true })
      mkdirSync(join(root, 'opt/ecs-regcred/0.9.0-11111111'))
      t.equal(install(root).status, 0)
      t.strictSame(readdirSync(join(root, 'opt/ecs-regcred')).sort(), [id, 'current'], 'and releases older than the last go')
      t.ok(existsSync(join(root, 'opt/ecs-regcred/current/bin/node')))
    })

    // Regression: a second run took the release for the one before itself, and removed the way back.
    await t.test('the release before stays, however often this one is installed', async (t) => {
      mkdirSync(join(root, 'opt/ecs-regcred/0.9.0-11111111'))
      mkdirSync(join(root, 'opt/ecs-regcred/0.8.0-00000000'))
      rmSync(join(root, 'opt/ecs-regcred/current'))
      symlinkSync('0.9.0-11111111', join(root, 'opt/ecs-regcred/current'))
      for (let run = 0; run < 3; run++) t.equal(install(root).status, 0)
      t.strictSame(readdirSync(join(root, 'opt/ecs-regcred')).sort(), ['0.9.0-11111111', id, 'current', 'previous'])
      t.equal(readlinkSync(join(root, 'opt/ecs-regcred/previous')), '0.9.0-11111111')
    })

    // Regression: it took itself for an old release, removed what it ran from, and failed at the units.
    await t.test('unpacked in the directory that it installs to', async (t) => {
      execFileSync('cp', ['-R', release, join(root, 'opt/ecs-regcred/unpacked')])
      const { status, stderr } = spawnSync(shell[0], [...shell.slice(1), join(root, 'opt/ecs-regcred/unpacked/install.sh')], {
        env: { PATH: process.env['PATH'], DESTDIR: root }, encoding: 'utf8',
      })
      t.equal(status, 0, stderr)
    })

    // Regression: the second of two at once threw away what the first was copying, and both failed or left half a release.
    await t.test('three at once take turns', async (t) => {
      rmSync(join(root, 'opt/ecs-regcred', id), { recursive: true })
      const statuses = await Promise.all([1, 2, 3].map(() => new Promise<number | null>((resolve) => {
        spawn(shell[0], [...shell.slice(1), join(release, 'install.sh')], { env: { PATH: process.env['PATH'], DESTDIR: root }, stdio: 'ignore' }).once('close', resolve)
      })))
      t.strictSame(statuses, [0, 0, 0])
      t.equal(spawnSync('diff', ['-rq', release, join(root, 'opt/ecs-regcred/current/')], { encoding: 'utf8' }).stdout.trim(), `Only in ${join(root, 'opt/ecs-regcred/current/')}: cache`)
    })

    // Regression: the lock was on the directory that an uninstaller takes away, so one that had waited for it kept nobody out.
    // Busybox has a cp of its own, and takes no stand-in for it.
    if (name !== 'busybox sh') await t.test('and so do those of which one has waited for an uninstaller', async (t) => {
      rmSync(join(root, 'opt/ecs-regcred', id), { recursive: true })
      const bin = tree(t, { cp: `#!/bin/sh\n: >${root}/copying\nwhile [ ! -e ${root}/go-on ]; do sleep 0.1; done\nexit 1\n` })
      chmodSync(join(bin, 'cp'), 0o755)
      const start = (path: string) => spawn(shell[0], [...shell.slice(1), join(release, 'install.sh')], { env: { PATH: `${path}:${process.env['PATH']}`, DESTDIR: root } })
      const first = start(bin)
      while (!existsSync(join(root, 'copying'))) await sleep(50)
      rmSync(join(root, 'opt/ecs-regcred'), { recursive: true }) // as the uninstaller that it waited for left it
      const second = start('/usr/bin')
      const [said] = await once(second.stdout, 'data') as [Buffer]
      t.match(said.toString(), /another install\.sh is at work here/)
      writeFileSync(join(root, 'go-on'), '')
      t.strictSame((await Promise.all([once(first, 'close'), once(second, 'close')])).map(([status]) => status as unknown), [74, 0])
      rmSync(join(root, 'go-on'))
    })

    await t.test('uninstalled, only ecs.config is left', async (t) => {
      writeFileSync(join(root, 'var/lib/ecs-regcred/last-good.ecs.config'), '')
      // Regression: what a write leaves that kill -9 cut short holds credentials, and the metrics of a service that is gone raise alarms for ever.
      mkdirSync(join(root, 'var/lib/textfile'))
      t.equal(install(root, '--metrics-file', '/var/lib/textfile/regcred.prom').status, 0)
      for (const path of ['etc/ecs/.ecs.config.ecs-regcred-1.2.3-abcd.tmp', 'var/lib/ecs-regcred/.last-good.ecs.config.ecs-regcred-1.2.3-abcd.tmp', 'var/lib/textfile/regcred.prom',
        'etc/systemd/system/ecs-regcred.service.new']) writeFileSync(join(root, path), '')
      t.equal(install(root, '--uninstall').status, 0)
      t.strictSame(listing(root).filter((path) => /regcred/.test(path)), [])
      t.equal(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), 'ECS_CLUSTER=a\n')
      t.equal(install(root, '--uninstall').status, 0, 'twice is no error')
    })
  })

  t.test(`${name}: into a tree with Upstart`, async (t) => {
    const root = tree(t, { 'etc/init/ecs.conf': '' })
    t.equal(install(root, '--secret-id', 'a').status, 0)
    t.ok(existsSync(join(root, 'etc/init/ecs-regcred.conf')))
    t.ok(existsSync(join(root, 'etc/logrotate.d/ecs-regcred')))
    t.notOk(existsSync(join(root, 'etc/systemd')))
  })

  t.test(`${name}: places of one's own are made writable for the unit, and another unit name is followed`, async (t) => {
    const root = tree(t, { 'usr/lib/systemd/system/amazon-ecs.service': '' })
    // Regression: with its suffix, as `systemctl` shows it, the name was said to be nobody's.
    const { status, stderr } = install(root, '--ecs-service', 'amazon-ecs.service', '--ecs-config', '/data/ecs/ecs.config', '--metrics-file', '/var/lib/node_exporter/regcred.prom')
    t.equal(status, 0, stderr)
    const dropin = (unit: string): string => readFileSync(join(root, `etc/systemd/system/${unit}.service.d/10-install.conf`), 'utf8')
    t.match(dropin('ecs-regcred'), /^\[Service\]\nReadWriteDirectories=-\/data\/ecs -\/var\/lib\/node_exporter$/m)
    t.match(dropin('ecs-regcred-boot'), /^\[Unit\]\nBefore=amazon-ecs\.service\n\[Service\]\nReadWriteDirectories=-\/data\/ecs /m)
    // Regression: systemd took the blank for the end of a path.
    t.equal(install(root, '--metrics-file', '/var/lib/node exporter/regcred.prom').status, 0)
    t.match(dropin('ecs-regcred'), /^ReadWriteDirectories=-\/data\/ecs "-\/var\/lib\/node exporter"$/m)
    t.equal(install(root, '--uninstall').status, 0)
    t.strictSame(listing(root).filter((path) => /regcred/.test(path) && !/node.exporter/.test(path)), [])
  })

  // Regression: a comment behind a value was taken for a part of it, and `export` for another name.
  t.test(`${name}: the settings file is read as the service reads it`, async (t) => {
    const root = tree(t, {
      'usr/lib/systemd/system/amazon-ecs.service': '',
      'etc/ecs-regcred/ecs-regcred.env': 'export REGCRED_ECS_SERVICE="amazon-ecs" # SUSE\r\nREGCRED_STATE_DIR = /data/state  # on the big disk\nREGCRED_ECS_CONFIG=\'/data/#1/ecs.config\'\n',
    })
    const { status, stderr } = install(root, '--interval', '1m')
    t.equal(status, 0, stderr)
    t.equal(readFileSync(join(root, 'etc/systemd/system/ecs-regcred-boot.service.d/10-install.conf'), 'utf8').split('\n').slice(1).join('\n'),
      '[Unit]\nBefore=amazon-ecs.service\n[Service]\nReadWriteDirectories=-/data/#1 -/data/state\n')
    t.ok(existsSync(join(root, 'data/state')))
    t.equal(install(root, '--state-dir', '/data/other', '--ecs-service', 'amazon-ecs').status, 0)
    t.equal(settings(root), "REGCRED_ECS_CONFIG='/data/#1/ecs.config'\nREGCRED_INTERVAL=1m\nREGCRED_STATE_DIR=/data/other\nREGCRED_ECS_SERVICE=amazon-ecs\n")
  })

  // Regression: grep took a line that is not UTF-8 for a sign of a binary file, and it and those after it were gone.
  t.test(`${name}: a line in another encoding stays as it is`, async (t) => {
    const root = tree(t, { 'etc/init/ecs.conf': '' })
    const lines = Buffer.from('REGCRED_SECRET_ID=a\n# f\u00fcr uns \\n \u0081\u0088\nREGCRED_PROBE=off\n', 'latin1')
    mkdirSync(join(root, 'etc/ecs-regcred'))
    writeFileSync(join(root, 'etc/ecs-regcred/ecs-regcred.env'), lines)
    t.equal(install(root, '--interval', '1m').status, 0)
    t.strictSame(readFileSync(join(root, 'etc/ecs-regcred/ecs-regcred.env')), Buffer.concat([lines, Buffer.from('REGCRED_INTERVAL=1m\n')]))
  })

  // Regression: of a disk that got full while a line was taken out, the settings came back with the new line alone.
  for (const [pages, expected] of [[2, 0], [1, 74]] as const) t.test(`${name}: no room but for ${pages} pages loses no settings`, async (t) => {
    const root = tree(t, { 'etc/init/ecs.conf': '' })
    const dir = join(root, 'etc/ecs-regcred')
    mkdirSync(dir)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${pages * 4}k`, 'tmpfs', dir])
    t.teardown(() => void execFileSync('umount', [dir]))
    const before = `REGCRED_SECRET_ID=a\n${'# a comment\n'.repeat(100)}`
    writeFileSync(join(dir, 'ecs-regcred.env'), before)
    const { status, stderr } = install(root, '--interval', '1m')
    t.equal(status, expected)
    t.match(stderr, expected === 0 ? /^$/ : /No space left on device\n.*the settings are as they were\n$/)
    t.equal(settings(root), expected === 0 ? `${before}REGCRED_INTERVAL=1m\n` : before)
    t.strictSame(readdirSync(dir), ['ecs-regcred.env'])
  })

  // Regression: everyone else was locked out of it.
  t.test(`${name}: a state directory that others use keeps its mode`, async (t) => {
    const root = tree(t, { 'etc/init/ecs.conf': '', 'data/theirs': '' })
    chmodSync(join(root, 'data'), 0o755)
    t.equal(install(root, '--state-dir', '/data').status, 0)
    t.equal(statSync(join(root, 'data')).mode & 0o777, 0o755)
  })

  t.test(`${name}: what it refuses, it refuses with what to do instead, and touches nothing`, async (t) => {
    const cases: [string, Record<string, string>, string[], number, RegExp][] = [
      ['no ECS agent', { 'etc/systemd/system/other.service': '' }, [], 69, /no ECS agent here: .*ECS-optimized image or install ecs-init first.*--allow-no-ecs/],
      ['Bottlerocket', { 'etc/os-release': 'NAME=Bottlerocket\nID=bottlerocket\n' }, [], 69, /apiclient set settings\.container-registry\.credentials/],
      ['an unknown option', { 'etc/init/ecs.conf': '' }, ['--secretid', 'a'], 64, /no option --secretid/],
      ['an option without its value', { 'etc/init/ecs.conf': '' }, ['--secret-id'], 64, /--secret-id needs a value/],
      // Regression: it was the first write that refused it, when the release had been switched already.
      ['a time that is none', { 'etc/init/ecs.conf': '' }, ['--timeout', '60'], 64, /--timeout 60: write a duration such as 60s/],
      // Regression: the first write saw the file and the service did not, whose units have a /tmp of their own: no rotation was ever noticed.
      ['a source in /tmp', { 'usr/lib/systemd/system/ecs.service': '' }, ['--docker-config', '/tmp/config.json'], 64, /--docker-config \/tmp\/config\.json: .*a \/tmp of their own/],
      ['metrics in /var/tmp', { 'usr/lib/systemd/system/ecs.service': '' }, ['--metrics-file=/var/tmp/a.prom'], 64, /--metrics-file \/var\/tmp\/a\.prom: /],
      ['an argument', { 'etc/init/ecs.conf': '' }, ['arn:aws:x'], 64, /could not be understood/],
      ['an environment line of another kind', { 'etc/init/ecs.conf': '' }, ['--env', 'LD_PRELOAD=/x'], 64, /--env LD_PRELOAD: write AWS_\*/],
      ['a line break', { 'etc/init/ecs.conf': '' }, ['--registry', 'a\nREGCRED_PROBE=off'], 64, /--registry: the value holds a line break/],
      // Regression: --env took what the settings file cannot hold: a second line, or a value that reads otherwise than it was written.
      ['a line break in a variable', { 'etc/init/ecs.conf': '' }, ['--env', 'AWS_REGION=a\nREGCRED_PROBE=off'], 64, /--env AWS_REGION: the value holds a line break/],
      ['both quotes in a variable', { 'etc/init/ecs.conf': '' }, ['--env', `HTTPS_PROXY=http://a'"b`], 64, /--env HTTPS_PROXY: the value holds both kinds of quotes/],
      ['a name that is none', { 'etc/init/ecs.conf': '' }, ['--env', 'AWS_REGION x=a'], 64, /--env AWS_REGION x: that is no name of a variable/],
      // Regression: `--secret-id "$secret"` without that variable took the secret out of the settings, for /root/.docker/config.json.
      ['an empty source', { 'etc/init/ecs.conf': '' }, ['--secret-id', ''], 64, /--secret-id: the value is empty/],
      ['an empty source, written in one', { 'etc/init/ecs.conf': '' }, ['--docker-config='], 64, /--docker-config: the value is empty/],
    ]
    for (const [what, files, args, expected, words] of cases) {
      const root = tree(t, files)
      const before = listing(root)
      const { status, stderr } = install(root, ...args)
      t.equal(status, expected, what)
      t.match(stderr, words)
      t.strictSame(listing(root), before, 'untouched')
    }
    const task = spawnSync(shell[0], [...shell.slice(1), join(release, 'install.sh')], {
      env: { PATH: process.env['PATH'], ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/x' }, encoding: 'utf8',
    })
    t.equal(task.status, 69)
    t.match(task.stderr, /repositoryCredentials\.credentialsParameter/)
  })

  // Regression: it left the disk full, which is the ECS agent's as well, and settings that nothing had been installed for.
  t.test(`${name}: a disk without room for the release is left as it was`, async (t) => {
    const root = tree(t, {})
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=60m', 'tmpfs', root])
    t.teardown(() => void execFileSync('umount', [root]))
    mkdirSync(join(root, 'etc/init'), { recursive: true })
    writeFileSync(join(root, 'etc/init/ecs.conf'), '')
    const before = listing(root)
    const { status, stderr } = install(root, '--secret-id', 'a')
    t.equal(status, 74)
    t.match(stderr, /could not copy the release.*: .*No space left on device.*as it was\n$/)
    t.equal(stderr.trim().split('\n').length, 1)
    t.strictSame(listing(root).filter((path) => !/^opt/.test(path)), before)
    t.strictSame(readdirSync(join(root, 'opt/ecs-regcred')), [])
  })

  t.test(`${name}: an image that gets the ECS agent later`, async (t) => {
    const root = tree(t, { 'etc/systemd/system/other.service': '' })
    t.equal(install(root, '--allow-no-ecs').status, 0)
    t.ok(existsSync(join(root, 'etc/systemd/system/ecs-regcred.service')))
    // Regression: the unit starts before ecs-init comes, and what is not there at its start is read-only to it from then on.
    t.ok(existsSync(join(root, 'etc/ecs')))
  })
}

// Regression: in the build of an image, it ended with systemctl's words after everything was in place.
t.test('where systemd does not run, it says what to add', async (t) => {
  const { path: root, dispose } = await overlayRoot(makeRoot('machine'))
  t.teardown(dispose)
  installStandInEcs(root)
  execFileSync('mount', ['--bind', release, join(root, 'mnt')])
  const { status, stderr } = spawnSync('chroot', [root, '/bin/sh', '/mnt/install.sh', '--secret-id', 'a'], { encoding: 'utf8' })
  t.equal(status, 64)
  t.match(stderr, /systemd does not run here.*add --no-start/)
  t.notOk(existsSync(join(root, 'opt/ecs-regcred')))
  const { status: placed, stderr: why } = spawnSync('chroot', [root, '/bin/sh', '/mnt/install.sh', '--secret-id', 'a', '--no-start'], { encoding: 'utf8' })
  t.equal(placed, 0, why)
})

// Regression: killed before it labelled its copy, it found that copy in place the next time, and SELinux never learnt what it may run.
t.test('a run that was killed leaves no release without its labels', async (t) => {
  const { path: root, dispose } = await overlayRoot(makeRoot('machine'))
  t.teardown(dispose)
  installStandInEcs(root)
  execFileSync('mount', ['--bind', release, join(root, 'mnt')])
  const install = () => spawnSync('chroot', [root, '/bin/sh', '/mnt/install.sh', '--secret-id', 'a', '--no-start'], { encoding: 'utf8' })
  const restorecon = join(root, 'usr/sbin/restorecon')
  writeFileSync(restorecon, '#!/bin/sh\nkill -9 $PPID\n', { mode: 0o755 })
  t.equal(install().signal, 'SIGKILL')
  writeFileSync(restorecon, '#!/bin/sh\nls "$2" >/labelled\n')
  const { status, stderr } = install()
  t.equal(status, 0, stderr)
  t.match(readFileSync(join(root, 'labelled'), 'utf8'), /^RELEASE\n/m)
})

function tree(t: Test, files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'regcred-tree-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

function settings(root: string): string {
  return readFileSync(join(root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8')
}

/** Every path with its size or its link's target, but for what the release consists of. */
function listing(root: string): string[] {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => !path.startsWith(`opt/ecs-regcred/${id}/`))
  return paths.sort().map((path) => {
    const stat = lstatSync(join(root, path))
    return `${path} ${stat.isSymbolicLink() ? readlinkSync(join(root, path)) : stat.isFile() ? stat.size : 'directory'} ${(stat.mode & 0o777).toString(8)}`
  })
}
