import { existsSync, readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parseCredentialDocument } from '../../src/core/credential-document.js'
import { renderAuthData, toDockercfg } from '../../src/core/dockercfg.js'
import { lintEcsConfig } from '../../src/core/ecs-config-lint.js'
import { readEngineAuth, renderEcsConfig } from '../../src/core/ecs-config.js'
import { parseEngineAuth, sameMeaning } from '../../src/core/ecs-matching.js'

const roots = new URL('../roots/', import.meta.url)

function readIfAny(path: string): Buffer | undefined {
  const file = new URL(path, roots)
  return existsSync(file) ? readFileSync(file) : undefined
}

// A new case is a new folder: config.json, before/ and after/.
for (const scenario of readdirSync(roots)) {
  t.test(`${scenario.replaceAll('-', ' ')}`, async (t) => {
    const before = readIfAny(`${scenario}/before/etc/ecs/ecs.config`)
    const after = readIfAny(`${scenario}/after/etc/ecs/ecs.config`)
    const source = 'config.json'
    const { registries } = parseCredentialDocument(readIfAny(`${scenario}/config.json`) ?? Buffer.alloc(0), { source })
    const data = renderAuthData(toDockercfg(registries).dockercfg)
    const onDisk = readEngineAuth(before)
    const isSame = onDisk.type === 'dockercfg' && sameMeaning(onDisk, parseEngineAuth('dockercfg', data))
    const result = isSame ? before : renderEcsConfig(before, data)
    t.equal(result && Buffer.from(result).toString('latin1'), after?.toString('latin1'))
    const broken = lintEcsConfig(result ?? Buffer.alloc(0)).filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
    t.same(broken, scenario === 'keeps-lines-it-does-not-own' ? ['nul-byte', 'wrong-case'] : [], 'nothing is broken but what others wrote')
  })
}
