import t from 'tap'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { rmSync, mkdtempSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { listenerStartedAtUs, readEcsAgent } from '../../src/host/ecs-agent.js'
import { monotonicUs } from '../../src/host/process-identity.js'
import { never } from '../fixtures/stand-ins.js'

const canary = 'canary-5ecret'
const auth = JSON.stringify({ 'registry.example.com': { auth: Buffer.from(`user:${canary}`).toString('base64') } })
const container = {
  State: { Running: true, Status: 'running', StartedAt: '2026-01-02T03:04:05.678901234Z', ExitCode: 0 },
  Config: { Env: ['PATH=/bin', 'ECS_ENGINE_AUTH_TYPE=dockercfg', `ECS_ENGINE_AUTH_DATA=${auth}`, 'EMPTY='] },
}
const metadata = { Cluster: 'prod', ContainerInstanceArn: 'arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/0', Version: 'Amazon ECS Agent - v1.105.1 (8dfceca6)' }
const json = (value: unknown): RequestListener => (_, response) => response.end(JSON.stringify(value))

async function listen(t: Test, where: string | 0, listener: RequestListener): Promise<Server> {
  const server = createServer(listener)
  if (where === 0) server.listen(0, '127.0.0.1')
  else server.listen(where)
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return server
}
/** Unix socket paths are short: not in the test's own directory. */
function socketDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'regcred-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return directory
}
const address = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const nowhere = { introspectionUrl: 'http://127.0.0.1:1', dockerSocket: '/nonexistent/docker.sock' }

t.test('a running ECS agent: what it holds, since when, and who it is', async (t) => {
  const dockerSocket = join(socketDirectory(t), 'docker.sock')
  const asked: string[] = []
  await listen(t, dockerSocket, (request, response) => {
    asked.push(`${request.method} ${request.url}`)
    json(container)(request, response)
  })
  const introspection = await listen(t, 0, json(metadata))
  const reading = await readEcsAgent({ introspectionUrl: address(introspection), dockerSocket }, never)
  t.strictSame(asked, ['GET /containers/ecs-agent/json'])
  if (reading.container.state !== 'running') return t.fail(reading.container.state)
  t.equal(reading.container.startedAtMs, Date.parse('2026-01-02T03:04:05.678Z'))
  t.equal(reading.container.auth.entries.get('registry.example.com')?.password.reveal(), canary)
  t.strictSame(reading.introspection, { up: true, version: metadata.Version, cluster: 'prod', containerInstanceArn: metadata.ContainerInstanceArn })
  t.notMatch(JSON.stringify(reading) + inspect(reading, { depth: 9 }), new RegExp(`${canary}|${Buffer.from(`user:${canary}`).toString('base64')}`))
})

t.test('each way that Docker may not tell is told apart', async (t) => {
  const directory = socketDirectory(t)
  const read = async (dockerSocket: string) => (await readEcsAgent({ ...nowhere, dockerSocket }, never)).container
  const answering = async (name: string, listener: RequestListener) => {
    await listen(t, join(directory, name), listener)
    return read(join(directory, name))
  }
  t.match(await read(join(directory, 'none')), { state: 'no-socket', reason: /ENOENT/ })
  writeFileSync(join(directory, 'file'), '')
  t.match(await read(join(directory, 'file')), { state: 'no-socket', reason: /ECONNREFUSED/ })
  t.match(await answering('404', (_, response) => response.writeHead(404).end('{}')), { state: 'absent' })
  t.match(await answering('500', (_, response) => response.writeHead(500).end('{}')), { state: 'unreachable', reason: /status 500/ })
  for (const [name, body] of [['list', []], ['empty', {}], ['odd', { State: { Running: 'yes' } }]] as const) {
    t.match(await answering(name, json(body)), { state: 'unreachable', reason: /something else/ }, name)
  }
  const stopped = { State: { Running: false, StartedAt: '0001-01-01T00:00:00Z', ExitCode: 5 }, Config: { Env: null } }
  t.match(await answering('stopped', json(stopped)), { state: 'stopped', exitCode: 5, startedAtMs: undefined, auth: { type: '' } })
  // Regression: an answer of no more than this (an engine that is not Docker's) counted as none, and each rotation was rolled back.
  for (const [word, state] of [['running', 'running'], ['exited', 'stopped']] as const) {
    t.match(await answering(word, json({ State: { Status: word }, Config: container.Config })), { state, startedAtMs: undefined, auth: { type: 'dockercfg' } })
  }
  t.match(await answering('cut', (_, response) => response.writeHead(200, { 'content-length': 99 }).end('{"State"') && response.destroy()), { state: 'unreachable' })
  t.match(await answering('hang', () => {}), { state: 'unreachable', reason: /no answer within 2 s/ })
})

t.test('what answers at the port has to be the ECS agent', async (t) => {
  const cases: [RequestListener, object][] = [
    [json({ Cluster: 'default', ContainerInstanceArn: null, Version: 'v' }), { up: true, cluster: 'default', containerInstanceArn: undefined }],
    [json({ ContainerInstanceArn: metadata.ContainerInstanceArn }), { up: true, version: undefined }],
    [json({ hello: 'world' }), { up: false, reason: /something else/ }],
    [(_, response) => response.end(`<html>${canary}`), { up: false, reason: /something else/ }],
    [(_, response) => response.writeHead(503).end(), { up: false, reason: /status 503/ }],
    [(_, response) => response.destroy(), { up: false, reason: /ECONNRESET/ }],
  ]
  for (const [listener, expected] of cases) {
    const introspectionUrl = address(await listen(t, 0, listener))
    t.match((await readEcsAgent({ ...nowhere, introspectionUrl }, never)).introspection, expected)
  }
  t.match((await readEcsAgent(nowhere, never)).introspection, { up: false, reason: /ECONNREFUSED/ })
})

t.test('a shutdown ends the looking', async (t) => {
  const introspectionUrl = address(await listen(t, 0, () => {}))
  const shutdown = new AbortController()
  setTimeout(() => shutdown.abort(new Error('shutdown')), 20)
  await t.rejects(readEcsAgent({ ...nowhere, introspectionUrl }, shutdown.signal), { message: 'shutdown' })
})

t.test('who listens tells when it started, on IPv4 and on IPv6 with all addresses', async (t) => {
  for (const host of ['127.0.0.1', '::']) {
    const before = monotonicUs()
    const child = spawn(process.execPath, ['-e', `const s = require('net').createServer().listen(0, '${host}', () => console.log(s.address().port))`])
    t.teardown(() => child.kill('SIGKILL'))
    const port = Number(String((await once(child.stdout, 'data'))[0]))
    const started = await listenerStartedAtUs(port)
    t.ok(started !== undefined && started > before - 60_000 && started < monotonicUs(), host)
    child.kill('SIGKILL')
    await once(child, 'exit')
    t.equal(await listenerStartedAtUs(port), undefined, 'nobody listens any more')
  }
})
