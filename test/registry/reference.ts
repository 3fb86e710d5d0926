import t from 'tap'
import { parseImage } from '../../src/registry/reference.js'

const digest = `sha256:${'ab'.repeat(32)}`
for (const [image, host, repository, reference] of [
  ['nginx', 'docker.io', 'library/nginx', 'latest'],
  ['nginx:1.27', 'docker.io', 'library/nginx', '1.27'],
  ['acme/app', 'docker.io', 'acme/app', 'latest'],
  ['docker.io/nginx', 'docker.io', 'library/nginx', 'latest'],
  ['index.docker.io/acme/app:2', 'docker.io', 'acme/app', '2'],
  ['registry-1.docker.io/library/nginx', 'docker.io', 'library/nginx', 'latest'],
  ['registry.example.com/app', 'registry.example.com', 'app', 'latest'],
  ['registry.example.com:5000/team/app:v1', 'registry.example.com:5000', 'team/app', 'v1'],
  ['localhost/app', 'localhost', 'app', 'latest'],
  ['myregistry:5000/a/b__c/d-e', 'myregistry:5000', 'a/b__c/d-e', 'latest'],
  [`ghcr.io/acme/app@${digest}`, 'ghcr.io', 'acme/app', digest],
  [`ghcr.io/acme/app:v1@${digest}`, 'ghcr.io', 'acme/app', digest],
  ['[::1]:5000/x', '[::1]:5000', 'x', 'latest'],
] as const) {
  t.test(`${image} is ${reference} of ${repository} at ${host}`, async (t) => {
    t.strictSame(parseImage(image), { host, repository, reference })
  })
}
for (const image of ['', ':tag', 'a b', 'UPPER', 'r.io/', 'r.io//x', 'r.io/a/../b', 'r.io/a:', 'r.io/a@sha256:short', 'r.io/a?x=1', 'https://r.io/a', `a/${'b'.repeat(260)}`]) {
  t.test(`${JSON.stringify(image.slice(0, 20))} is no image`, async (t) => { t.equal(parseImage(image), undefined) })
}
