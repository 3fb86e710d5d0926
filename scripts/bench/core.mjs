/** The pure part of a pass, in this process: a document parsed, its ecs.config rendered. */
import { join } from 'node:path'
import { project } from './programs.mjs'
import { dockerConfig } from './stand-ins.mjs'

export async function core({ brief, report }) {
  const from = (file) => import(join(project, 'dist/core', file))
  const [{ parseCredentialDocument }, { renderAuthData, toDockercfg }, { renderEcsConfig }] = await Promise.all([from('credential-document.js'), from('dockercfg.js'), from('ecs-config.js')])
  const current = Buffer.from('ECS_CLUSTER=bench\n# a line of somebody else\n')
  for (const registries of [1, 10, 500]) {
    const document = Buffer.from(dockerConfig('a-password', registries))
    const once = () => {
      const { dockercfg } = toDockercfg(parseCredentialDocument(document, { source: 'bench', maxBytes: 2 ** 20 }).registries, { allowEmpty: false })
      return renderEcsConfig(current, renderAuthData(dockercfg))
    }
    const times = []
    for (const end = performance.now() + (brief ? 50 : 2000); performance.now() < end || times.length < 3;) {
      const began = performance.now()
      once()
      times.push(performance.now() - began)
    }
    // The first runs are those of a service: what follows them is compiled.
    report(`core: parse and render ${registries} ${registries === 1 ? 'registry' : 'registries'}, first time`, 'ms', times.slice(0, 1))
    report(`core: parse and render ${registries} ${registries === 1 ? 'registry' : 'registries'}`, 'ms', times.slice(1))
  }
}
