/*
 * ecs.config as systemd reads it for ecs-init's own process (`EnvironmentFile=`): another grammar than ecs-init's, with quotes, escapes and comments. The ECS agent
 * does not get these values, but systemd's reading decides what lands in the journal. Ported from src/basic/env-file.c of 252 and src/shared/fileio.c of 219
 * (Amazon Linux 2023 and 2).
 */

export type SystemdReading = {
  readonly environment: ReadonlyMap<string, string>
  /** The whole file is dropped; `EnvironmentFile=-` keeps quiet about it. */
  readonly rejected: boolean
  /** Assignments that systemd ignores and logs with their full value: secrets may stand here, they must not be shown. */
  readonly logged: readonly string[]
}

/** What systemd of that version makes of the file. */
export function readSystemdEnvironment(file: Uint8Array, version: 219 | 252): SystemdReading {
  const characters = Buffer.from(file).toString('latin1') // systemd works byte by byte
  const end = characters.indexOf('\0')
  const assignments = parseAssignments(end < 0 ? characters : characters.slice(0, end), version)
  if (version === 252 && end >= 0) return { environment: new Map(), rejected: true, logged: [] }
  const broken = assignments.filter((assignment) => !isUtf8(assignment.join('')))
  if (broken.length > 0) return { environment: new Map(), rejected: true, logged: broken.map(joined) }
  const isNamed = ([name]: Assignment) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
  return {
    environment: new Map(assignments.filter(isNamed).map(([name, value]) => [name, utf8(value)])),
    rejected: false,
    logged: assignments.filter((assignment) => assignment[0] !== '' && !isNamed(assignment)).map(joined),
  }
}

type Assignment = readonly [name: string, value: string]
type State = 'before-name' | 'name' | 'before-value' | 'value' | 'escape' | 'single' | 'single-escape' | 'double' | 'double-escape' | 'comment' | 'comment-escape'

/** The state machine, one character at a time, states named for what they read. */
function parseAssignments(text: string, version: 219 | 252): Assignment[] {
  const found: Assignment[] = []
  let state: State = 'before-name'
  let name = ''
  let value = ''
  let kept = 0 // length of the value that trailing white space may not shorten: quoted and escaped characters count
  const finish = () => {
    found.push([name.replace(/[ \t]+$/, ''), value.slice(0, kept) + value.slice(kept).replace(/[ \t\r\n]+$/, '')])
    state = 'before-name'
    name = value = ''
    kept = 0
  }
  const keep = (characters: string) => {
    value += characters
    kept = value.length
  }
  for (const c of text) {
    const isNewline = c === '\n' || c === '\r'
    const isSpace = isNewline || c === ' ' || c === '\t'
    switch (state) {
      case 'before-name':
        if (c === '#' || c === ';') state = 'comment'
        else if (!isSpace) [state, name] = ['name', c]
        break
      case 'name':
        if (isNewline) [state, name] = ['before-name', '']
        else if (c === '=') state = 'before-value'
        else name += c
        break
      case 'before-value':
        if (isNewline) finish()
        else if (c === '\'') state = 'single'
        else if (c === '"') state = 'double'
        else if (c === '\\') state = 'escape'
        else if (!isSpace) {
          state = 'value'
          keep(c)
        }
        break
      case 'value':
        if (isNewline) finish()
        else if (c === '\\') {
          state = 'escape'
          kept = value.length
        } else if (isSpace) value += c
        else keep(c)
        break
      case 'escape':
        state = 'value'
        if (!isNewline) keep(c)
        break
      case 'single':
        if (c === '\'') state = 'before-value'
        else if (c === '\\' && version === 219) state = 'single-escape'
        else keep(c)
        break
      case 'double':
        if (c === '"') state = 'before-value'
        else if (c === '\\') state = 'double-escape'
        else keep(c)
        break
      case 'single-escape':
      case 'double-escape':
        state = state === 'single-escape' ? 'single' : 'double'
        if (version === 219 ? !isNewline : '"\\`$'.includes(c)) keep(c)
        else if (version === 252 && c !== '\n') keep(`\\${c}`)
        break
      case 'comment':
        if (c === '\\') state = 'comment-escape'
        else if (isNewline) state = 'before-name'
        break
      case 'comment-escape':
        state = 'comment'
        break
    }
  }
  if (!['before-name', 'name', 'comment', 'comment-escape'].includes(state)) finish()
  return found
}

function joined([name, value]: Assignment): string {
  return utf8(`${name}=${value}`)
}

function utf8(characters: string): string {
  return Buffer.from(characters, 'latin1').toString('utf8')
}

/** As utf8_is_valid() has it, of bytes as latin1: U+FFFE and the other code points that are no characters are as bad as bytes that are no UTF-8. */
export function isUtf8(characters: string): boolean {
  try {
    return !/\p{Noncharacter_Code_Point}/u.test(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(characters, 'latin1')))
  } catch {
    return false
  }
}
