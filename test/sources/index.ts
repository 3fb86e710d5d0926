import t from 'tap'
import { chooseSource } from '../../src/sources/index.js'

t.test('the settings choose the source', async (t) => {
  t.match(chooseSource({ source: { kind: 'file', path: '/root/.docker/config.json' } }), { kind: 'file', label: '/root/.docker/config.json' })
  t.match(chooseSource({ source: { kind: 'secret', secretIds: ['prod/registry', 'hub'] } }), { kind: 'secret', label: 'secrets prod/registry, hub' })
})
