import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { explainMissingCredentials, readInstanceMetadata } from '../src/instance-metadata.js'

const signal = (): AbortSignal => AbortSignal.timeout(10_000)

async function serve(t: Test, listener: RequestListener): Promise<{ environment: NodeJS.ProcessEnv; requests: string[] }> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    listener(request, response)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { environment: { AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }, requests }
}

t.test('a value is asked for with a token, which no hop beyond the instance may forge', async (t) => {
  const { environment, requests } = await serve(t, (request, response) => {
    if (request.method === 'PUT') return void response.writeHead(request.headers['x-aws-ec2-metadata-token-ttl-seconds'] ? 200 : 400).end('secret-token')
    response.writeHead(request.headers['x-aws-ec2-metadata-token'] === 'secret-token' ? 200 : 401).end('i-0abc\n')
  })
  t.equal(await readInstanceMetadata('instance-id', signal(), environment), 'i-0abc')
  t.strictSame(requests, ['PUT /latest/api/token', 'GET /latest/meta-data/instance-id'])
})

t.test('metadata that cannot be had says what to change', async (t) => {
  const off = await serve(t, (_request, response) => void response.writeHead(403).end())
  await t.rejects(readInstanceMetadata('instance-id', signal(), off.environment), { code: 'E_IMDS', message: /refused an IMDSv2 token \(HTTP 403\)/, details: { fix: /--http-endpoint enabled/ } })
  const busy = await serve(t, (_request, response) => void response.writeHead(503).end())
  await t.rejects(readInstanceMetadata('instance-id', signal(), busy.environment), { code: 'E_IMDS', message: /HTTP 503/ })
  t.equal(busy.requests.length, 2, 'tried twice')
  const without = await serve(t, (request, response) => void response.writeHead(request.method === 'PUT' ? 200 : 404).end('token'))
  await t.rejects(readInstanceMetadata('tags/instance/Name', signal(), without.environment), { code: 'E_IMDS', message: /has no tags\/instance\/Name \(HTTP 404\)/ })
  await t.rejects(readInstanceMetadata('instance-id', signal(), { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:9' }), { code: 'E_IMDS', message: /ECONNREFUSED/, details: { fix: /AWS_REGION/ } })
  await t.rejects(readInstanceMetadata('instance-id', signal(), { AWS_EC2_METADATA_DISABLED: 'true' }), { code: 'E_IMDS', message: /AWS_EC2_METADATA_DISABLED/ })
})

t.test('metadata that never answers is given up after two seconds, with the hop limit as the likely reason', async (t) => {
  const { environment, requests } = await serve(t, () => {})
  const begun = performance.now()
  await t.rejects(readInstanceMetadata('instance-id', signal(), environment), { code: 'E_IMDS', message: /no answer within 1 s/, details: { fix: /--http-put-response-hop-limit 2/ } })
  t.ok(performance.now() - begun < 4_000)
  t.equal(requests.length, 2)
  const reason = new Error('shutting down')
  await t.rejects(readInstanceMetadata('instance-id', AbortSignal.abort(reason), environment), reason)
})

t.test('why there are no credentials is told apart', async (t) => {
  const none = await serve(t, (request, response) => void response.writeHead(request.method === 'PUT' ? 200 : 404).end('token'))
  t.match(await explainMissingCredentials(signal(), none.environment), { code: 'E_IMDS', message: /this instance has no role/, details: { fix: /associate-iam-instance-profile/ } })
  const role = await serve(t, (request, response) => void response.end(request.method === 'PUT' ? 'token' : 'ecsInstanceRole'))
  t.match(await explainMissingCredentials(signal(), role.environment), { code: 'E_IMDS', message: /names the role ecsInstanceRole but handed out none/ })
  t.match(await explainMissingCredentials(signal(), { AWS_EC2_METADATA_DISABLED: 'true' }), { code: 'E_IMDS', message: /^no AWS credentials: .* AWS_EC2_METADATA_DISABLED is set/ })
})
