/** Secrets Manager and ECS as moto emulates them. MOTO_SERVER is the path of moto_server (pip install 'moto[server]'). */
import { spawn } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { ECSClient, CreateClusterCommand, CreateServiceCommand, DescribeServicesCommand, RegisterContainerInstanceCommand, RegisterTaskDefinitionCommand, UpdateServiceCommand } from '@aws-sdk/client-ecs'
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { publishVersion } from '../../src/fleet/publish-version.js'
import { httpRequest } from '../../src/http-request.js'
import { runCommandLine } from '../fixtures/command-line.js'

const MOTO = process.env['MOTO_SERVER']
const never = new AbortController().signal

if (MOTO === undefined) {
  t.pass('skipped: MOTO_SERVER names no moto_server')
} else {
  const port = await freePort()
  const moto = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
  t.teardown(() => moto.kill())
  const url = `http://127.0.0.1:${port}`
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: url, AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'example',
    AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  })
  await answers(`${url}/moto-api/`)
  const put = (registry: string, password: string, more: readonly string[] = []) => runCommandLine([
    'secret', 'put', '--secret-id', 'prod/registry', '--registry', registry, '--username', 'ci', '--password-stdin', '--no-probe', '--json', ...more,
  ], { stdin: password })

  t.test('a secret is created, added to, left alone and rotated', async (t) => {
    const created = await put('registry.example.com', 'first')
    t.equal(created.status, 0, created.stdout)
    t.match(JSON.parse(created.stdout), { action: 'created' })
    t.match(JSON.parse((await put('ghcr.io', 'second')).stdout), { action: 'put', change: 'added', registries: ['registry.example.com', 'ghcr.io'] })
    t.match(JSON.parse((await put('ghcr.io', 'second')).stdout), { action: 'none' })
    const rotated = JSON.parse((await put('ghcr.io', 'third')).stdout)
    t.match(rotated, { action: 'put', change: 'replaced' })
    const secret = await new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: 'prod/registry' }))
    t.equal(secret.VersionId, rotated.version)
    t.equal(secret.SecretString, '{"registry.example.com":{"username":"ci","password":"first"},"ghcr.io":{"username":"ci","password":"third"}}')
  })

  t.test('hosts that publish their version are told from those that are behind', async (t) => {
    const ecs = new ECSClient({})
    await ecs.send(new CreateClusterCommand({ clusterName: 'prod' }))
    const hosts: string[] = []
    for (const id of await runInstances(url, 2)) {
      const document = JSON.stringify({ instanceId: id, region: 'eu-west-1', accountId: '123456789012', availabilityZone: 'eu-west-1a', instanceType: 't3.micro', imageId: 'ami-00000000' })
      const { containerInstance } = await ecs.send(new RegisterContainerInstanceCommand({ cluster: 'prod', instanceIdentityDocument: document }))
      hosts.push(containerInstance?.containerInstanceArn ?? '')
    }
    const { version } = JSON.parse((await put('ghcr.io', 'third')).stdout)
    const fleet = () => runCommandLine(['fleet', '--cluster', 'prod', '--secret-id', 'prod/registry', '--json'])
    await publishVersion('prod', hosts[0] ?? '', version, new Date(), never)
    const first = await fleet()
    t.equal(first.status, 75)
    t.same(JSON.parse(first.stdout).hosts.map(({ state }: { state: string }) => state), ['silent', 'current'])
    await publishVersion('prod', hosts[1] ?? '', version, new Date(), never)
    const second = await fleet()
    t.equal(second.status, 0, second.stdout)
    t.match(JSON.parse(second.stdout), { ok: true, safeToRevoke: true, current: version })
  })

  t.test('a rollout starts a deployment and puts the percentages back', async (t) => {
    const ecs = new ECSClient({})
    await ecs.send(new RegisterTaskDefinitionCommand({ family: 'web', containerDefinitions: [{ name: 'app', image: 'registry.example.com/app:1', memory: 64, cpu: 10 }] }))
    await ecs.send(new CreateServiceCommand({ cluster: 'prod', serviceName: 'web', taskDefinition: 'web', desiredCount: 2, launchType: 'EC2' }))
    // moto keeps the percentages of an update, not those of the creation.
    await ecs.send(new UpdateServiceCommand({ cluster: 'prod', service: 'web', deploymentConfiguration: { minimumHealthyPercent: 100, maximumPercent: 150 } }))
    const { status, stdout } = await runCommandLine(['rollout', '--cluster', 'prod', '--service', 'web', '--timeout', '2s', '--json'])
    t.equal(status, 75, stdout)
    t.match(JSON.parse(stdout).services[0], { service: 'web', verdict: 'timed-out' }, 'moto starts no task for it')
    const { services } = await ecs.send(new DescribeServicesCommand({ cluster: 'prod', services: ['web'] }))
    t.match(services?.[0]?.deploymentConfiguration, { minimumHealthyPercent: 100, maximumPercent: 150 })
    const missing = await runCommandLine(['rollout', '--cluster', 'elsewhere', '--all'])
    t.equal(missing.status, 69)
    t.match(missing.stderr, /elsewhere/)
  })
}

/** By moto's EC2, without its client: one form is all that is needed. */
async function runInstances(url: string, count: number): Promise<string[]> {
  const { body } = await httpRequest(url, {
    method: 'POST', timeoutMs: 20_000,
    body: new URLSearchParams({ Action: 'RunInstances', Version: '2016-11-15', ImageId: 'ami-12c6146b', MinCount: String(count), MaxCount: String(count) }).toString(),
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      authorization: 'AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=none',
    },
  }, never)
  return [...body.toString().matchAll(/<instanceId>(i-[0-9a-f]+)</g)].map((match) => match[1] ?? '')
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Waits until somebody listens; each try is the event. */
async function answers(url: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    try {
      await httpRequest(url, { timeoutMs: 2_000 }, never)
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  throw new Error('moto_server did not start')
}
