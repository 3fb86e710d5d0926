/** What a terminal is given and a pipe is not: colour, and lines that fit. */
import { stripVTControlCharacters } from 'node:util'

export type Colour = 'green' | 'yellow' | 'red' | 'dim' | 'bold'
export type Paint = (colour: Colour, text: string) => string

type Output = { readonly isTTY?: boolean; readonly columns?: number }

const CODES: Readonly<Record<Colour, number>> = { green: 32, yellow: 33, red: 31, dim: 2, bold: 1 }

/** Colours for a terminal; none elsewhere, with NO_COLOR (no-color.org) or on a dumb one. */
export function painter({ isTTY }: Output, environment: NodeJS.ProcessEnv): Paint {
  return isTTY === true && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb' ? (colour, text) => `\u001b[${CODES[colour]}m${text}\u001b[0m` : plain
}

export const plain: Paint = (_, text) => text

/** @returns undefined where there is no terminal: nothing is wrapped or cut there, so that one answer stays one line for grep */
export function columnsOf({ isTTY, columns }: Output): number | undefined {
  // Some pseudo-terminals say 0 until somebody sets their size.
  return isTTY === true ? columns || 80 : undefined
}

/**
 * Lines of at most `width` columns, broken at spaces. A longer word (an ARN, a URL) stays whole, for copying: the terminal breaks it where it ends. Escape
 * codes take no room. A `fix` is not for here: a command must stay whole as well.
 * @param firstIndent how much of the first line its caller prints
 * @param indent put before every line but the first
 */
export function wrap(text: string, width: number | undefined, firstIndent = 0, indent = firstIndent): string[] {
  if (width === undefined) return [text]
  const lines: string[] = []
  let line: string | undefined
  // Below this there is no text to speak of; the terminal itself may break the line then.
  let room = Math.max(8, width - firstIndent)
  const flush = (): void => {
    lines.push((lines.length === 0 ? line ?? '' : ' '.repeat(indent) + (line ?? '')).trimEnd())
    line = undefined
    room = Math.max(8, width - indent)
  }
  for (const word of text.split(' ')) {
    // What lines columns up is dropped where a line breaks in it, and no line is made of it alone.
    if (line !== undefined && line.trim() !== '' && widthOf(line) + 1 + widthOf(word) > room) flush()
    if (line !== undefined) line = `${line} ${word}`
    else if (word !== '' || lines.length === 0) line = word
  }
  if (line !== undefined) flush()
  return lines
}

/** One line, cut with `…` where it is longer than that. */
export function clip(text: string, columns: number): string {
  const characters = [...text]
  return characters.length <= columns ? text : `${characters.slice(0, Math.max(0, columns - 1)).join('')}…`
}

function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length
}
