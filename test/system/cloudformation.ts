/** MOTO_SERVER is the path of moto_server in a Python environment that has cfn-lint as well (pip install 'moto[all,server]' cfn-lint). */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { repository } from './fixtures/release.js'

const templates = join(repository, 'cloudformation')
// Of another region than the stacks' one.
const ARN = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:registry-AbCdEf'

const MOTO = process.env['MOTO_SERVER']
const inEnvironment = (program: string): string => join(dirname(MOTO ?? ''), program)

if (MOTO === undefined) t.pass('skipped: MOTO_SERVER names no moto_server')
else t.test('cfn-lint finds nothing', async () => {
  execFileSync(inEnvironment('cfn-lint'), ['--', join(templates, 'instance.yaml'), join(templates, 'signal.yaml')], { stdio: 'inherit' })
})

t.test('no template and no example takes or holds a secret value', async (t) => {
  for (const file of [...readdirSync(templates).map((name) => join('cloudformation', name)), ...readdirSync(join(templates, 'terraform')).map((name) => join('cloudformation/terraform', name)),
    ...readdirSync(join(repository, 'scripts/user-data')).map((name) => join('scripts/user-data', name))]) {
    if (!/\.\w+$/.test(file)) continue
    t.notMatch(readFileSync(join(repository, file), 'utf8'), /SecretString|NoEcho|password\s*[:=]|resolve:secretsmanager/i, file)
  }
})

t.test('the launch template runs the example of scripts/user-data, with the parameters filled in', async (t) => {
  const [, block = ''] = /Fn::Base64: !Sub \|\n([^]*?)\n\nOutputs:/.exec(readFileSync(join(templates, 'instance.yaml'), 'utf8')) ?? []
  const inTemplate = block.replace(/^ {12}/gm, '').replaceAll('${!', '${')
  const comparable = (text: string): string[] =>
    text.split('\n').filter((line) => !line.startsWith('#')).map((line) => line.replace(/^(secret|from|x64|arm64|settings)=.*/, '$1').replace(/ECS_CLUSTER=[^']+/, 'ECS_CLUSTER'))
  t.strictSame(comparable(inTemplate).join('\n').trim(), comparable(readFileSync(join(repository, 'scripts/user-data/shell.sh'), 'utf8')).join('\n').trim())
})

if (MOTO !== undefined) t.test('the templates are created in moto, with the permissions and the pattern that they promise', async (t) => {
  const outputs = JSON.parse(execFileSync(inEnvironment('python'), [join(repository, 'test/system/fixtures/create-stacks.py'), templates, ARN], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })) as {
    statuses: Record<string, string>; rolePolicies: Record<string, { Statement: { Action: string | string[]; Resource: string; Condition?: Record<string, Record<string, string>> }[] }>
    eventPattern: Record<string, unknown>; target: { Arn: string; Input?: string }; userData: string; documents: Record<string, string>
  }
  t.strictSame(outputs.statuses, { instance: 'CREATE_COMPLETE', signal: 'CREATE_COMPLETE' })
  const [secret, kms] = outputs.rolePolicies['read-the-registry-credentials']?.Statement ?? []
  t.strictSame(secret, { Effect: 'Allow', Action: ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'], Resource: ARN } as typeof secret)
  // Regression: it named the stack's region, and a secret of another one, which the service reads where its ARN says, could not be decrypted.
  t.equal(kms?.Condition?.['StringEquals']?.['kms:ViaService'], 'secretsmanager.eu-west-1.amazonaws.com')
  t.strictSame(outputs.eventPattern, {
    source: ['aws.secretsmanager'], 'detail-type': ['Secret Label Updated'], resources: [ARN], detail: { labelUpdated: ['AWSCURRENT'] },
  })
  t.match(outputs.target.Arn, /:automation-definition\/[^:]+:\$DEFAULT$/)
  // Regression: EventBridge gave the document the event as its parameters (PutTargets), and it knows none of them: no rotation started it.
  const input = JSON.parse(outputs.target.Input ?? '{}') as Record<string, string[]>
  t.match(input, { AutomationAssumeRole: [/:role\//] })
  const { parameters, assumeRole } = JSON.parse(outputs.documents['Automation'] ?? '') as { parameters: Record<string, { default: string }>; assumeRole: string }
  t.strictSame(Object.keys(input), Object.keys(parameters))
  t.equal(assumeRole, '{{ AutomationAssumeRole }}')
  t.equal(parameters['AutomationAssumeRole']?.default, input['AutomationAssumeRole']?.[0])
  const send = outputs.rolePolicies['make-a-pass']?.Statement.find(({ Resource }) => /:instance\/\*$/.test(Resource))
  t.strictSame(send?.Condition, { StringEquals: { 'ssm:resourceTag/ecs-regcred': 'blue' } })
  t.match(outputs.userData, `secret=${ARN}\n`)
  t.match(outputs.userData, /sh "\$\{name%\.tar\.gz\}\/install\.sh" --secret-id "\$secret" \$settings\n/)
  t.match(outputs.documents['Command'], /systemctl reload ecs-regcred; else initctl reload ecs-regcred/)
})

t.test("Terraform's module: its format, and the user data that it makes of the example", async (t) => {
  if (!['/usr/local/bin/terraform', '/usr/bin/terraform'].some((path) => existsSync(path))) return t.pass('there is no terraform here')
  t.equal(execFileSync('terraform', ['fmt', '-check', '-diff', join(templates, 'terraform')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }), '')
  // Its expression alone, because providers are not to be had everywhere.
  const [, expression = ''] = /user_data = (replace[^]*?)\n\}/.exec(readFileSync(join(templates, 'terraform/main.tf'), 'utf8')) ?? []
  const variables = { cluster: 'blue', secret_arn: ARN, release_url: 'https://example.com/r', sha256_x64: 'a'.repeat(64), sha256_arm64: 'b'.repeat(64), settings: '--interval 1m' }
  const dir = t.testdir({
    'main.tf': `locals {\n  user_data = ${expression.replace('${path.module}/../..', repository)}\n}\n${Object.entries(variables).map(([name, value]) => `variable "${name}" {\n  default = "${value}"\n}\n`).join('')}`,
  })
  const userData = execFileSync('terraform', ['console'], { cwd: dir, input: 'local.user_data\n', encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] })
  for (const line of ["echo 'ECS_CLUSTER=blue' >>/etc/ecs/ecs.config", `secret=${ARN}`, 'from=https://example.com/r', `x64=${'a'.repeat(64)}`, `arm64=${'b'.repeat(64)}`, "settings='--interval 1m'",
    'echo "$sha256  $name" | sha256sum -c -']) t.ok(userData.includes(`\n${line}\n`), line)
})
