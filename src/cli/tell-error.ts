import type { ServiceError } from '../errors.js'
import { columnsOf, painter, wrap } from '../terminal.js'
import type { CommandContext } from './command.js'

/** An error for a person: what went wrong, the fix on a line of its own, the code to look up. */
export function tellError(error: ServiceError, { stderr, environment }: Pick<CommandContext, 'stderr' | 'environment'>): void {
  const [paint, columns] = [painter(stderr, environment), columnsOf(stderr)]
  const { fix } = error.details
  const [first = '', ...more] = error.message.split('\n')
  const lines = [
    ...wrap(`${paint('red', 'ecs-regcred')}: ${first}`, columns, 0, 2),
    ...more.flatMap((line) => wrap(`  ${line}`, columns, 0, 4)),
    // Whole, for copying: the terminal may break it where it ends.
    ...(fix === undefined ? [] : [`  ${paint('bold', 'fix')}: ${fix.replaceAll(/\n/g, '\n    ')}`]),
    ...wrap(paint('dim', `  (${error.code}, exit status ${error.exitCode})`), columns, 0, 2),
  ]
  stderr.write(`${lines.join('\n')}\n`)
}
