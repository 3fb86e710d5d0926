import t from 'tap'
import { giveBackMemory } from '../src/memory.js'

t.test('what passes have left behind is given back at once, with no option of node', (t) => {
  giveBackMemory()
  const before = process.memoryUsage().heapUsed
  const held = leaveGarbage(before)
  t.ok(held > 3e7, `${held} bytes are held`)
  giveBackMemory()
  const left = process.memoryUsage().heapUsed - before
  t.ok(left < held / 4, `${left} of ${held} bytes are left`)
  t.equal('gc' in globalThis, false)
  t.end()
})

/** In a function of its own: a frame's registers keep what its variables have let go. */
function leaveGarbage(before: number): number {
  const garbage = Array.from({ length: 1000 }, (_, row) => Array.from({ length: 2000 }, (_, column) => `${row}.${column}`))
  return process.memoryUsage().heapUsed - before + garbage.length - 1000
}
