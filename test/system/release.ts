import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createNetwork, makeRoot, overlayRoot, type Network } from './fixtures/nspawn.js'
import { type Arch, buildRelease, repository, tarballName, unpackRelease, version } from './fixtures/release.js'

const SECRET = JSON.stringify({ username: 'ci', password: 'canary-4711', registry: 'registry.example.com' })
const HOST = 'secrets.test.internal'

t.test('the same inputs give the same bytes, and the checksum beside them is right', async (t) => {
  const again = t.testdir()
  execFileSync(join(repository, 'scripts/build-release'), ['--arch', 'x64', '--out', again], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [first, second] = [buildRelease('x64'), again].map((dir) => readFileSync(join(dir, `${tarballName('x64')}.sha256`), 'utf8'))
  t.equal(second, first)
  execFileSync('sha256sum', ['--check', '--status', `${tarballName('x64')}.sha256`], { cwd: buildRelease('x64') })
})

for (const arch of ['x64', 'arm64'] as const) {
  t.test(`${arch}: what it carries is named, with its licence`, async (t) => {
    const { dir, dispose } = unpackRelease(arch)
    t.teardown(dispose)
    t.match(readFileSync(join(dir, 'licenses/CARRIED'), 'utf8'), /^node \d[^]*^libc6 2\.[^]*^libstdc\+\+6 [^]*^libgcc-s1 /m)
    for (const file of ['LICENSE', 'licenses/node/LICENSE', 'licenses/debian/libc6/copyright', 'licenses/debian/libstdc++6/copyright', 'licenses/debian/libgcc-s1/copyright']) {
      t.ok(statSync(join(dir, file)).size > 1000, file)
    }
    const packages = readdirSync(join(dir, 'licenses/npm'))
    for (const name of ['@aws-sdk', 'chokidar', 'dotenv', 'execa', 'pino']) t.ok(packages.includes(name), name)
  })

  t.test(`${arch}: its loader and its search path are its own`, async (t) => {
    const { dir, dispose } = unpackRelease(arch)
    t.teardown(dispose)
    const id = readFileSync(join(dir, 'RELEASE'), 'utf8').trim()
    const headers = execFileSync('readelf', ['--wide', '--dynamic', '--program-headers', join(dir, 'bin/node')], { encoding: 'utf8' })
    t.match(headers, new RegExp(`program interpreter: /opt/ecs-regcred/${id}/lib/ld-linux`))
    // RUNPATH would lose to LD_LIBRARY_PATH.
    t.match(headers, /\(RPATH\).*\$ORIGIN\/\.\.\/lib/)
    t.notMatch(headers, /RUNPATH/)
    const loader = readdirSync(join(dir, 'lib')).find((name) => name.startsWith('ld-linux')) ?? ''
    t.notMatch(readFileSync(join(dir, 'lib', loader), 'latin1'), /\/etc\/ld\.so\.(cache|preload)/)
  })
}

const ROOTS: { title: string; arch: Arch; make: (t: Test) => Promise<string>; environment?: Record<string, string>; emulator?: string[] }[] = [
  { title: 'x64, without any C library and only a static busybox', arch: 'x64', make: async (t) => busyboxRoot(t) },
  {
    title: 'x64, beside a foreign, older C library that LD_LIBRARY_PATH points to',
    arch: 'x64',
    make: async (t) => oldLibcRoot(t),
    environment: { LD_LIBRARY_PATH: '/lib64' },
  },
  {
    title: 'arm64 under emulation, without any C library, on a kernel that says 4.14',
    arch: 'arm64',
    make: async (t) => busyboxRoot(t, '/usr/bin/qemu-aarch64-static'),
    emulator: ['/bin/qemu-aarch64-static', '-r', '4.14.355'],
  },
]

for (const { title, arch, make, environment = {}, emulator } of ROOTS) {
  t.test(title, async (t) => {
    const root = await make(t)
    const network = await createNetwork()
    t.teardown(network.dispose)
    const home = await installInto(t, root, arch)
    await serveSecretAndNames(network, root)

    /** What the launcher does, by hand where the kernel cannot run the architecture by itself. */
    const program = emulator === undefined ? ['/usr/bin/ecs-regcred'] : [...emulator, ...launcherCommand(root, home)]
    const launcherEnvironment = emulator === undefined ? {} : environmentFile(root)
    const run = (...args: string[]) =>
      network.spawn(['chroot', root, '/bin/busybox', 'env', '-i', 'PATH=/usr/bin:/bin', 'HOME=/root',
        ...Object.entries({ ...environment, ...launcherEnvironment }).map(([name, value]) => `${name}=${value}`), ...program, ...args])

    t.equal((await run('--version')).stdout, `ecs-regcred ${version}`)
    const check = await run('check', '/root/good.json', '--json')
    t.match(JSON.parse(check.stdout), { ok: true, registries: ['registry.example.com'] })

    const missing = await run('status', '--env-file', '/root/missing.env', '--json')
    t.match(JSON.parse(missing.stdout), { ok: false, code: 'E_SETTINGS' }, 'Node, which has an option of that name, leaves ours to us')

    const sync = await run('sync', '--boot', '--timeout', '60s', '--json', '--probe', 'off')
    t.equal(sync.exitCode, 0, 'over TLS, by a name that only the configured DNS server knows')
    t.match(sync.stdout, /"ok":true/)
    t.match(readFileSync(join(root, 'etc/ecs/ecs.config'), 'utf8'), /^ECS_CLUSTER=test\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=\{"registry\.example\.com":\{"auth":"[^"]+"\}\}\n$/)
    t.notMatch(sync.all, /canary-4711/)

    // The service itself: what is mapped into it, and what its children see.
    const service = run('run', '--probe', 'off')
    service.all.on('data', () => {})
    await event(service, 'service.ready')
    const maps = readFileSync(`/proc/${service.pid}/maps`, 'utf8')
    const files = [...new Set(maps.split('\n').flatMap((line) => /\s(\/\S+)$/.exec(line)?.[1] ?? []))].map((path) => path.replace(root, ''))
    const foreign = files.filter((path) => !path.startsWith(`${home}/`) && path !== emulator?.[0])
    t.strictSame(foreign, [], 'no library but its own')
    t.ok(files.some((path) => /\/lib\/libc\.so\.6$/.test(path)), 'and its own is there')
    // Regression: a core_pattern that is a pipe gets the dump whatever the limit is, and it held the credentials.
    if (emulator === undefined) t.match(readFileSync(`/proc/${service.pid}/coredump_filter`, 'utf8'), /^0+\n$/)
    const child = await readWhenThere(join(root, 'tmp/systemctl-environment'))
    t.match(child, /^PATH=/m)
    t.notMatch(child, /ecs-regcred|MALLOC_|NODE_|^AWS_/m, 'children see no path and no tuning of ours')
    service.kill('SIGKILL')
    await service
  })
}

function busyboxRoot(t: Test, emulator?: string): string {
  const root = mkdtempSync(join(tmpdir(), 'regcred-root-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  for (const dir of ['bin', 'etc', 'tmp', 'dev', 'proc', 'root', 'usr/bin']) mkdirSync(join(root, dir), { recursive: true })
  cpSync('/bin/busybox', join(root, 'bin/busybox'))
  for (const name of ['sh', 'env', 'cat', 'ls']) cpSync('/bin/busybox', join(root, 'bin', name))
  if (emulator !== undefined) cpSync(emulator, join(root, 'bin/qemu-aarch64-static'))
  return root
}

async function oldLibcRoot(t: Test): Promise<string> {
  const { path, dispose } = await overlayRoot(makeRoot('old-libc'))
  t.teardown(dispose)
  cpSync('/bin/busybox', join(path, 'bin/busybox'))
  // Amazon Linux keeps its libraries in /lib64, and its ld.so.cache names them. These are of another build than ours.
  execFileSync('sh', ['-c', 'cp -L "$1"/usr/lib/x86_64-linux-gnu/lib*.so.* "$1/usr/lib64/"', 'sh', path])
  return path
}

async function installInto(t: Test, root: string, arch: Arch): Promise<string> {
  const { dir, dispose } = unpackRelease(arch)
  t.teardown(dispose)
  mkdirSync(join(root, 'etc/ecs'), { recursive: true })
  writeFileSync(join(root, 'etc/ecs/ecs.config'), 'ECS_CLUSTER=test\n')
  writeFileSync(join(root, 'root/good.json'), SECRET)
  execFileSync('sh', [join(dir, 'install.sh'), '--allow-no-ecs', '--init', 'systemd', '--secret-id', 'registry', '--ecs-service', 'ecs',
    '--env', 'AWS_REGION=us-east-1', '--env', `AWS_ENDPOINT_URL_SECRETS_MANAGER=https://${HOST}:8443`, '--env', 'NODE_EXTRA_CA_CERTS=/etc/ca.pem',
    '--env', 'AWS_ACCESS_KEY_ID=test', '--env', 'AWS_SECRET_ACCESS_KEY=test'], { env: { ...process.env, DESTDIR: root }, stdio: ['ignore', 'ignore', 'inherit'] })
  // Regression: the launcher took a comment behind a value for a part of it, and passed over a line with `export`, which the service itself takes.
  const settings = join(root, 'etc/ecs-regcred/ecs-regcred.env')
  writeFileSync(settings, readFileSync(settings, 'utf8').replace(/^.*\/etc\/ca\.pem$/m, 'export $& # the private CA'))
  // Stands in for the machine's own systemctl, and tells what it was given.
  writeFileSync(join(root, 'usr/bin/systemctl'), '#!/bin/busybox sh\n/bin/busybox env >/tmp/$$ && /bin/busybox mv /tmp/$$ /tmp/systemctl-environment\n')
  chmodSync(join(root, 'usr/bin/systemctl'), 0o755)
  for (const [name, minor] of [['null', '3'], ['urandom', '9']] as const) {
    execFileSync('sh', ['-c', '[ -e "$1" ] || mknod -m 666 "$1" c 1 "$2"', 'sh', join(root, 'dev', name), minor])
  }
  execFileSync('mount', ['-t', 'proc', 'proc', join(root, 'proc')])
  t.teardown(() => void execFileSync('umount', ['--lazy', join(root, 'proc')], { stdio: 'inherit' }))
  return `/opt/ecs-regcred/${readFileSync(join(dir, 'RELEASE'), 'utf8').trim()}`
}

/** Secrets Manager behind TLS with a certificate of a private CA, and a DNS server that is the only one to know its name. */
async function serveSecretAndNames(network: Network, root: string): Promise<void> {
  const dir = join(root, 'tmp')
  const [key, cert, secret] = ['key.pem', 'cert.pem', 'secret'].map((name) => join(dir, name)) as [string, string, string]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${HOST}`,
    '-addext', `subjectAltName=DNS:${HOST}`, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  cpSync(cert, join(root, 'etc/ca.pem'))
  writeFileSync(secret, SECRET)
  writeFileSync(join(root, 'etc/resolv.conf'), 'nameserver 127.0.0.1\n')
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'hosts: files myhostname dns\n')
  for (const argv of [
    ['secrets-manager.mjs', '--secret-file', secret, '--port', '8443', '--cert', cert, '--key', key],
    ['name-server.mjs', HOST],
  ]) {
    const [script, ...args] = argv as [string, ...string[]]
    const server = network.spawn([process.execPath, join(repository, 'test/system/fixtures', script), ...args])
    await event(server, 'listening')
  }
}

/** The last line of the launcher, which is the one place that knows the runtime's flags. */
function launcherCommand(root: string, home: string): string[] {
  const line = readFileSync(join(root, home, 'bin/ecs-regcred'), 'utf8').trim().split('\n').at(-1) ?? ''
  return line.replace(/^exec /, '').replace(' "$@"', '').replaceAll('$home', home).replaceAll('$program', 'main').replaceAll('"', '').split(' ')
}

function environmentFile(root: string): Record<string, string> {
  const lines = readFileSync(join(root, 'etc/ecs-regcred/ecs-regcred.env'), 'utf8').replace(/^export /gm, '').split('\n')
  return Object.fromEntries(lines.filter((line) => /^(AWS|NODE)_/.test(line)).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1).replace(/ #.*/, '')]))
}

function event(child: ReturnType<Network['spawn']>, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    child.all.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes(text)) resolve()
    })
    void child.then(({ exitCode }) => reject(new Error(`ended with status ${exitCode} before it said ${text}:\n${output}`)))
  })
}

async function readWhenThere(path: string): Promise<string> {
  for (const deadline = Date.now() + 60_000; !existsSync(path); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`${path} did not appear`)
  }
  return readFileSync(path, 'utf8')
}
