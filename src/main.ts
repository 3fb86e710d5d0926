#!/usr/bin/env -S node --
/**
 * argv and environment in, exit status out. The only file that ends the process.
 *
 * `node --` above: Node looks for an --env-file of its own in every argument before a `--`, the program's included.
 */
import { run } from './cli/index.js'

// Tuning of this process's own (the launcher's and the units'): nothing for the children it starts, whose own loader and allocator these would reach.
for (const name of Object.keys(process.env)) {
  if (name === 'NODE_COMPILE_CACHE' || name.startsWith('MALLOC_')) delete process.env[name]
}

const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // A second one ends at once: whatever is still owed then can be read off the machine at the next start.
    if (stopping.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    stopping.abort()
  })
}
// Node would open a debugger on a port, where every user of the machine could run code as root.
process.on('SIGUSR1', () => undefined)
// By default a SIGHUP would end the process. For `run` it is a reload: one that arrives during the start is answered by the first pass, which is still to
// come. For `rollout` the terminal is gone: nobody is there to be told how a service's own percentages are put back, so it goes on until it has done that.
if (process.argv[2] === 'run' || process.argv[2] === 'rollout') process.on('SIGHUP', () => undefined)
// Who reads no more of the progress (`rollout 2>&1 | head`) does not end the work.
process.stderr.on('error', () => undefined)
// `ecs-regcred doctor | head`: the reader has seen enough, and the exit status is the work's all the same.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.exit(74)
})

process.exitCode = await run(process.argv.slice(2), {
  environment: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: stopping.signal,
})
// Sockets and watchers left open by a command that has ended are not worth waiting for; what it printed is.
await new Promise((resolve) => process.stdout.write('', resolve))
process.exit()
