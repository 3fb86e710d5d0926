#!/usr/bin/env node
/**
 * Bundles the service for the release and collects the licences of what went in.
 *
 *   node scripts/bundle.mjs OUT     OUT/app/*.mjs, OUT/package.json, OUT/licenses/npm/<package>/…
 */
import { createRequire, isBuiltin } from 'node:module'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { build } from 'esbuild'

const out = process.argv[2]
if (out === undefined) throw new Error('usage: bundle.mjs OUT')
const root = join(import.meta.dirname, '..')

/**
 * `import … from 'node:http'` makes Node read every property of the module to export it, and the getters among them load what nobody asked for: undici
 * behind node:http's WebSocket (6 MB), web crypto, readline. process.getBuiltinModule gives the same module and reads nothing.
 */
const builtinsAsTheyAre = {
  name: 'builtins as they are',
  setup({ onResolve, onLoad }) {
    const require = createRequire(import.meta.url)
    onResolve({ filter: /^[a-z_:/]+$/ }, ({ path, kind, importer }) => {
      if (kind === 'require-call' || !isBuiltin(path)) return undefined
      // One for each importer: shared ones would be a chunk each, and a file more to read at the start. Named from the project's root: names go into
      // the chunks' hashes, which are the same wherever it is built.
      return { path: `${path.replace(/^node:/, '')} for ${relative(root, importer)}`, namespace: 'builtin', sideEffects: false }
    })
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path: wanted }) => {
      const [path] = wanted.split(' ')
      // Pure, so that only the names which somebody imports are left in the bundle.
      const names = Object.keys(require(path)).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== 'default')
      return { contents: `const m=process.getBuiltinModule(${JSON.stringify(path)});export default m;
${names.map((name) => `const $${name}=/*@__PURE__*/(()=>m.${name})();export{$${name} as ${name}};`).join('\n')}` }
    })
  },
}

/**
 * The service and the boot's sync have a program of their own, in which what every start of theirs loads anyway is one file: a file more is half a
 * millisecond and its share of the loader's memory. What they may never need stays lazy; the other commands stay in main.mjs.
 */
const AT_ONCE = ['./run.js', './sync.js', '../log.js', 'chokidar', '../host/run-command.js']
const serviceAlone = {
  name: 'service alone',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/, namespace: 'file' }, ({ path }) => {
      const statics = []
      const text = readFileSync(path, 'utf8').replaceAll(/await import\('([^']+)'\)/g, (dynamic, specifier) => {
        if (path.endsWith('/cli/index.ts') && ![...AT_ONCE, './help.js'].includes(specifier)) return "await import('./main.mjs')"
        if (!AT_ONCE.includes(specifier)) return dynamic
        statics.push(`import * as static${statics.length} from '${specifier}'`)
        return `static${statics.length - 1}`
      })
      return { contents: [...statics, text].join('\n'), loader: 'ts' }
    })
  },
}

const options = {
  absWorkingDir: root,
  outdir: join(out, 'app'),
  outExtension: { '.js': '.mjs' },
  bundle: true,
  // One chunk for each lazy import: a file that is not read costs neither time nor memory.
  splitting: true,
  format: 'esm',
  minify: true,
  // Stack traces keep their names, which is what a bug report from a minified program lives on.
  keepNames: true,
  platform: 'node',
  target: 'node24',
  mainFields: ['module', 'main'],
  metafile: true,
  // CommonJS packages call require for Node's own modules. The name is one that minifying does not give out.
  banner: { js: "import{createRequire as requireOfRelease}from'node:module';const require=requireOfRelease(import.meta.url);" },
  legalComments: 'none',
}
const { metafile } = await build({ ...options, entryPoints: ['src/main.ts'], plugins: [builtinsAsTheyAre] })
await build({ ...options, entryPoints: { service: 'src/main.ts' }, chunkNames: 'service-[hash]', external: ['./main.mjs'], plugins: [serviceAlone, builtinsAsTheyAre] })

const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
writeFileSync(join(out, 'package.json'), `${JSON.stringify({ name, version, license, type: 'module' })}\n`)

// Loads everything once, for the installer: Node then caches the compiled code of the lazy parts as well.
const chunks = readdirSync(join(out, 'app')).filter((file) => file !== 'main.mjs' && file !== 'service.mjs').sort()
writeFileSync(join(out, 'app/warm-cache.mjs'), chunks.map((file) => `import './${file}'\n`).join(''))

const packages = new Set(Object.keys(metafile.inputs).filter((input) => !input.startsWith('builtin:')).flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? []))
const unlicensed = []
for (const path of [...packages].sort()) {
  const manifest = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'))
  const target = join(out, 'licenses/npm', manifest.name)
  const files = readdirSync(join(root, path)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
  mkdirSync(target, { recursive: true })
  for (const file of files) cpSync(join(root, path, file), join(target, file), { dereference: true })
  writeFileSync(join(target, 'PACKAGE'), `${manifest.name} ${manifest.version}, ${manifest.license ?? 'licence not declared'}\n`)
  if (files.length === 0 && !manifest.license) unlicensed.push(manifest.name)
}
if (unlicensed.length > 0) throw new Error(`packages without a licence cannot be shipped: ${unlicensed.join(', ')}`)
