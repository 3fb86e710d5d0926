import { getEventListeners } from 'node:events'
import t, { type Test } from 'tap'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { httpRequest } from '../src/http-request.js'

const never = new AbortController().signal

async function listen(test: Test, server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
const serve = (test: Test, listener: RequestListener): Promise<string> => {
  const server = createServer(listener)
  test.teardown(() => server.closeAllConnections())
  return listen(test, server)
}
/** A server that speaks with its fists: `talk` is given the socket once the request's head has come. */
function serveRaw(test: Test, talk: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  test.teardown(() => sockets.forEach((socket) => socket.destroy()))
  return listen(test, createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => talk(socket))
  }))
}

t.test('an answer is handed back as it was sent, whatever its status', async (t) => {
  const url = await serve(t, (_, response) => response.writeHead(418, { 'x-word': 'teapot', 'content-encoding': 'gzip' }).end('not gzip at all'))
  const answer = await httpRequest(url, { timeoutMs: 5000 }, never)
  t.match(answer, { status: 418, headers: { 'x-word': 'teapot' }, truncated: false })
  t.equal(answer.body.toString(), 'not gzip at all')
})

t.test('a body is sent with its length', async (t) => {
  const url = await serve(t, (request, response) => {
    request.setEncoding('utf8')
    let body = ''
    request.on('data', (chunk: string) => { body += chunk })
    request.on('end', () => response.end(`${request.method} ${request.headers['content-length']} ${body}`))
  })
  const answer = await httpRequest(url, { method: 'POST', body: 'grüße', timeoutMs: 5000 }, never)
  t.equal(answer.body.toString(), 'POST 7 grüße')
})

t.test('a redirect is an answer, and is not followed', async (t) => {
  const paths: (string | undefined)[] = []
  const url = await serve(t, (request, response) => {
    paths.push(request.url)
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  t.match(await httpRequest(`${url}/here`, { timeoutMs: 5000 }, never), { status: 302, headers: { location: '/elsewhere' } })
  t.strictSame(paths, ['/here'])
})

t.test('a body longer than the bound is cut there, and the rest is not waited for', async (t) => {
  const url = await serveRaw(t, (socket) => socket.write(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(5000)}`))
  const answer = await httpRequest(url, { timeoutMs: 5000, maxBodyBytes: 1000 }, never)
  t.match(answer, { truncated: true })
  t.equal(answer.body.length, 1000)
})

t.test('a body that ends exactly at the bound is whole', async (t) => {
  const url = await serve(t, (_, response) => response.end('x'.repeat(1000)))
  const answer = await httpRequest(url, { timeoutMs: 5000, maxBodyBytes: 1000 }, never)
  t.strictSame([answer.truncated, answer.body.length], [false, 1000])
})

t.test('a server that hangs costs the bound and no more', async (t) => {
  const url = await serveRaw(t, () => undefined)
  await t.rejects(httpRequest(url, { timeoutMs: 50 }, never), { name: 'TimeoutError' })
})

t.test('a slow drip costs the bound and no more', async (t) => {
  const url = await serveRaw(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    const drip = setInterval(() => socket.write('.'), 10)
    socket.on('close', () => clearInterval(drip))
  })
  await t.rejects(httpRequest(url, { timeoutMs: 100 }, never), { name: 'TimeoutError' })
})

for (const [what, talk, code] of [
  ['a connection closed without a word', (socket) => socket.end(), 'ECONNRESET'],
  ['a connection reset', (socket) => socket.resetAndDestroy(), 'ECONNRESET'],
  ['a body cut short', (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfive.'), 'ECONNRESET'],
  ['something that is not HTTP', (socket) => socket.end('220 mail.example.com ESMTP\r\n'), 'HPE_INVALID_CONSTANT'],
  ['a header that never ends', (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`), 'HPE_HEADER_OVERFLOW'],
  ['a protocol switch that nobody asked for', (socket) => socket.write('HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'), 'ECONNRESET'],
] as const satisfies readonly (readonly [string, (socket: Socket) => void, string])[]) {
  t.test(`${what} is an error, not an answer`, async (t) => {
    const url = await serveRaw(t, talk)
    await t.rejects(httpRequest(url, { timeoutMs: 5000 }, never), { code })
  })
}

t.test('an answer that arrives in the same breath as the close is whole', async (t) => {
  const url = await serveRaw(t, (socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(200_000)}`))
  t.equal((await httpRequest(url, { timeoutMs: 5000 }, never)).body.length, 200_000)
})

t.test('an abort ends the request with its own reason and closes the connection', async (t) => {
  const controller = new AbortController()
  const reason = new Error('shutting down')
  let closed = (): void => undefined
  const gone = new Promise<void>((resolve) => { closed = resolve })
  const url = await serveRaw(t, (socket) => {
    socket.on('close', closed)
    controller.abort(reason)
  })
  await t.rejects(httpRequest(url, { timeoutMs: 5000 }, controller.signal), reason)
  await gone
  await t.rejects(httpRequest(url, { timeoutMs: 5000 }, controller.signal), reason, 'and none is begun afterwards')
})

t.test('nothing is left on a signal that outlives many requests', async (t) => {
  const url = await serve(t, (_, response) => response.end())
  const { signal } = new AbortController()
  for (let i = 0; i < 20; i++) await httpRequest(url, { timeoutMs: 60_000 }, signal)
  t.equal(getEventListeners(signal, 'abort').length, 0)
})
