#!/usr/bin/env node
/**
 * The main job, shown on this machine without touching it: a registry credential goes from a docker config.json into an ecs.config under a temporary
 * root and into a restarted ECS agent. The ECS agent, the registry and systemctl are small stand-ins; the service is the real one.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const project = join(import.meta.dirname, '..')
const program = join(project, 'dist/main.js')
const fixtures = join(project, 'test/fixtures/ecs-agent')
const colour = process.stdout.isTTY && !process.env.NO_COLOR
const bold = (text) => (colour ? `\u001b[1m${text}\u001b[0m` : text)
const dim = (text) => (colour ? `\u001b[2m${text}\u001b[0m` : text)
const step = (text) => console.log(`\n${bold(`» ${text}`)}`)

const root = mkdtempSync(join(tmpdir(), 'ecs-regcred-demo-'))
const ecsConfig = join(root, 'etc/ecs/ecs.config')
const dockerConfig = join(root, 'root/.docker/config.json')
let service
let registry
try {
  await demo()
} finally {
  service?.kill('SIGKILL')
  registry?.close()
  try { execFileSync(join(root, 'bin/stop'), ['ecs'], { env: environment(), stdio: 'ignore' }) } catch { /* it was not started */ }
  rmSync(root, { recursive: true, force: true })
}

async function demo() {
  for (const folder of ['etc/ecs', 'root/.docker', 'bin', 'stand-in', 'var/run']) mkdirSync(join(root, folder), { recursive: true })
  for (const name of ['systemctl', 'status', 'stop', 'start']) symlinkSync(join(fixtures, 'bin/init'), join(root, 'bin', name))
  let password = 'first-password'
  registry = await startRegistry(() => password)
  const host = `127.0.0.1:${registry.address().port}`
  const introspection = await freePort()
  writeFileSync(ecsConfig, 'ECS_CLUSTER=demo\n# a line of somebody else\nECS_IMAGE_PULL_BEHAVIOR=default\n')
  writeFileSync(join(root, 'stand-in/arguments'), `${[process.execPath, join(fixtures, 'stand-in-ecs-agent.mjs'), '--ecs-config', ecsConfig,
    '--port', introspection, '--docker-socket', join(root, 'var/run/docker.sock')].join('\n')}\n`)
  const env = environment({ REGCRED_INTROSPECTION_URL: `http://127.0.0.1:${introspection}` })
  const tell = (...args) => console.log(indent(execFileSync(process.execPath, [program, ...args], { env, encoding: 'utf8' })))

  step('An instance as it is found: an ecs.config without credentials, and a running ECS agent')
  execFileSync(join(root, 'bin/systemctl'), ['--no-block', 'restart', 'ecs'], { env })
  console.log(indent(readFileSync(ecsConfig, 'utf8')))

  step(`docker login ${host} leaves a config.json, and the service starts`)
  dockerLogin(host, password)
  console.log(dim(`  ecs-regcred run --docker-config ${dockerConfig}`))
  service = spawn(process.execPath, [program, 'run'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const events = readEvents(service)
  await events.until('ecs-agent.verified')
  console.log(indent(redact(readFileSync(ecsConfig, 'utf8'))))

  step(`The password is changed, and docker login ${host} is run again`)
  password = 'second-password'
  dockerLogin(host, password)
  await events.until('ecs-agent.verified')

  step('Which credential would the ECS agent use for an image?')
  tell('explain', `${host}/team/app:1.2`)

  step('Somebody mistypes the password: the registry refuses it, and what works stays')
  dockerLogin(host, 'a-wrong-password')
  await events.until('credentials.refused')

  step('The right one again: nothing is new, so nothing is restarted')
  dockerLogin(host, password)
  tell('status')
  const restarts = readFileSync(join(root, 'stand-in/calls'), 'utf8').match(/^systemctl --no-block restart ecs$/gm).length - 1

  step('The service stops')
  service.kill('SIGTERM')
  await events.until('service.stopped')
  console.log(`\n${bold('Done.')} Two credentials applied, one refused, ${restarts} restarts of the ECS agent. Nothing of this machine was changed.`)
}

/** Writes config.json as docker does: a temp file, then rename. */
function dockerLogin(host, password) {
  const auth = Buffer.from(`ci:${password}`).toString('base64')
  writeFileSync(`${dockerConfig}.new`, JSON.stringify({ auths: { [host]: { auth } } }, null, '\t'), { mode: 0o600 })
  renameSync(`${dockerConfig}.new`, dockerConfig)
}

/** A registry that lets in `ci` with one password. */
async function startRegistry(password) {
  const server = createServer((request, response) => {
    const ok = request.headers.authorization === `Basic ${Buffer.from(`ci:${password()}`).toString('base64')}`
    response.writeHead(ok ? 200 : 401, ok ? {} : { 'www-authenticate': 'Basic realm="demo registry"' }).end('{}')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return String(port)
}

function environment(more = {}) {
  return {
    ...process.env,
    PATH: `${join(root, 'bin')}:${process.env.PATH}`,
    STAND_IN_DIR: join(root, 'stand-in'),
    REGCRED_ROOT: root,
    REGCRED_DOCKER_CONFIG: dockerConfig,
    REGCRED_INIT: 'systemd',
    REGCRED_MIN_RESTART_GAP: '0s',
    ...more,
  }
}

/** Prints the service's log, and lets the demo wait for an event that has not come yet. */
function readEvents(child) {
  const waiting = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { event, msg, fix, level, time: _time, ...fields } = JSON.parse(line)
    const shown = ['verdict', 'reason', 'registries', 'durationMs'].filter((name) => fields[name] !== undefined).map((name) => `${name}=${fields[name]}`)
    console.log(`  ${level.padEnd(5)} ${bold(String(event))}  ${msg}${shown.length ? dim(`  ${shown.join(' ')}`) : ''}${fix ? `\n        fix: ${fix}` : ''}`)
    for (const waiter of waiting.splice(0)) if (waiter.event === event) waiter.resolve()
    else waiting.push(waiter)
  })
  return {
    until: (event) => new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the event ${event} did not come within 30 s`)), 30_000)
      waiting.push({ event, resolve: () => { clearTimeout(timer); resolve() } })
    }),
  }
}

function redact(text) {
  return text.replace(/"auth":"[^"]*"/g, '"auth":"[redacted]"')
}

function indent(text) {
  return text.trimEnd().split('\n').map((line) => `  ${dim('│')} ${line}`).join('\n')
}
