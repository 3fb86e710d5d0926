import t from 'tap'
import { chooseSource } from '../../src/sources/index.js'

t.test('the settings choose the source', async (t) => {
  t.match(chooseSource({ source: { kind: 'file', path: '/root/.docker/config.json' } }), { kind: 'file', label: '/root/.docker/config.json' })
  t.match(chooseSource({ source: { kind: 'secret', secretIds: ['prod/registry', 'hub'] } }), { kind: 'secret', label: 'secrets prod/registry, hub' })
})

t.test('every secret id that cannot be meant is named at once', async (t) => {
  t.throws(() => chooseSource({ source: { kind: 'secret', secretIds: ['a b', 'good', 'c:d'] } }), { code: 'E_SETTINGS', message: /^secret id a b: .*\nsecret id c:d: .*$/ })
})
