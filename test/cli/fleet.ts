import t, { type Test } from 'tap'
import { serveAws, type Actions, type Call } from '../fixtures/aws/json-endpoint.js'
import { runCommandLine } from '../fixtures/command-line.js'

const CURRENT = 'c'.repeat(32)
const OLD = 'a'.repeat(32)
type Host = { readonly id: string; readonly version?: string; readonly at?: string; readonly connected?: boolean; readonly status?: string }

async function cluster(t: Test, hosts: readonly Host[], over: Actions = {}): Promise<Call[]> {
  const pages = hosts.length > 2 ? [hosts.slice(0, 2), hosts.slice(2)] : [hosts]
  return serveAws(t, {
    ListContainerInstances: ({ nextToken }) => {
      const page = Number(nextToken ?? 0)
      return { containerInstanceArns: pages[page]?.map(({ id }) => `arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/${id}`), ...(page + 1 < pages.length ? { nextToken: String(page + 1) } : {}) }
    },
    DescribeContainerInstances: ({ containerInstances }: { containerInstances: string[] }) => ({
      containerInstances: containerInstances.map((arn) => {
        const { id, version, at = '2026-01-01T00:00:00.000Z', connected = true, status = 'ACTIVE' } = hosts.find((host) => arn.endsWith(`/${host.id}`)) ?? { id: '' }
        const attributes = version === undefined ? [] : [{ name: 'ecs-regcred.version', value: version }, { name: 'ecs-regcred.at', value: at }]
        return { containerInstanceArn: arn, ec2InstanceId: `i-${id}`, status, agentConnected: connected, attributes: [{ name: 'ecs.os-type', value: 'linux' }, ...attributes] }
      }),
    }),
    DescribeSecret: () => ({ VersionIdsToStages: { [OLD]: ['AWSPREVIOUS'], [CURRENT]: ['AWSCURRENT'] } }),
    ...over,
  })
}

const ARGS = ['fleet', '--cluster', 'prod', '--secret-id', 'prod/registry']

t.test('when every host holds the current version and is connected, the old credential may go: 0', async (t) => {
  const calls = await cluster(t, [{ id: 'one', version: CURRENT }, { id: 'two', version: CURRENT }, { id: 'three', version: CURRENT }])
  const { status, stdout, stderr } = await runCommandLine(ARGS)
  t.equal(status, 0, stderr)
  t.match(stdout, 'safe to revoke the old credential, as far as this cluster goes: every host (3) holds the current version and is connected')
  t.notMatch(stdout, '\u001b')
  t.notOk(calls.some(({ action }) => action === 'GetSecretValue'), 'the value itself is not asked for')
})

t.test('who is behind, silent or cut off stands first, by name, and it is not safe: 75', async (t) => {
  await cluster(t, [{ id: 'fine', version: CURRENT }, { id: 'late', version: OLD }, { id: 'mute' }, { id: 'gone', version: CURRENT, connected: false, status: 'DRAINING' }])
  const { status, stdout } = await runCommandLine(ARGS)
  t.equal(status, 75)
  const lines = stdout.split('\n')
  t.match(lines[2], /i-late +behind +aaaaaaaaaaaaaaa… +2026-01-01 00:00Z +connected/)
  t.match(lines[3], /i-mute +silent +- +- +connected/)
  t.match(lines[4], /i-gone +current .*not connected, DRAINING/)
  t.match(lines[5], /i-fine +current/)
  t.match(lines[6], 'not yet safe to revoke the old credential: 1 of 4 is behind; 1 of 4 does not report; 1 of 4 has an ECS agent that is not connected')
  t.match(stdout, 'REGCRED_PUBLISH_VERSION=on')
})

t.test('--json tells the same', async (t) => {
  await cluster(t, [{ id: 'late', version: OLD }])
  const { status, stdout } = await runCommandLine([...ARGS, '--json'])
  t.equal(status, 75)
  t.match(JSON.parse(stdout), {
    ok: false, code: 'E_ROLLOUT', cluster: 'prod', current: CURRENT, currentFrom: 'secret', safeToRevoke: false,
    hosts: [{ containerInstance: 'late', ec2InstanceId: 'i-late', version: OLD, state: 'behind', agentConnected: true }],
  })
})

t.test('without a secret the newest that a host reports is the measure, and never enough to revoke', async (t) => {
  await cluster(t, [{ id: 'one', version: OLD, at: '2026-01-01T00:00:00.000Z' }, { id: 'two', version: CURRENT, at: '2026-01-02T00:00:00.000Z' }])
  const { status, stdout } = await runCommandLine(['fleet', '--cluster', 'prod', '--json'])
  t.equal(status, 75)
  t.match(JSON.parse(stdout), { current: CURRENT, currentFrom: 'newest', hosts: [{ ec2InstanceId: 'i-one', state: 'behind' }, { ec2InstanceId: 'i-two', state: 'current' }] })
  await t.test('even where all agree: they may all be behind', async (t) => {
    await cluster(t, [{ id: 'one', version: OLD }])
    const { status, stdout } = await runCommandLine(['fleet', '--cluster', 'prod'])
    t.equal(status, 75)
    t.match(stdout, 'name the secret by --secret-id')
  })
})

t.test('several secrets are compared together', async (t) => {
  await cluster(t, [{ id: 'one', version: `${CURRENT} ${CURRENT}` }])
  t.equal((await runCommandLine(['fleet', '--cluster', 'prod', '--secret-id', 'a,b'])).status, 0)
})

t.test('a cluster without hosts is not safe', async (t) => {
  await cluster(t, [])
  const { status, stdout } = await runCommandLine(ARGS)
  t.equal(status, 75)
  t.match(stdout, 'the cluster has no container instance')
})

t.test('no cluster is a usage error', async (t) => {
  t.equal((await runCommandLine(['fleet'])).status, 64)
})
