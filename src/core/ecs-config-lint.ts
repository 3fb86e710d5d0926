import { AUTH_DATA, AUTH_TYPE, parseLines, readEngineAuth } from './ecs-config-lines.js'
import type { EcsConfigLine } from './ecs-config-lines.js'
import { lintEngineAuth, REWRITE, REWRITE_SAME } from './engine-auth-lint.js'
import { readGoJson } from './go-json.js'
import { isUtf8, readSystemdEnvironment } from './systemd-environment.js'

/** One fault of ecs.config. `broken`: the ECS agent gets no or the wrong credentials, does not start, or a secret leaks. No text holds a value. */
export type Finding = {
  /** Stable, for `--json` and tests. */
  readonly id: string
  readonly verdict: 'warning' | 'broken'
  /** 1-based. */
  readonly line?: number
  readonly message: string
  readonly fix: string
}

type NumberedLine = EcsConfigLine & { readonly line: number }

/**
 * Every fault that can be told from the file's bytes alone, in the order of the lines; faults of the credentials themselves after them. What another file
 * does (an ecs.config.json that fills in what is blank here) it cannot see.
 */
export function lintEcsConfig(file: Uint8Array): readonly Finding[] {
  const lines = parseLines(file).map((line, index) => ({ ...line, line: index + 1 }))
  const findings = [...lintBytes(file, lines), ...lines.flatMap(lintName), ...lintAuthLines(lines), ...lintMultiLine(lines), ...lintSystemd(file, lines)]
  const auth = readEngineAuth(file)
  const dataLine = lines.findLast(({ name }) => name === AUTH_DATA)
  const document = lintEngineAuth(auth, dataLine?.value ?? '').map((finding) => (dataLine ? { ...finding, line: dataLine.line } : finding))
  return [...findings.sort((a, b) => (a.line ?? lines.length + 1) - (b.line ?? lines.length + 1)), ...document]
}

// By what stands in the line, never by its number: the next fix is pasted into a file that is a line shorter, and would take a good one.
const deleteLines = (line: number, sedAddress: string) => `delete line ${line}: sed -Ei '${sedAddress}' /etc/ecs/ecs.config`
const NAMELESS = '/^[[:space:]]*=/d'
const LIKE_OURS = '/^[[:space:]]*ECS_ENGINE_AUTH_(TYPE|DATA)=/!{/^[^=]*ECS_ENGINE_AUTH_(TYPE|DATA)/Id}'
const JSON_PIECES = '/^[[:space:]]*[]["{},]/d'
const CLOSE_UP = 'sed -Ei \'s/^([[:space:]]*ECS_ENGINE_AUTH_(TYPE|DATA)=)[[:space:]]+/\\1/\' /etc/ecs/ecs.config'
const keepLast = (name: string) => `sed -Ezi ':a;s/(^|\\n)[ \\t]*${name}=[^\\n]*\\n((.*\\n)?[ \\t]*${name}=)/\\1\\2/;ta' /etc/ecs/ecs.config`

function lintBytes(file: Uint8Array, lines: readonly NumberedLine[]): Finding[] {
  const findings: Finding[] = []
  const crlf = lines.filter(({ raw }) => raw.endsWith('\r\n'))
  const first = crlf[0]
  if (first) {
    findings.push({ id: 'crlf', verdict: 'warning', line: first.line,
      message: `${crlf.length} line(s) end in CR LF, as Windows writes them; the ECS agent copes, shells that source the file do not`,
      fix: 'sed -i \'s/\\r$//\' /etc/ecs/ecs.config' })
  }
  for (const { line, value } of lines) {
    if (!value.includes('\r')) continue
    findings.push({ id: 'bare-cr', verdict: 'broken', line,
      message: `line ${line} holds a carriage return without line feed: the ECS agent takes what follows for a part of the value, systemd for the next line`,
      fix: `split line ${line} where the carriage return stands (sed -n ${line}p /etc/ecs/ecs.config | cat -A shows it as ^M); settings behind it, ECS_CLUSTER among them, then take effect` })
  }
  if (file[0] === 0xef && file[1] === 0xbb && file[2] === 0xbf) {
    const glued = lines[0]?.name !== undefined && !/^\ufeff[#;]/.test(lines[0].name)
    findings.push({ id: 'bom', verdict: glued ? 'broken' : 'warning', line: 1,
      message: glued
        ? 'the file begins with a byte order mark: the ECS agent takes it for a part of the first name and misses that setting, and systemd logs the line with its value at each start'
        : 'the file begins with a byte order mark',
      fix: 'sed -i \'1s/^\\xEF\\xBB\\xBF//\' /etc/ecs/ecs.config' })
  }
  const last = lines.at(-1)
  if (last && !last.raw.endsWith('\n')) {
    findings.push({ id: 'no-final-newline', verdict: 'warning', line: last.line,
      message: `line ${last.line}, the last one, has no line feed: what a script appends with >> is glued to it`,
      fix: 'echo >>/etc/ecs/ecs.config' })
  }
  return findings
}

/** Names that only look like ours, and those that stop everything. */
function lintName({ name, line }: NumberedLine): Finding[] {
  if (name === undefined || name === AUTH_TYPE || name === AUTH_DATA) return []
  if (name === '') {
    return [{ id: 'empty-name', verdict: 'broken', line,
      message: `line ${line} begins with "=": Docker refuses a container with a nameless variable, so the ECS agent cannot start`,
      fix: deleteLines(line, NAMELESS) }]
  }
  const near = /ECS_ENGINE_AUTH_(?:TYPE|DATA)/i.exec(name)?.[0]
  if (near === undefined && /^export\s/.test(name)) {
    return [{ id: 'export', verdict: 'warning', line,
      message: `line ${line} begins with "export": the ECS agent does not see that setting, and systemd logs the line with its value`,
      fix: 'sed -Ei \'/ECS_ENGINE_AUTH_/I!s/^[[:space:]]*export[[:space:]]+//\' /etc/ecs/ecs.config' }]
  }
  if (near === undefined && /^[A-Za-z_]\w*\s+$/.test(name)) {
    return [{ id: 'space-before-equals', verdict: 'warning', line,
      message: `line ${line} has a space before "=": to the ECS agent that is another name, so it does not see the setting`,
      fix: 'sed -Ei \'/ECS_ENGINE_AUTH_/I!s/^([[:space:]]*[A-Za-z_][A-Za-z0-9_]*)[[:space:]]+=[[:space:]]*/\\1=/\' /etc/ecs/ecs.config' }]
  }
  if (near === undefined || name.startsWith('\ufeff')) return []
  const wanted = near.toUpperCase()
  if (/^[#;]/.test(name)) {
    return [{ id: 'commented-auth', verdict: 'warning', line,
      message: `line ${line} has ${wanted} in a comment: ecs-init knows no comments and hands the line, secret included, to the ECS agent's container as a variable named "${name[0]}…"`,
        fix: deleteLines(line, LIKE_OURS) }]
  }
  const replace = `${deleteLines(line, LIKE_OURS)}; then ${REWRITE}`
  if (/^export\s/.test(name)) {
    return [{ id: 'export', verdict: 'broken', line,
      message: `line ${line} has "export" before ${wanted}: the ECS agent does not see it, and systemd logs the line with its value at each start`,
      fix: replace }]
  }
  if (name.trim() === wanted) {
    return [{ id: 'space-before-equals', verdict: 'broken', line,
      message: `line ${line} has a space between ${wanted} and "=": to the ECS agent that is another name`,
      fix: replace }]
  }
  if (name.trim().toUpperCase() === wanted) {
    return [{ id: 'wrong-case', verdict: 'broken', line,
      message: `line ${line} writes ${wanted} in other letters: names are case-sensitive, the ECS agent does not see it`,
      fix: replace }]
  }
  return [{ id: 'near-name', verdict: 'warning', line,
    message: `line ${line} has a name that only contains ${wanted}: the ECS agent does not see it`,
    fix: deleteLines(line, LIKE_OURS) }]
}

function lintAuthLines(lines: readonly NumberedLine[]): Finding[] {
  const findings: Finding[] = []
  for (const name of [AUTH_TYPE, AUTH_DATA]) {
    const found = lines.filter((line) => line.name === name)
    const last = found.at(-1)
    if (last && found.length > 1) {
      const blank = last.value === '' && found.some(({ value }) => value !== '')
      findings.push({ id: 'duplicate', verdict: blank ? 'broken' : 'warning', line: last.line,
        message: `${name} stands ${found.length} times (lines ${found.map(({ line }) => line).join(', ')}): the ECS agent takes the last${blank ? ', which is blank' : ''}`,
          fix: blank ? REWRITE : keepLast(name) })
    }
    for (const { value, line } of found) {
      if (/^\s*['"]/.test(value)) {
        findings.push({ id: 'quoted', verdict: 'broken', line,
          message: `line ${line} has ${name} in quotes: the ECS agent takes them for a part of the value and drops all credentials`,
          fix: `remove the quotes; ${REWRITE}` })
      } else if (/^\s+\S/.test(value)) {
        findings.push({ id: 'space-after-equals', verdict: 'warning', line,
          message: `line ${line} has a space after "${name}=": this value survives it, others would not`,
          fix: CLOSE_UP })
      }
      const size = Buffer.byteLength(value)
      if (size > MAX_VALUE_BYTES) {
        findings.push({ id: 'too-big', verdict: 'broken', line,
          message: `line ${line}: ${name} has ${size} bytes, and Linux hands no more than ${MAX_VALUE_BYTES} to a program: neither ecs-init nor the ECS agent can start`,
            fix: 'keep only the registries that this instance pulls from' })
      }
    }
  }
  return findings
}

/** execve's MAX_ARG_STRLEN, 131072, without `ECS_ENGINE_AUTH_DATA=` and the final NUL. */
const MAX_VALUE_BYTES = 131050

/** Pretty-printed JSON: the ECS agent gets its first line, the rest stands about as lines of its own. */
function lintMultiLine(lines: readonly NumberedLine[]): Finding[] {
  const findings: Finding[] = []
  for (let index = 0; index < lines.length; index++) {
    const start = lines[index]
    if (start?.name === AUTH_DATA && readGoJson(start.value) === undefined && /^\s*['"]?\s*\{/.test(start.value)) {
      const end = endOfDocument(lines, index)
      if (end === undefined) continue
      findings.push({ id: 'multi-line', verdict: 'broken', line: start.line,
        message: `${AUTH_DATA} goes over lines ${start.line} to ${end + 1}: the ECS agent reads only line ${start.line} and drops all credentials; systemd logs later lines that hold "=", with their values`,
        fix: `delete the later lines: sed -Ei '${JSON_PIECES}' /etc/ecs/ecs.config; then ${REWRITE}` })
      index = end
    } else if (start && start.name !== AUTH_TYPE && start.name !== AUTH_DATA && /^\s*(?:["[\]]|[{}])/.test(start.raw)) {
      findings.push({ id: 'json-fragment', verdict: 'warning', line: start.line,
        message: `line ${start.line} looks like a piece of a JSON document, left over from credentials on many lines; it may hold an old secret`,
        fix: deleteLines(start.line, JSON_PIECES) })
    }
  }
  return findings
}

/** Index of the line on which the JSON document that starts on line `start` is whole. */
function endOfDocument(lines: readonly NumberedLine[], start: number): number | undefined {
  let text = lines[start]?.value ?? ''
  for (let index = start + 1; index < Math.min(lines.length, start + 2000); index++) {
    text += `\n${lines[index]?.raw ?? ''}`
    if (/[}'"]\s*$/.test(text) && readGoJson(text.trim().replace(/^(['"])([^]*)\1$/, '$2')) !== undefined) return index
  }
  return undefined
}

/** What only systemd's reading shows. */
function lintSystemd(file: Uint8Array, lines: readonly NumberedLine[]): Finding[] {
  const [al2, al2023] = [readSystemdEnvironment(file, 219), readSystemdEnvironment(file, 252)]
  const nul = lines.find(({ raw }) => raw.includes('\0'))
  if (nul) {
    return [{ id: 'nul-byte', verdict: 'broken', line: nul.line,
      message: `line ${nul.line} holds a NUL byte: systemd drops the file, or what follows, and ecs-init runs without its settings`,
      fix: 'tr -d \'\\0\' </etc/ecs/ecs.config | diff -a - /etc/ecs/ecs.config shows it; write the line anew' }]
  }
  if (al2023.rejected) {
    const broken = lines.find(({ raw, name }) => name !== undefined && !/^\s*[#;]/.test(raw) && !isUtf8(raw))
    return [{ id: 'not-utf8', verdict: 'broken', ...(broken && { line: broken.line }),
      message: `${broken ? `line ${broken.line}` : 'a line'} is no UTF-8 text: systemd drops the whole file without a word to you, logs that value, and ecs-init runs without any of its settings`,
        fix: 'write the line anew in UTF-8 or plain ASCII' }]
  }
  const isSecret = (assignment: string) => /ECS_ENGINE_AUTH_DATA|^["{[]/.test(assignment)
  const covered = lines.some(({ name }) => name !== undefined && /^(?:export\s|\ufeff).*ECS_ENGINE_AUTH_DATA/.test(name))
  if (!covered && [...al2.logged, ...al2023.logged].some(isSecret)) {
    return [{ id: 'secret-in-journal', verdict: 'broken',
      message: 'systemd takes a line with credentials for an assignment with a bad name and logs it, value included, at each start of the ECS agent',
      fix: 'look for "export", a backslash or an open quote at the end of a line before, and for pieces of JSON on lines of their own; mend them, then change the password' }]
  }
  const seen = lines.findLast(({ name }) => name === AUTH_DATA)
  const differs = [al2, al2023].some((reading) => reading.environment.get(AUTH_DATA)?.trim() !== seen?.value.trim())
  if (seen && differs && !/^\s*['"]/.test(seen.value) && readGoJson(seen.value) !== undefined) {
    return [{ id: 'systemd-disagrees', verdict: 'warning', line: seen.line,
      message: `systemd reads ${AUTH_DATA} otherwise than ecs-init does (a backslash in it, or one before it); the ECS agent gets it from ecs-init, so this does no harm`,
        fix: REWRITE_SAME }]
  }
  return []
}

