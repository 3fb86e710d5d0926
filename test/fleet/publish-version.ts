import t from 'tap'
import { attributeVersion, publishVersion } from '../../src/fleet/publish-version.js'
import { Refusal, serveAws } from '../fixtures/aws/json-endpoint.js'

const ARN = 'arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/0123456789abcdef'
const ID = '3f2a9c01-0000-4000-8000-000000000000'
const never = new AbortController().signal

t.test('a version fits into an attribute, and different ones stay different', async (t) => {
  t.equal(attributeVersion(ID), ID)
  t.equal(attributeVersion(`${ID},${ID}`), `${ID} ${ID}`)
  const long = attributeVersion([ID, ID, ID, ID].join())
  t.match(long, /^sha256:[0-9a-f]{64}$/)
  t.not(long, attributeVersion([ID, ID, ID, `${ID}0`].join()))
  t.match(attributeVersion('hmac+odd=/'), /^sha256:/, 'characters that ECS refuses')
})

t.test('version and time are put on the container instance, in its own region', async (t) => {
  const calls = await serveAws(t, { PutAttributes: ({ attributes }) => ({ attributes }) })
  await publishVersion('prod', ARN, ID, new Date('2026-01-01T00:00:00Z'), never)
  t.same(calls, [{
    action: 'PutAttributes',
    input: {
      cluster: 'prod',
      attributes: [
        { name: 'ecs-regcred.version', value: ID, targetId: ARN },
        { name: 'ecs-regcred.at', value: '2026-01-01T00:00:00.000Z', targetId: ARN },
      ],
    },
  }])
})

t.test('a role without the right is told what to add', async (t) => {
  await serveAws(t, { PutAttributes: () => { throw new Refusal('AccessDeniedException', `User: arn:aws:sts::123456789012:assumed-role/host/i is not authorized to perform: ecs:PutAttributes on resource: ${ARN} because no identity-based policy allows the ecs:PutAttributes action`) } })
  await t.rejects(publishVersion('prod', ARN, ID, new Date(), never), { code: 'E_IAM', details: { fix: /ecs:PutAttributes/ } })
  await t.rejects(publishVersion('prod', 'i-0123', ID, new Date(), never), { code: 'E_AWS' })
})
