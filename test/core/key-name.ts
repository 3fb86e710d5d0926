import t from 'tap'
import { isTame, keyPath, shownKey, shownName, shownNames, shownRegistry } from '../../src/core/key-name.js'

t.test('words and registries are shown', (t) => {
  for (const name of [
    'auths', 'user_name', 'dbInstanceIdentifier', 'foo', 'HttpHeaders', 'key1', 'token2', '.dockerconfigjson', 'API_KEY', 'Cluster name', 'https://index.docker.io/v1/', 'r.io', 'r1.example.com:5000/a/b',
    'localhost:5000', 'Registry.Example.com', 'R.IO/v2/', '123456789012.dkr.ecr.eu-west-1.amazonaws.com', 'https://acme.jfrog.io/team-a/my_app2', 'registry2:5000', '10.0.0.1', 'spring.datasource.password',
  ]) {
    t.ok(isTame(name), name)
    t.equal(shownName(name), `"${name}"`)
  }
  t.end()
})

// Regression: a config.json wrapped in another "auths" was told as auths[11 characters]: one of its words was not known.
t.test("the members of docker's config.json are shown", (t) => {
  for (const name of ['auths', 'HttpHeaders', 'credsStore', 'credHelpers']) t.ok(isTame(name), name)
  t.end()
})

t.test('what could log in is told by its length', (t) => {
  for (const name of [
    'ghp_AbCdEf123456', 'hunter2', 's3cr3t', 'ci:s3cr3t', 'https://u:p@r.io', 'dckr_pat_x7Y', 'QUAYROBOTEXAMPLE', 'Tr0ub4dor&3', 'YWNtZS1ib3Q6ZGNrcl9wYXQ=', 'eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM',
    'ueiFrNndf', 'YWNtZTpib', 'Hunter', 'acme.jfrog.io/YreDprNXFfVjh3X3E2cX4', 'r.io/9f86d081884c7d659a2feaa0c55ad015', 'bHI6eDN3JHg5.r.io', 'https://hooks.example.com/T0A1B2/x9', 'correcthorsebatterystaple', '', 'a\nb', '\x1b[31m', 'r.io?token=x', 'x'.repeat(101), 'pässwort',
  ]) {
    t.notOk(isTame(name), JSON.stringify(name))
    t.equal(shownName(name), `(a name of ${name.length} characters)`)
  }
  t.equal(shownRegistry('r.io'), 'r.io')
  t.equal(shownRegistry('x9-y8.z7'), '(a name of 8 characters)')
  t.end()
})

t.test('a key of an ecs.config is shown with its boundary, or not at all', (t) => {
  for (const key of ['docker', 'auths', 'registry.example.com:5000/team/app:', 'r.io/team@', 'https://r.io', '[2001:db8::1]:5000', 'localhost:5000']) t.equal(shownKey(key), key)
  for (const key of ['ci:s3cr3t', 'glpat-x7Yz.01.0w1abcdef', 'eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM', 's3cr3t:', '[not an address]']) t.equal(shownKey(key), '[redacted]')
  t.end()
})

t.test('a long list of names is cut', (t) => {
  t.equal(shownNames(['a', 's3cr3t']), '"a", (a name of 6 characters)')
  t.match(shownNames(Array.from({ length: 100 }, () => 'name')), /^("name", ){11}"name" and 88 more$/)
  t.end()
})

t.test('a key path is written as in jq', (t) => {
  t.equal(keyPath(['auths', 'r.io', 'auth']), 'auths["r.io"].auth')
  t.equal(keyPath([0, 'username']), '[0].username')
  t.equal(keyPath(['r.io', 's3cr3t', 3]), '["r.io"][6 characters][3]')
  t.equal(keyPath([]), '')
  t.end()
})
