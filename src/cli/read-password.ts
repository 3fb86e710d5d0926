import type { Readable, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { Redacted } from '../core/redacted.js'
import { ServiceError } from '../errors.js'

type Terminal = Readable & { readonly isTTY?: boolean; setRawMode?: (raw: boolean) => unknown }

/** Longer than any token, shorter than a file given by mistake. */
const MAX_BYTES = 65_536

/**
 * A password from a pipe (all of it, without one newline at its end), or typed at a terminal, where nothing shows.
 * @param fromPipe whether `--password-stdin` was given: a pipe is read only then, so that no command eats a script's stdin unasked
 * @throws {ServiceError} E_USAGE, E_EMPTY_PASSWORD, E_CONTROL_CHAR, E_ENCODING; E_INTERRUPTED for Ctrl-C
 */
export async function readPassword(stdin: Terminal, stderr: Writable, prompt: string, fromPipe: boolean, signal: AbortSignal): Promise<Redacted<string>> {
  if (stdin.isTTY !== true && !fromPipe) {
    throw new ServiceError('E_USAGE', 'there is no terminal to ask for the password at', { fix: 'give it by a pipe: … | ecs-regcred secret put … --password-stdin' })
  }
  const isTyped = stdin.isTTY === true && stdin.setRawMode !== undefined
  const password = isTyped ? await promptHidden(stdin, stderr, prompt, signal) : await readPipe(stdin, signal)
  if (password === '') throw new ServiceError('E_EMPTY_PASSWORD', 'the password is empty', { fix: `${isTyped ? 'type or paste it at the prompt.' : 'was the pipe before it empty?'} Nothing was put` })
  if (/[\r\n]/.test(password)) throw new ServiceError('E_CONTROL_CHAR', 'the password has a line break in it', { fix: 'give the password alone, with one newline at its end at the most. Nothing was put' })
  if (password.includes('\0')) throw new ServiceError('E_CONTROL_CHAR', 'the password has a NUL character in it', { fix: 'is it a file of another kind, or UTF-16 text? Nothing was put' })
  return new Redacted(password)
}

async function readPipe(stdin: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  const stop = (): void => { stdin.destroy() }
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const chunk of stdin) {
      chunks.push(Buffer.from(chunk as Buffer | string))
      length += chunks.at(-1)?.length ?? 0
      if (length > MAX_BYTES) throw new ServiceError('E_TOO_BIG', `the password on stdin is longer than ${MAX_BYTES} bytes`, { fix: 'was a whole file given by mistake?' })
    }
  } catch (error) {
    if (signal.aborted) throw interrupted()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
  if (signal.aborted) throw interrupted()
  try {
    // A byte order mark, which TextDecoder takes off, is the work of an editor and no part of a password.
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  } catch {
    throw new ServiceError('E_ENCODING', 'the password on stdin is not UTF-8 text', { fix: 'is it UTF-16 (PowerShell)? Write it as UTF-8' })
  }
}

async function promptHidden(stdin: Terminal, stderr: Writable, prompt: string, signal: AbortSignal): Promise<string> {
  const decoder = new StringDecoder('utf8')
  stdin.setRawMode?.(true)
  stderr.write(prompt)
  let stop = (): void => {}
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed: string[] = []
      const onAbort = (): void => reject(interrupted())
      const onEnd = (): void => resolve(typed.join(''))
      const onData = (chunk: Buffer): void => {
        for (const character of decoder.write(chunk)) {
          if (character === '\r' || character === '\n' || character === '\u0004') return onEnd()
          if (character === '\u0003') return reject(interrupted())
          if (character === '\u007f' || character === '\b') typed.pop()
          else if (character === '\u0015') typed = []
          else typed.push(character)
        }
      }
      stdin.on('data', onData).on('end', onEnd).on('error', reject)
      signal.addEventListener('abort', onAbort, { once: true })
      stop = () => {
        stdin.off('data', onData).off('end', onEnd).off('error', reject)
        signal.removeEventListener('abort', onAbort)
      }
      if (signal.aborted) onAbort()
    })
  } finally {
    stop()
    stdin.setRawMode?.(false)
    stdin.pause()
    stderr.write('\n')
  }
}

function interrupted(): ServiceError {
  return new ServiceError('E_INTERRUPTED', 'interrupted; nothing was put')
}
