import t from 'tap'
import { hostname } from 'node:os'
import { readInstanceId } from '../../src/host/instance.js'

const tree = (files: { cloud?: string; dmi?: string; machine?: string }): object => ({
  var: { lib: { cloud: { data: files.cloud === undefined ? {} : { 'instance-id': files.cloud } } } },
  sys: { devices: { virtual: { dmi: { id: files.dmi === undefined ? {} : { board_asset_tag: files.dmi } } } } },
  etc: files.machine === undefined ? {} : { 'machine-id': files.machine },
})

t.test('the first local name that is one', async (t) => {
  const cases: [Parameters<typeof tree>[0], string][] = [
    [{ cloud: 'i-0abc\n', dmi: 'i-0def\n', machine: 'feed\n' }, 'i-0abc'],
    [{ cloud: 'iid-datasource-none\n', dmi: 'i-0def\n', machine: 'feed\n' }, 'i-0def'],
    [{ dmi: 'Not Specified\n', machine: 'feed\n' }, 'feed'],
    [{ cloud: '', machine: 'uninitialized\n' }, hostname()],
    [{}, hostname()],
  ]
  for (const [files, expected] of cases) t.equal(await readInstanceId(t.testdir(tree(files) as never)), expected)
})
