import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { mergeRegistries, parseCredentialDocument } from '../../src/core/credential-document.js'
import type { DocumentOptions } from '../../src/core/credential-document.js'
import { renderAuthData, toDockercfg } from '../../src/core/dockercfg.js'
import { ServiceError } from '../../src/errors.js'
import type { ErrorCode } from '../../src/errors.js'

type Options = Partial<DocumentOptions>
const source = 'secret prod/reg (version 3f2a)'
const b64 = (text: string) => Buffer.from(text).toString('base64')
const parse = (document: string | Uint8Array, options: Options = {}) => parseCredentialDocument(Buffer.from(document as string), { source, ...options })
const render = (document: string | Uint8Array, options?: Options) => {
  const { registries, warnings } = parse(document, options)
  const rendered = toDockercfg(registries)
  return { data: renderAuthData(rendered.dockercfg), warnings: [...warnings, ...rendered.warnings] }
}
const HUB = 'https://index.docker.io/v1/'
const A1 = '{"registry.example.com":{"auth":"Y2k6czNjcjN0"}}'
const A3 = '{"ghcr.io":{"auth":"b2N0b2NhdDpnaHBfRVhBTVBMRQ=="}}'
const config = '{"auths":{"registry.example.com":{"auth":"Y2k6czNjcjN0"}},"HttpHeaders":{"User-Agent":"Docker-Client/19.03"}}'
const forRegistry = { registry: 'registry.example.com' }
const auths = (registry: string, entry: object) => JSON.stringify({ auths: { [registry]: entry } })
const authOf = (username: string, password: string) => `{"r.io":{"auth":"${b64(`${username}:${password}`)}"}}`

const keyFile = JSON.stringify({ type: 'service_account', private_key: '-----BEGIN PRIVATE KEY-----\nMIIE', client_email: 'ci@acme.iam' }, undefined, 2)

/** Title, document, what it renders to, options, codes of the warnings. */
const accepted: readonly (readonly [title: string, document: string | Uint8Array, rendered: string, options?: Options, warnings?: readonly string[]])[] = [
  ['A1 a docker config.json', config, A1],
  ['A1 every other member of a config.json is nothing to us',
    `{"auths":${A1},"currentContext":"x","plugins":{},"psFormat":"t","proxies":{"default":{}},"detachKeys":"ctrl-q","aliases":{"a":"b"},"whatever":[1,null,true]}`, A1],
  // Regression: it counted as a config.json without registries, which --allow-empty takes for an order to blank the file.
  ['A1 auths in other letters, which docker reads too', `{"Auths":${A1}}`, A1],
  ['A2 a bare .dockercfg with an e-mail address', `{"${HUB}":{"auth":"YWNtZS1ib3Q6ZGNrcl9wYXRfRVhBTVBMRTEyMw==","email":"ops@example.com"}}`,
    `{"${HUB}":{"auth":"YWNtZS1ib3Q6ZGNrcl9wYXRfRVhBTVBMRTEyMw=="}}`],
  ['A3 username and password without auth', '{"auths":{"ghcr.io":{"username":"octocat","password":"ghp_EXAMPLE"}}}', A3],
  ['A3 auth beside the same username and password', auths('ghcr.io', { auth: b64('octocat:ghp_EXAMPLE'), username: 'octocat', password: 'ghp_EXAMPLE' }), A3],
  ['A3 null counts as absent', '{"auths":{"ghcr.io":{"auth":null,"email":null,"username":"octocat","password":"ghp_EXAMPLE"}}}', A3],
  ['A3 an empty auth counts as absent', '{"auths":{"ghcr.io":{"auth":"","username":"octocat","password":"ghp_EXAMPLE"}}}', A3],
  ['A4 username and password for the registry of the settings', '{"username":"ci","password":"s3cr3t"}', A1, forRegistry],
  ['A4 auth alone for the registry of the settings', '{"auth":"Y2k6czNjcjN0"}', A1, forRegistry],
  ['A5 with the registry inside', '{"registry":"registry.gitlab.com","username":"gitlab+deploy-token-42","password":"gldt-EXAMPLE"}',
    '{"registry.gitlab.com":{"auth":"Z2l0bGFiK2RlcGxveS10b2tlbi00MjpnbGR0LUVYQU1QTEU="}}'],
  ['A5 the document\'s own registry wins over the settings', '{"registry":"ghcr.io","username":"octocat","password":"ghp_EXAMPLE"}', A3, forRegistry],
  ...['registry', 'server', 'host', 'hostname', 'url', 'serveraddress'].map((name) =>
    [`A5 ${name} names the registry`, `{"${name}":"https://ghcr.io/v2/","username":"octocat","password":"ghp_EXAMPLE"}`, A3] as const),
  ...['username', 'user', 'login', 'Username'].map((name) =>
    [`A5 ${name} names the user`, `{"registry":"ghcr.io","${name}":"octocat","password":"ghp_EXAMPLE"}`, A3] as const),
  ...['password', 'token', 'accessToken', 'access_token', 'pat', 'apiKey'].map((name) =>
    [`A5 ${name} names the password`, `{"registry":"ghcr.io","username":"octocat","${name}":"ghp_EXAMPLE"}`, A3] as const),
  ['A6 an ECR pull-through-cache secret', '{"username":"octocat","accessToken":"ghp_EXAMPLE"}', A3, { registry: 'ghcr.io' }],
  ['A7 a map by registry',
    '{"registry-1.docker.io":{"username":"acme-bot","password":"dckr_pat_EXAMPLE123"},"ghcr.io":{"username":"octocat","password":"ghp_EXAMPLE"}}',
    `{"ghcr.io":{"auth":"b2N0b2NhdDpnaHBfRVhBTVBMRQ=="},"${HUB}":{"auth":"YWNtZS1ib3Q6ZGNrcl9wYXRfRVhBTVBMRTEyMw=="}}`],
  ['A8 a list', '[{"registry":"quay.io","username":"acme+ecs","password":"QUAYROBOTEXAMPLE"}]', '{"quay.io":{"auth":"YWNtZStlY3M6UVVBWVJPQk9URVhBTVBMRQ=="}}'],
  ['A8 Bottlerocket\'s credentials', '{"credentials":[{"registry":"quay.io","username":"acme+ecs","password":"QUAYROBOTEXAMPLE"},{"registry":"registry.example.com","auth":"Y2k6czNjcjN0"}]}',
    '{"quay.io":{"auth":"YWNtZStlY3M6UVVBWVJPQk9URVhBTVBMRQ=="},"registry.example.com":{"auth":"Y2k6czNjcjN0"}}'],
  ['A9 .dockerconfigjson as text', JSON.stringify({ '.dockerconfigjson': config }), A1],
  ['A9 .dockerconfigjson as base64', JSON.stringify({ '.dockerconfigjson': b64(config) }), A1],
  ['A9 the base64 alone, as kubectl prints a .dockerconfigjson', `${b64(config)}\n`, A1],
  ['A9 the base64 alone, where a registry is given for other documents', b64(config), A1, { registry: 'r.io' }],
  ['A9 a user\'s token that is base64 of JSON is still the token', b64(config), authOf('ci', b64(config)), { registry: 'r.io', username: 'ci' }],
  ['A9 .dockerconfigjson as an object', `{".dockerconfigjson":${config}}`, A1],
  ['A9 .dockercfg as base64', JSON.stringify({ '.dockercfg': b64(A1) }), A1],
  ['A9 a Secret manifest with data', JSON.stringify({ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/dockerconfigjson', metadata: { name: 'x' }, data: { '.dockerconfigjson': b64(config) } }), A1],
  ['A9 a Secret manifest with stringData', JSON.stringify({ kind: 'Secret', stringData: { '.dockerconfigjson': config } }), A1],
  ['A9 a document stored as a JSON string', JSON.stringify(JSON.stringify(JSON.parse(config))), A1],
  ['A10 user:password', 'ci:s3cr3t', A1, forRegistry],
  ['A10 base64 of user:password', 'Y2k6czNjcjN0', A1, forRegistry],
  ['A10 base64 of user:password, with the user given too', 'Y2k6czNjcjN0', A1, { ...forRegistry, username: 'ci' }],
  ['A10 a bare token', 's3cr3t', A1, { ...forRegistry, username: 'ci' }],
  ['A10 a bare token that is base64 by its letters', 'abcd1234', `{"registry.example.com":{"auth":"${b64('ci:abcd1234')}"}}`, { ...forRegistry, username: 'ci' }],
  ['A10 a token with a colon, for a user given', 'v1:abc', `{"registry.example.com":{"auth":"${b64('ci:v1:abc')}"}}`, { ...forRegistry, username: 'ci' }],
  ['A10 user:password with the same user given', 'ci:s3cr3t', A1, { ...forRegistry, username: 'ci' }],
  ['A11 a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(config)]), A1],
  ['A12 a JSON key that holds a document as text', JSON.stringify({ other: 'x', docker: config }), A1, { jsonKey: 'docker' }],
  ['A12 a JSON key that holds a document', `{"other":"x","docker":${config}}`, A1, { jsonKey: 'docker' }],
  ['A12 a JSON key that holds a password', '{"username":"ci","password":"s3cr3t"}', A1, { ...forRegistry, username: 'ci', jsonKey: 'password' }],
  ['A12 a JSON key may be called __proto__', '{"__proto__":"ci:s3cr3t"}', A1, { ...forRegistry, jsonKey: '__proto__' }],
  ['A14 paths beside their host', '{"auths":{"acme.jfrog.io":{"auth":"ZGVmYXVsdDpEMA=="},"acme.jfrog.io/team-a":{"auth":"dGVhbS1hOkEx"}}}',
    '{"acme.jfrog.io":{"auth":"ZGVmYXVsdDpEMA=="},"acme.jfrog.io/team-a/":{"auth":"dGVhbS1hOkEx"},"acme.jfrog.io/team-a:":{"auth":"dGVhbS1hOkEx"},"acme.jfrog.io/team-a@":{"auth":"dGVhbS1hOkEx"}}'],
  ['A15 scheme, case, port and /v2/', auths('https://Registry.Example.com:5000/v2/', { auth: 'Y2k6czNjcjN0' }), '{"registry.example.com:5000":{"auth":"Y2k6czNjcjN0"}}'],
  ['A16 colons in the password', auths('r.io', { username: 'svc', password: 'pa:ss:word' }), '{"r.io":{"auth":"c3ZjOnBhOnNzOndvcmQ="}}'],
  ['A17 UTF-8', auths('r.io', { username: 'jürgen', password: 'pässwörd✓' }), '{"r.io":{"auth":"asO8cmdlbjpww6Rzc3fDtnJk4pyT"}}'],
  ['A17 no Unicode normalisation', auths('r.io', { username: 'u', password: 'e\u0301' }), authOf('u', 'e\u0301')],
  ['A18 $ and + in the user', auths('r.io', { username: 'robot$ci+pull', password: 'Xy9EXAMPLE' }), '{"r.io":{"auth":"cm9ib3QkY2krcHVsbDpYeTlFWEFNUExF"}}'],
  ['A18 $oauthtoken', auths('nvcr.io', { username: '$oauthtoken', password: 'nvapi-EXAMPLE' }), '{"nvcr.io":{"auth":"JG9hdXRodG9rZW46bnZhcGktRVhBTVBMRQ=="}}'],
  ['A19 a key file of many lines as password', auths('eu.gcr.io', { username: '_json_key', password: '{\n  "type": "service_account"\n}' }),
    `{"eu.gcr.io":{"auth":"${b64('_json_key:{\n  "type": "service_account"\n}')}"}}`],
  // Regression: the base64 was taken for a token, and the key file itself for JSON of no known shape.
  ['A19 base64 of _json_key and a key file of many lines', b64(`_json_key:${keyFile}`), authOf('_json_key', keyFile), { registry: 'r.io' }],
  ['A19 a key file as it was downloaded', `${keyFile}\n`, authOf('_json_key', keyFile), { registry: 'r.io', username: '_json_key' }, ['W_TRAILING_NEWLINE']],
  ['A19 a key file behind a JSON key', JSON.stringify({ key: keyFile }), authOf('_json_key', keyFile), { registry: 'r.io', username: '_json_key', jsonKey: 'key' }],
  ['A19 a token that lives an hour', auths('gcr.io', { username: 'oauth2accesstoken', password: 'ya29.EXAMPLE' }),
    `{"gcr.io":{"auth":"${b64('oauth2accesstoken:ya29.EXAMPLE')}"}}`, {}, ['W_SHORT_LIVED']],
  ['A20 wrapped base64', auths('r.io', { auth: 'c3ZjOnBh\r\nOnNzOndvcmQ=\n' }), '{"r.io":{"auth":"c3ZjOnBhOnNzOndvcmQ="}}', {}, ['W_BASE64_NORMALISED']],
  ['A20 unpadded base64', auths('r.io', { auth: 'c3ZjOnBhOnNzOndvcmQ' }), '{"r.io":{"auth":"c3ZjOnBhOnNzOndvcmQ="}}', {}, ['W_BASE64_NORMALISED']],
  ['A20 url-safe base64', auths('r.io', { auth: b64('u:??>>~~').replaceAll('/', '_').replaceAll('+', '-') }), authOf('u', '??>>~~'), {}, ['W_BASE64_NORMALISED']],
  ['A21 a newline from echo', auths('r.io', { auth: 'ZXhhbXBsZTpleGFtcGxlCg==' }), authOf('example', 'example'), {}, ['W_TRAILING_NEWLINE']],
  ['A21 only one newline goes, a Windows one included', auths('r.io', { username: 'u', password: 'pw\r\n' }), authOf('u', 'pw'), {}, ['W_TRAILING_NEWLINE']],
  ['A21 the newline stays on request', auths('r.io', { auth: 'ZXhhbXBsZTpleGFtcGxlCg==' }), '{"r.io":{"auth":"ZXhhbXBsZTpleGFtcGxlCg=="}}', { keepNewline: true }],
  ['A21 a newline behind a plain text', 'ci:s3cr3t\n', A1, forRegistry, ['W_TRAILING_NEWLINE']],
  ['A23 a leftover credential store', config.replace('{', '{"credsStore":"desktop",'), A1, {}, ['W_CREDS_STORE']],
  ['A23 a leftover helper for the registry', config.replace('{', '{"credHelpers":{"registry.example.com":"pass"},'), A1, {}, ['W_CREDS_STORE']],
  ['an entry in a store beside usable ones is left out', '{"auths":{"ghcr.io":{},"registry.example.com":{"auth":"Y2k6czNjcjN0"}},"credsStore":"desktop"}', A1, {}, ['W_CREDS_STORE']],
  ['a helper for ECR is no loss', config.replace('{', '{"credHelpers":{"123456789012.dkr.ecr.eu-west-1.amazonaws.com":"ecr-login"},'), A1],
  ['A24 an ecs.config of type dockercfg', `ECS_CLUSTER=prod\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA=${A1}\n`, A1],
  ['A24 an ecs.config of type docker', 'ECS_ENGINE_AUTH_TYPE=docker\r\nECS_ENGINE_AUTH_DATA={"ghcr.io":{"username":"octocat","password":"ghp_EXAMPLE","email":"a@b.c"}}\r\n', A3],
  ['A24 an ecs.config with quotes round the value', `ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA='${A1}'\n`, A1],
  // Regression: with "export" or a space the document was said to hold no registry at all, though its author meant one.
  ['A24 an ecs.config with export before the names', `export ECS_ENGINE_AUTH_TYPE=dockercfg\nexport ECS_ENGINE_AUTH_DATA=${A1}\n`, A1],
  ['A24 an ecs.config with spaces round the equals sign', `ECS_ENGINE_AUTH_TYPE = dockercfg\nECS_ENGINE_AUTH_DATA = ${A1}\n`, A1],
  ['A24 an ecs.config with the value as systemd wants it quoted', `ECS_ENGINE_AUTH_DATA=${JSON.stringify(A1)}\n`, A1],
  ['A24 of two lines the last', `ECS_ENGINE_AUTH_DATA=${A3}\nECS_ENGINE_AUTH_DATA=${A1}\n`, A1],
  ['A24 the boundary keys of an ecs.config of ours are their path again',
    'ECS_ENGINE_AUTH_DATA={"r.io":{"auth":"dTpw"},"r.io/a/":{"auth":"dTpx"},"r.io/a:":{"auth":"dTpx"},"r.io/a@":{"auth":"dTpx"}}',
    '{"r.io":{"auth":"dTpw"},"r.io/a/":{"auth":"dTpx"},"r.io/a:":{"auth":"dTpx"},"r.io/a@":{"auth":"dTpx"}}'],
  ['two names of one registry that agree', '{"auths":{"docker.io":{"auth":"dTpwdw=="},"https://index.docker.io/v1/":{"username":"u","password":"pw"}}}', `{"${HUB}":{"auth":"dTpwdw=="}}`],
  ['a password that merely contains a placeholder\'s word', auths('r.io', { username: 'u', password: 'changeme2x' }), authOf('u', 'changeme2x')],
  ['a password with a brace or a dollar', auths('r.io', { username: 'u', password: 'a{{b$c}<d>${e' }), authOf('u', 'a{{b$c}<d>${e')],
  ['a member called __proto__ is one like any other', '{"__proto__":{"auths":1},"auths":{"registry.example.com":{"auth":"Y2k6czNjcjN0","__proto__":{"auth":"x"}}}}', A1],
  ['ECR beside a good entry is left out', `{"auths":{"123456789012.dkr.ecr.eu-west-1.amazonaws.com":{"auth":"QVdTOnRvaw=="},"registry.example.com":{"auth":"Y2k6czNjcjN0"}}}`, A1, {}, ['W_ECR_HOST']],
  ['a path under Docker Hub beside a good entry is left out', `{"auths":{"https://index.docker.io/v1/acme":{"auth":"QVdTOnRvaw=="},"registry.example.com":{"auth":"Y2k6czNjcjN0"}}}`, A1, {}, ['W_HUB_PATH']],
]

for (const [title, document, expected, options, codes] of accepted) {
  t.test(`accepts ${title}`, (t) => {
    const { data, warnings } = render(document, options)
    t.equal(data, expected)
    t.same(warnings.map(({ code }) => code), codes ?? [], 'warnings')
    t.end()
  })
}

const secret = 'Zq7-xWv9.kLm3'
const entry = { username: 'ci', password: secret }

/** Title, document, code, what the error must say, options. */
const refused: readonly (readonly [string, string | Uint8Array, ErrorCode, {
  readonly says?: RegExp; readonly at?: readonly [number, number]; readonly path?: string; readonly fix?: RegExp
}, Options?])[] = [
  ['the article\'s sample', '{"https://index.docker.io/v1/":{"auth","a2vpdGg6NDc3MTE5..."}}', 'E_JSON', {
    says: /not valid JSON at 1:39, expected ":" after a property name\. Note: the AWS article's sample \{"auth", "\.\.\."\} has a typo; write \{"auth": "\.\.\."\}/,
    at: [1, 39], path: '["https://index.docker.io/v1/"].auth', fix: /write \{"auth": / }],
  ['the typo on its own', `{"auth","${secret}"}`, 'E_JSON', { says: /^secret prod\/reg \(version 3f2a\): not valid JSON at 1:8, expected ":" after a property name/, at: [1, 8] }],
  ['a value without quotes', `{"auths":\n {"r.io": {"auth": ${secret}}}}`, 'E_JSON', { says: /expected a value/, at: [2, 20], path: 'auths["r.io"].auth' }],
  ['single quotes', `{'username':'${secret}'}`, 'E_JSON', { says: /single quote/, at: [1, 2] }],
  ['typographic quotes', `{“username”:“${secret}”}`, 'E_JSON', { says: /typographic quote/ }],
  ['escaped quotes', `{\\"username\\":\\"${secret}\\"}`, 'E_JSON', { says: /backslash before a quote/ }],
  ['a comment', `{"username":"ci", # ${secret}\n"password":"x"}`, 'E_JSON', { says: /a comment/ }],
  ['a line break inside a string', `{"username":"ci","password":"${secret}\nmore"}`, 'E_JSON', { says: /line break inside a string/, path: 'password' }],
  ['an unknown escape', `{"password":"\\x${secret}"}`, 'E_JSON', { says: /backslash is written/, path: 'password' }],
  ['one bracket too many', `${JSON.stringify(entry)}}`, 'E_JSON', { says: /one "}" too many/ }],
  ['deep nesting', '['.repeat(60_000), 'E_JSON', { says: /nested deeper than 64 levels/ }],
  ['a missing end', `{"auths":{"r.io":{"auth":"${b64(`ci:${secret}`)}"}}`, 'E_JSON_TRUNCATED', { says: /JSON ends early: 1 unclosed "\{"$/ }],
  ['an end inside a string', `{"auths":[{"password":"${secret}`, 'E_JSON_TRUNCATED', { says: /JSON ends early inside a string: 2 unclosed "\{" and 1 unclosed "\["$/ }],
  ['two documents', `${JSON.stringify(entry)}\n${JSON.stringify(entry)}`, 'E_JSON_TRUNCATED', { says: /a second JSON document begins/, at: [2, 1] }],
  ['a trailing comma', `{"password":"${secret}",}`, 'E_JSON_TRUNCATED', { says: /a trailing comma before "}"/, at: [1, 28] }],
  ['the same member twice', `{"auths":{"r.io":{"auth":"${secret}"},\n"r.io":{"auth":"${secret}"}}}`, 'E_DUP_KEY', { says: /at 2:1, "r\.io" stands twice in one object, first at 1:18/, at: [2, 1], path: 'auths' }],
  ['a registry in a credential store', '{"auths":{"registry.example.com":{}},"credsStore":"desktop"}', 'E_CREDS_STORE', {
    says: /config\.json names registry\.example\.com but holds no credential: it is in the "desktop" credential store \(Docker Desktop\/macOS\)/,
    fix: /DOCKER_CONFIG=\$\(mktemp -d\) docker login registry\.example\.com/, path: 'auths["registry.example.com"]' }],
  ['registries in several stores', '{"auths":{"ghcr.io":{},"quay.io":{}},"credHelpers":{"quay.io":"pass"},"credsStore":"osxkeychain"}', 'E_CREDS_STORE', { 
    says: /names ghcr\.io but holds no credential: it is in the "osxkeychain" credential store \(Docker Desktop\/macOS\); likewise: quay\.io \(in "pass"\)$/ }],
  // Regression: of helpers of other systems it was said as well that they are Docker Desktop's.
  ['a registry in a store of another system', '{"auths":{"ghcr.io":{}},"credHelpers":{"ghcr.io":"pass"}}', 'E_CREDS_STORE', { says: /it is in the "pass" credential store$/ }],
  ['a registry in the store of Windows', '{"auths":{"ghcr.io":{}},"credsStore":"wincred.exe"}', 'E_CREDS_STORE', { says: /credential store \(Windows\)$/ }],
  ['more registries in a store than can be read', `{"auths":{${'abcdefgh'.split('').map((name) => `"${name}.io":{}`).join()}},"credsStore":"desktop"}`, 'E_CREDS_STORE', {
    says: /names a\.io .*; likewise: b\.io [^a]*f\.io \(in "desktop"\) and 2 more$/ }],
  ['a store and no registry', '{"auths":{},"credsStore":"desktop"}', 'E_CREDS_STORE', { says: /"desktop" credential store/ }],
  ['a store without auths', '{"credsStore":"desktop"}', 'E_CREDS_STORE', {}],
  ['an entry without a credential', '{"auths":{"registry.example.com":{}}}', 'E_NO_AUTH', { says: /registry\.example\.com: no "auth" and no "username"\/"password"$/, path: 'auths["registry.example.com"]' }],
  ['a null entry', '{"auths":{"registry.example.com":null}}', 'E_NO_AUTH', { says: /registry\.example\.com: no "auth"/ }],
  ['a user without password', auths('r.io', { username: secret }), 'E_NO_AUTH', {}],
  ['a password without user', auths('r.io', { password: secret }), 'E_NO_AUTH', {}],
  ['a user alone', '{"username":"ci"}', 'E_NO_AUTH', {}, forRegistry],
  ...['{}', '{"auths":{}}', '[]', '', ' \n', '{"credentials":[]}', '{"currentContext":"x"}', 'ECS_CLUSTER=x\nECS_ENGINE_AUTH_TYPE=dockercfg\n'].map((document) =>
    [`nothing at all: ${JSON.stringify(document)}`, document, 'E_EMPTY', { fix: /--allow-empty/ }] as const),
  ['auth that is not base64', auths('r.io', { auth: `Y2k6czNjcjN${'!'}0Zq7` }), 'E_B64', { says: /r\.io: "auth" is not base64 \(position 12\)/, path: 'auths["r.io"].auth', at: [1, 26] }],
  ['auth with dots for the rest', auths('r.io', { auth: 'a2vpdGg6...' }), 'E_B64', { says: /position 9/ }],
  ['auth that is a raw token', auths('r.io', { auth: 'abcdWxyz9876' }), 'E_NO_COLON', { says: /decoded "auth" has no ":"; it must be base64 of user:password\. Raw token pasted\?/ }],
  ['a bare token without its user', secret, 'E_NO_COLON', { fix: /--username/ }, forRegistry],
  ['auth that decodes to no text', auths('r.io', { auth: Buffer.from([0x63, 0x3a, 0xff, 0xfe, 0x63]).toString('base64') }), 'E_ENCODING', {}],
  ['an empty user', auths('r.io', { username: '', password: secret }), 'E_EMPTY_USER', {}],
  ['an empty user in auth', auths('r.io', { auth: b64(`:${secret}`) }), 'E_EMPTY_USER', {}],
  ['an empty password', auths('r.io', { username: 'ci', password: '' }), 'E_EMPTY_PASSWORD', {}],
  ['an empty password in auth', auths('r.io', { auth: b64('ci-user-77:') }), 'E_EMPTY_PASSWORD', {}],
  ['a password of one newline', auths('r.io', { username: 'ci', password: '\n' }), 'E_EMPTY_PASSWORD', {}],
  ['a colon in the user', auths('r.io', { username: `a:${secret}`, password: 'x' }), 'E_USER_COLON', { path: 'auths["r.io"].username' }],
  ...[['NUL', '\0'], ['line feed', '\n'], ['carriage return', '\r'], ['tab', '\t'], ['escape', '\x1b'], ['DEL', '\x7f']].map(([name, char]) =>
    [`a password with a ${name} in it`, auths('r.io', { username: 'ci', password: `${secret}${char}more` }), 'E_CONTROL_CHAR', { path: 'auths["r.io"].password' }] as const),
  ['a NUL at the end of auth', auths('r.io', { auth: b64(`ci:${secret}\0`) }), 'E_CONTROL_CHAR', {}],
  ['a newline in the user', auths('r.io', { username: 'a\nb', password: secret }), 'E_CONTROL_CHAR', { path: 'auths["r.io"].username' }],
  ['two newlines at the end', auths('r.io', { username: 'ci', password: `${secret}\n\n` }), 'E_CONTROL_CHAR', {}],
  ['lines in a key file\'s place that are no JSON', auths('r.io', { username: '_json_key', password: `{\n${secret}` }), 'E_CONTROL_CHAR', {}],
  ['a plain text of two lines', `ci:${secret}\nmore`, 'E_CONTROL_CHAR', {}, forRegistry],
  ['half a character', `{"auths":{"r.io":{"username":"ci","password":"${secret}\\ud83d"}}}`, 'E_ENCODING', { says: /lone surrogate/ }],
  ['UTF-16LE', Buffer.from(`\uFEFF${JSON.stringify(entry)}`, 'utf16le'), 'E_ENCODING', { says: /looks like UTF-16LE \(PowerShell redirect\?\); save as UTF-8/ }],
  ['UTF-16LE without a mark', Buffer.from(JSON.stringify(entry), 'utf16le'), 'E_ENCODING', { says: /UTF-16LE/ }],
  ['UTF-16BE', Buffer.from(`\uFEFF${JSON.stringify(entry)}`, 'utf16le').swap16(), 'E_ENCODING', { says: /UTF-16BE/ }],
  ['Latin-1', Buffer.from('{"username":"jürgen"}', 'latin1'), 'E_ENCODING', {}],
  ['auth that is no string', '{"auths":{"registry.example.com":{"auth":true}}}', 'E_TYPE', {
    says: /registry\.example\.com\.auth: expected string, got boolean \(ECS would then discard ALL registries\)/, path: 'auths["registry.example.com"].auth', at: [1, 42] }],
  ['a password that is a number', '{"auths":{"r.io":{"username":"ci","password":77889900}}}', 'E_TYPE', { says: /r\.io\.password: expected string, got number/ }],
  ['an entry that is a string', auths('r.io', secret as unknown as object), 'E_TYPE', { says: /r\.io: expected object, got string/ }],
  ['auths that is a list', `{"auths":["${secret}"]}`, 'E_TYPE', { path: 'auths' }],
  ['a list of strings', `["${secret}"]`, 'E_TYPE', { path: '[0]' }],
  ['a .dockerconfigjson that is a number', '{".dockerconfigjson":12345678}', 'E_TYPE', {}],
  ['auths within auths', `{"auths":{"auths":{"r.io":{"auth":"${secret}"}}}}`, 'E_WRAPPED', { says: /"auths" stands inside "auths"/, path: 'auths.auths' }],
  ['HttpHeaders within auths', '{"auths":{"HttpHeaders":{"User-Agent":"x"}}}', 'E_WRAPPED', {}],
  ['credHelpers within auths', '{"auths":{"credHelpers":{}}}', 'E_WRAPPED', {}],
  ['a database\'s secret', `{"engine":"mysql","host":"db.example.com","port":3306,"dbname":"x","username":"admin","password":"${secret}"}`, 'E_UNKNOWN_SHAPE', {
    says: /"engine", "host", "port", "dbname", "username", "password"/, fix: /accepted: a docker config\.json/ }, forRegistry],
  ['user_name', `{"user_name":"ci","password":"${secret}"}`, 'E_UNKNOWN_SHAPE', { says: /"user_name", "password"/ }, forRegistry],
  ['names of nothing known', `{"foo":"${secret}","bar":1}`, 'E_UNKNOWN_SHAPE', { says: /"foo", "bar"/ }],
  ['a token pasted where the name belongs', `{"${secret}":""}`, 'E_UNKNOWN_SHAPE', {}],
  ['a token with a value', `{"${secret}":"x"}`, 'E_UNKNOWN_SHAPE', { says: /\(a name of 13 characters\)/ }],
  ['settings of a program', `{"spring.datasource.password":"${secret}"}`, 'E_UNKNOWN_SHAPE', { says: /"spring\.datasource\.password"/ }],
  ['a registry with a string', `{"ghcr.io":"${secret}"}`, 'E_UNKNOWN_SHAPE', { says: /"ghcr\.io"/ }],
  ['a key file without its user', JSON.stringify({ type: 'service_account', private_key: secret }), 'E_UNKNOWN_SHAPE', { says: /key file, which is a password of the user _json_key$/, fix: /--username _json_key --registry / }],
  ['a key file for no registry', JSON.stringify({ type: 'service_account', private_key: secret }), 'E_REGISTRY_REQUIRED', {}, { username: '_json_key' }],
  ['many names', JSON.stringify(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`key${index}`, 1]))), 'E_UNKNOWN_SHAPE', { says: /"key11" and 28 more/ }],
  ['a number', '[[1]]', 'E_TYPE', {}],
  ['YAML', `apiVersion: v1\nkind: Secret\ndata:\n  .dockerconfigjson: ${secret}\n`, 'E_UNKNOWN_SHAPE', { says: /YAML/ }, forRegistry],
  ['quoted JSON', `'${JSON.stringify(entry)}'`, 'E_UNKNOWN_SHAPE', { says: /quoted text/ }, forRegistry],
  ['a URL', `https://ci:${secret}@r.io`, 'E_UNKNOWN_SHAPE', { says: /a URL/ }, forRegistry],
  ['a line of shell', `DOCKER_AUTH=ci:${secret}`, 'E_UNKNOWN_SHAPE', {}, forRegistry],
  ['HTML', '<!doctype html><p>a: b', 'E_UNKNOWN_SHAPE', { says: /HTML/ }, forRegistry],
  ['text in text in text', Array.from({ length: 8 }).reduce<string>((text) => JSON.stringify(text), config), 'E_UNKNOWN_SHAPE', { says: /too many times/ }],
  ['a login without a registry', JSON.stringify(entry), 'E_REGISTRY_REQUIRED', { fix: /--registry registry\.example\.com/ }],
  ['user:password without a registry', `ci:${secret}`, 'E_REGISTRY_REQUIRED', { fix: /--registry/ }],
  ['an item of a list without a registry', JSON.stringify([entry]), 'E_REGISTRY_REQUIRED', { path: '[0]' }],
  ['a login in the registry\'s name', auths(`https://ci:${secret}@r.io`, entry), 'E_REGISTRY_KEY', { says: /has a login before "@": r\.io/ }],
  ['a login in the registry of the settings', JSON.stringify(entry), 'E_REGISTRY_KEY', {}, { registry: `ci:${secret}@r.io` }],
  ['a query with a token', auths(`https://r.io/?token=${secret}`, entry), 'E_REGISTRY_KEY', { says: /"\?" or "#"/ }],
  ['a tag', auths('registry.example.com/app:1.2', entry), 'E_REGISTRY_KEY', { says: /registry\.example\.com\/app$/ }],
  ['a token behind the registry', auths(`r.io:${secret}`, entry), 'E_REGISTRY_KEY', {}],
  ['a token for a registry', `{"${secret}_":{"username":"ci","password":"x"}}`, 'E_REGISTRY_KEY', {}],
  ['two names of one registry that differ', '{"auths":{"docker.io":{"auth":"dTpwdzEx"},"index.docker.io":{"auth":"dTpwdzIy"}}}', 'E_CONFLICT', {
    says: /auths\["docker\.io"\] and auths\["index\.docker\.io"\]/, path: 'auths["index.docker.io"]' }],
  ['auth and password that differ', auths('r.io', { auth: b64(`ci:${secret}`), username: 'ci', password: 'Qx81-zz02' }), 'E_AUTH_CONFLICT', { says: /r\.io/ }],
  ['auth and user that differ', auths('r.io', { auth: b64(`ci:${secret}`), username: 'Qx81-zz02' }), 'E_AUTH_CONFLICT', {}],
  ['two names for the password', `{"registry":"r.io","username":"ci","password":"${secret}","token":"${secret}"}`, 'E_ALIAS_CONFLICT', { says: /"password" and "token" mean the same/ }],
  ['two names for the registry', `{"registry":"r.io","host":"r.io","username":"ci","password":"${secret}"}`, 'E_ALIAS_CONFLICT', {}],
  ['two names for auths', `{"auths":${A1},"Auths":${A1}}`, 'E_ALIAS_CONFLICT', { says: /"auths" and "Auths" mean the same/ }],
  ['two Kubernetes documents', JSON.stringify({ data: { '.dockerconfigjson': b64(config), '.dockercfg': b64(A1) } }), 'E_ALIAS_CONFLICT', {}],
  ['an identity token', auths('registry.example.com', { auth: b64('00000000-0000:'), identitytoken: secret }), 'E_IDENTITY_TOKEN', {
    says: /registry\.example\.com: an identity token cannot be carried by dockercfg; use an access token or a robot account/ }],
  ['a registry token', auths('registry.example.com', { registrytoken: secret }), 'E_IDENTITY_TOKEN', {}],
  ['more than a secret can hold', `${config}${' '.repeat(65_536)}`, 'E_TOO_BIG', { says: /the limit is 65536/ }],
  ...['changeme', 'CHANGE_ME', 'null', '${REGISTRY_PASSWORD}', '<password>', '<your token>', '{{ password }}', '{{ .Values.token }}', 'zq212MzEXAMPLE7o6T25Dk0i'].map((value) =>
    [`the placeholder ${value}`, auths('r.io', { username: 'ci', password: value }), 'E_PLACEHOLDER', { says: /r\.io: the password is a placeholder/ }] as const),
  ['AWS\'s sample as auth', auths('r.io', { auth: 'zq212MzEXAMPLE7o6T25Dk0i' }), 'E_PLACEHOLDER', { says: /"auth" is a placeholder/ }],
  ['a template as the whole text', '{{resolve:secretsmanager:prod/reg}}', 'E_PLACEHOLDER', {}, forRegistry],
  ['a JSON key that is missing', `{"user":"ci","docker":"x","${secret}":"y"}`, 'E_JSON_KEY', { says: /has no member "token"; it has "user", "docker", \(a name of 13 characters\)/ }, { jsonKey: 'token' }],
  // Regression: names without values were listed, which are where a token goes that was pasted into the wrong box.
  ['a JSON key beside names without values', '{"user":"ci","correct":"","horse":null}', 'E_JSON_KEY', { says: /has no member "token"; it has "user"$/ }, { jsonKey: 'token' }],
  // Regression: what people store instead was refused with words for something else.
  ['base64 of gzip data', `H4sIAAAAAAAA${secret}`, 'E_NO_COLON', { says: /It looks like base64 of gzip data$/, fix: /gunzip/ }, forRegistry],
  ['base64 of gzip data without a registry', `H4sIAAAAAAAA${secret}`, 'E_REGISTRY_REQUIRED', { says: /it looks like base64 of gzip data$/, fix: /gunzip/ }],
  ['gzip data', Buffer.from([0x1f, 0x8b, 8, 0, 0]), 'E_ENCODING', { says: /is gzip data/ }],
  ['lines of NAME=value', `REGISTRY=registry.example.com\nexport PASSWORD=${secret}\n`, 'E_NO_COLON', { says: /It looks like lines of NAME=value$/, fix: /\{"registry": / }, forRegistry],
  ['a document twice in base64', JSON.stringify({ data: { '.dockerconfigjson': b64(b64(config)) } }), 'E_REGISTRY_REQUIRED', { says: /it looks like base64 of base64$/, fix: /stringData/ }],
  ['a Kubernetes Secret in YAML', `kind: Secret\ndata:\n  .dockerconfigjson: ${secret}\n`, 'E_UNKNOWN_SHAPE', { says: /holds a Kubernetes Secret in YAML/, fix: /kubectl get secret NAME -o json/ }],
  ['a Kubernetes List', JSON.stringify({ kind: 'List', items: [{ kind: 'Secret', data: { '.dockerconfigjson': b64(config) } }] }), 'E_UNKNOWN_SHAPE', { says: /a list of Kubernetes objects; it has "kind", "items"$/, fix: /kubectl get secret NAME/ }],
  ['auths that is JSON as text', JSON.stringify({ auths: A1 }), 'E_TYPE', { says: /auths: expected object, got string/, fix: /without the quotes/ }],
  ['a no-break space', `{\u00a0"auths":{"r.io":{"auth":"${secret}"}}}`, 'E_JSON', { says: /at 1:2, a no-break space/ }],
  ['a no-break space before a colon', `{"auths"\u00a0:{"r.io":{"auth":"${secret}"}}}`, 'E_JSON', { says: /at 1:9, a no-break space/ }],
  ['a no-break space at the end', `{"auths":{"r.io":{"auth":"${secret}"}}}\u00a0`, 'E_JSON', { says: /a no-break space/ }],
  ['a JSON key in a text', secret, 'E_JSON_KEY', { says: /it is no JSON object/ }, { jsonKey: 'token' }],
  ['a document inside a Secret that ends early', JSON.stringify({ data: { '.dockerconfigjson': b64(config.slice(0, 40)) } }), 'E_JSON_TRUNCATED', {
    says: /in the text of data\["\.dockerconfigjson"\]/ }],
  ['an ecs.config whose data is no JSON', `ECS_ENGINE_AUTH_DATA={"r.io":{"auth":"${secret}"}} # prod\n`, 'E_JSON', { path: 'ECS_ENGINE_AUTH_DATA' }],
]

for (const [title, document, code, expected, options] of refused) {
  t.test(`refuses ${title}`, (t) => {
    const error = errorOf(() => render(document, options))
    t.equal(error.code, code)
    t.equal(error.exitCode, 65)
    t.match(error.message, expected.says ?? /./)
    t.ok(error.message.startsWith(source), 'the message begins with the source')
    t.equal(error.details.source, source)
    if (expected.at) t.same([error.details.line, error.details.column], expected.at, 'line and column')
    if (expected.path !== undefined) t.equal(error.details.path, expected.path)
    t.match(error.details.fix ?? '', expected.fix ?? /./, 'there is a fix')
    // A placeholder is no secret, and its word may be one of ours.
    noPieceOf(code === 'E_PLACEHOLDER' ? [secret] : [...secretValues(document), secret], error, t)
    t.end()
  })
}

t.test('an empty document is taken on request', (t) => {
  for (const document of ['{}', '', '{"auths":{}}']) t.equal(parse(document, { allowEmpty: true }).registries.size, 0)
  t.throws(() => parse('{"auths":{},"credsStore":"desktop"}', { allowEmpty: true }), { code: 'E_CREDS_STORE' })
  t.end()
})

t.test('two sources may say the same of a registry, and not two things', (t) => {
  const one = { source: 'secret a', registries: parse('{"docker.io":{"auth":"dTpwdzEx"}}').registries }
  const same = { source: 'secret b', registries: parse('{"index.docker.io":{"auth":"dTpwdzEx"},"r.io":{"auth":"dTpwdzEx"}}').registries }
  const other = { source: 'secret c', registries: parse('{"docker.io":{"auth":"dTpwdzIy"}}').registries }
  t.same([...mergeRegistries([one, same]).keys()], [HUB, 'r.io'])
  const error = errorOf(() => mergeRegistries([one, same, other]))
  t.equal(error.code, 'E_CONFLICT')
  t.match(error.message, /secret a and secret c/)
  noPieceOf(['pw11', 'pw22'], error, t)
  t.equal(mergeRegistries([]).size, 0)
  t.end()
})

t.test('registries do not print their passwords', (t) => {
  const { registries } = parse(auths('r.io', entry))
  t.notMatch(inspect(registries, { depth: 9 }) + JSON.stringify([...registries]), secret)
  t.end()
})

const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((value) => !/\p{Cc}|\p{Surrogate}/u.test(value))
// What a template would have there is refused, as it should be.
const real = text.filter((value) => !/[{<$]|change/i.test(value))

t.test('any user and any password come back as they went in', (t) => {
  fc.assert(fc.property(real.filter((user) => !user.includes(':')), real, (username, password) => {
    for (const document of [{ username, password }, { auth: b64(`${username}:${password}`) }, { login: username, token: password }]) {
      const credential = parse(auths('r.io', document)).registries.get('r.io')
      if (credential?.username !== username || credential.password.reveal() !== password) throw new Error('differs')
    }
  }), { numRuns: 500 })
  t.end()
})

t.test('whatever the bytes, nothing is thrown but a refusal', (t) => {
  const settings = fc.record({ registry: fc.constantFrom(undefined, 'r.io'), username: fc.constantFrom(undefined, 'ci'), jsonKey: fc.constantFrom(undefined, undefined, 'auths') })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), settings, (bytes, options) => {
    onlyRefuses(bytes, options)
  }), { numRuns: 1000 })
  fc.assert(fc.property(fc.json(), settings, (json, options) => {
    onlyRefuses(Buffer.from(json), options)
  }), { numRuns: 1000 })
  t.end()
})

// Regression: for a wrong --registry the document was blamed, with line and column.
t.test('a wrong registry in the settings is not the fault of the document', (t) => {
  for (const [document, username] of [['{"username":"ci","password":"s3cr3t"}'], ['ci:s3cr3t'], [keyFile, '_json_key']] as const) {
    const error = errorOf(() => render(Buffer.from(document), { registry: 'registry.example.com/app:1.2', username }))
    t.match(error, { code: 'E_REGISTRY_KEY', message: /: REGCRED_REGISTRY \(--registry\): a registry's name has a tag/ })
    t.equal(error.details.line, undefined)
  }
  t.end()
})

t.test('a damaged document is refused or read, and no refusal has a piece of its password', (t) => {
  const corpus = accepted.map(([, document]) => Buffer.from(document as string))
  const damage = fc.array(fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), byte: fc.nat(255), kind: fc.constantFrom('set', 'cut', 'drop', 'insert') }), { minLength: 1, maxLength: 4 })
  fc.assert(fc.property(fc.constantFrom(...corpus), damage, (original, steps) => {
    let bytes = [...original]
    for (const { at, byte, kind } of steps) {
      const index = Math.floor(at * bytes.length)
      if (kind === 'set') bytes[index] = byte
      else if (kind === 'cut') bytes = bytes.slice(0, index)
      else if (kind === 'drop') bytes.splice(index, 1)
      else bytes.splice(index, 0, byte)
    }
    const message = onlyRefuses(Buffer.from(bytes), { registry: 'r.io' })
    for (const piece of ['s3cr3t', 'ghp_EX', 'dckr_p', 'QUAYRO', 'gldt-E', 'Y2k6cz', 'b2N0b2']) {
      if (message.includes(piece)) throw new Error(`leaks ${piece}`)
    }
  }), { numRuns: 3000 })
  t.end()
})

function onlyRefuses(bytes: Uint8Array, options: Options): string {
  try {
    render(bytes, options)
    return ''
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code === 'E_BUG') throw error
    return everythingOf(error)
  }
}

function errorOf(run: () => unknown): ServiceError {
  try {
    run()
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

function everythingOf(error: ServiceError): string {
  return [error.message, JSON.stringify(error.details), JSON.stringify(error), inspect(error, { depth: 9, showHidden: true }), String(error), withoutFrames(error.stack)].join('\n')
}

function withoutFrames(stack = ''): string {
  return stack.replace(/^ {4}at .*$/gm, '')
}

/** Values of the members that hold a login, as far as the document still is JSON, and what they decode to. */
function secretValues(document: string | Uint8Array): string[] {
  const found = [...Buffer.from(document as string).toString('utf8').matchAll(/"(?:auth|password|token|identitytoken|\.dockerconfigjson)"\s*[:,]\s*"([^"]{4,})"/g)].map(([, value]) => value ?? '')
  return found.flatMap((value) => [value, Buffer.from(value, 'base64').toString('utf8')]).filter((value) => !value.includes('auths'))
}

/** No four characters in a row of a secret stand anywhere in the error. */
function noPieceOf(secrets: readonly string[], error: ServiceError, t: Pick<typeof import('tap').t, 'pass' | 'fail'>): void {
  const everything = everythingOf(error).replace(/\n {4}at .*/g, '')
  for (const value of secrets) {
    for (let at = 0; at + 4 <= value.length; at += 1) {
      const piece = value.slice(at, at + 4)
      if (everything.includes(piece)) t.fail(`the error has a piece of a secret: ${JSON.stringify(piece)}`)
    }
  }
  t.pass('no piece of a secret')
}
