#!/usr/bin/env node
/**
 * Bundles the service for the release and collects the licences of what went in.
 *
 *   node scripts/bundle.mjs OUT     OUT/app/*.mjs, OUT/package.json, OUT/licenses/npm/<package>/…
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const out = process.argv[2]
if (out === undefined) throw new Error('usage: bundle.mjs OUT')
const root = join(import.meta.dirname, '..')

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts'],
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
})

const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
writeFileSync(join(out, 'package.json'), `${JSON.stringify({ name, version, license, type: 'module' })}\n`)

// Loads everything once, for the installer: Node then caches the compiled code of the lazy parts as well.
const chunks = Object.keys(metafile.outputs).map((path) => path.split('/').at(-1)).filter((file) => file !== 'main.mjs').sort()
writeFileSync(join(out, 'app/warm-cache.mjs'), chunks.map((file) => `import './${file}'\n`).join(''))

const packages = new Set(Object.keys(metafile.inputs).flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? []))
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
