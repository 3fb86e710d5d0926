/** What a running process costs, as the kernel counts it. */
import { readdirSync, readFileSync } from 'node:fs'

/**
 * MiB. `private` is what the process has written to, so that nobody else can use it and nothing but swap can take it back. What is left of `rss` are
 * clean pages of files, nearly all of them Node's own program: shared where more than one process runs it, and dropped when memory is short.
 * @returns {{ rss: number, pss: number, private: number }}
 */
export function readMemory(pid) {
  const kib = Object.fromEntries([...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^(\w+):\s+(\d+) kB$/gm)].map(([, name, value]) => [name, Number(value)]))
  return { rss: kib.Rss / 1024, pss: kib.Pss / 1024, private: kib.Anonymous / 1024 }
}

/** Of all its threads since their start: CPU time in ms, and how often one was switched to because it had been woken. */
export function readWork(pid) {
  let cpuMs = 0
  let wakeups = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      cpuMs += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6
      wakeups += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))?.[1] ?? 0)
    } catch {
      // A thread that has ended.
    }
  }
  return { cpuMs, wakeups }
}

/** User and system time of ended children, in ms (proc(5), fields 16 and 17). */
export function readChildrenCpuMs(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) * 10
}
