/** Keeps the memory of a process small that lives for years and works for milliseconds a day. Figures: `node scripts/bench.mjs idle`. */

/**
 * Compilers would never earn what they cost: 6 MB of their own pages and 1 MB of what they make. To be called early. Not as an option of node, where
 * it would make Node reject its own code cache (30 ms); set from here it does not. Nor a collection of V8's own some seconds after each pass, which
 * would wake an idle process: giveBackMemory has done that.
 */
export function interpretOnly(): void {
  for (const flag of ['--no-opt', '--no-maglev', '--no-sparkplug', '--no-memory-reducer']) process.getBuiltinModule('node:v8').setFlagsFromString(flag)
}

/** Growth, in bytes, that is worth a collection (25 ms of CPU): what most passes leave. The passes of a storm of events that find little to do leave less. */
const WORTH_IT = 0.25 * 2 ** 20
/** Growth from one collection to the next, in bytes, that is worth closing the gaps between what is left, which is twice the work. */
const WORTH_COMPACTING = 0.25 * 2 ** 20
let floor = 0
let lowest = Infinity

/**
 * Gives back what a pass has left behind. V8 collects when memory is asked for, which between two polls nobody does: without this, what a start or a
 * restart took stays taken, and a hundred idle passes take 5 MB more.
 */
export function giveBackMemory(): void {
  const resident = residentBytes()
  if (resident === undefined || resident < floor + WORTH_IT) return
  const v8 = process.getBuiltinModule('node:v8')
  // `gc` is a function of contexts made while the flag is set (the option itself: see above).
  v8.setFlagsFromString('--expose-gc')
  const collect = process.getBuiltinModule('node:vm').runInNewContext('gc') as (options?: object) => void
  v8.setFlagsFromString('--no-expose-gc')
  // Each pass compiles again what the collection before it threw away, into other places: without this, half a megabyte of gaps within twenty passes.
  const isScattered = floor > lowest + WORTH_COMPACTING
  v8.setFlagsFromString(isScattered ? '--compact-on-every-full-gc' : '--no-compact-on-every-full-gc')
  // The flavour that V8 uses when memory runs out: it takes unused bytecode and empty pages too. The V8 of Node 20 knows no options: it would take them for
  // its one argument, and collect only what is young.
  if (parseInt(process.versions.node) >= 24) collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  else collect()
  floor = residentBytes() ?? resident
  lowest = isScattered ? floor : Math.min(lowest, floor)
}

/** Undefined where the kernel does not say: Node reads a file of /proc for it, which takes a file descriptor, and throws where there is none to spare. */
function residentBytes(): number | undefined {
  try {
    return process.memoryUsage.rss()
  } catch {
    return undefined
  }
}
