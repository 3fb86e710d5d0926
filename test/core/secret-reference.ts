import t from 'tap'
import { parseSecretReference } from '../../src/core/secret-reference.js'

const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/registry-AbCdEf'
const ID = '3f2a9c01-1111-4111-8111-111111111111'
const plain = { jsonKey: undefined, versionStage: 'AWSCURRENT', versionId: undefined }

t.test('a name is a secret of whatever region applies, in its current version', async (t) => {
  t.strictSame(parseSecretReference('prod/registry_1+=.@-'), { secretId: 'prod/registry_1+=.@-', name: 'prod/registry_1+=.@-', region: undefined, ...plain })
})

t.test('an ARN of any partition brings its region', async (t) => {
  for (const [partition, region] of [['aws', 'eu-west-1'], ['aws-cn', 'cn-north-1'], ['aws-us-gov', 'us-gov-west-1'], ['aws-iso', 'us-iso-east-1'], ['aws-iso-b', 'us-isob-east-1'], ['aws-eusc', 'eusc-de-east-1']]) {
    const arn = `arn:${partition}:secretsmanager:${region}:123456789012:secret:prod/registry-AbCdEf`
    t.strictSame(parseSecretReference(arn), { secretId: arn, name: 'prod/registry-AbCdEf', region, ...plain })
  }
})

t.test('the form of ECS task definitions names member, stage and version, any of them empty', async (t) => {
  const parts = (suffix: string) => {
    const { secretId, jsonKey, versionStage, versionId } = parseSecretReference(ARN + suffix)
    t.equal(secretId, ARN)
    return [jsonKey, versionStage, versionId]
  }
  t.strictSame(parts(':::'), [undefined, 'AWSCURRENT', undefined])
  t.strictSame(parts(':registry::'), ['registry', 'AWSCURRENT', undefined])
  t.strictSame(parts('::AWSPREVIOUS:'), [undefined, 'AWSPREVIOUS', undefined])
  t.strictSame(parts(`:::${ID}`), [undefined, undefined, ID], 'a version named by its id needs no stage')
  t.strictSame(parts(`:a b:blue:${ID}`), ['a b', 'blue', ID])
})

t.test('what cannot be meant is refused with the reason', async (t) => {
  const refused: [string, RegExp][] = [
    [`${ARN}::AWSPENDING:`, /AWSPENDING is what a rotation has not tried yet/],
    ['prod/registry:key::', /a name has no ":"/],
    ['prod registry', /letters, digits/],
    ['', /letters, digits/],
    [`${ARN}:registry`, /all three of :json-key:version-stage:version-id/],
    [`${ARN}:registry:AWSCURRENT`, /all three/],
    [`${ARN}:a:b:c:d`, /all three/],
    [`${ARN}:::v1`, /32 to 64/],
    ['arn:aws:ssm:eu-west-1:123456789012:parameter/registry', /an ARN of "ssm"/],
    ['arn:aws:secretsmanager:eu-west-1:123456789012:registry', /not the ARN of a secret/],
    ['arn:aws:secretsmanager::123456789012:secret:registry', /not the ARN of a secret/],
    ['arn:', /an ARN of ""/],
  ]
  for (const [text, message] of refused) t.throws(() => parseSecretReference(text), { code: 'E_SETTINGS', message }, text)
})
