import { inspect } from 'node:util'

/**
 * A value that must not be shown. It prints as `[redacted]` in a template, in JSON and under `inspect`, so a careless log line shows
 * that and no more. `reveal()` is the only way in: it belongs where a value is parsed, compared or written, nowhere else.
 */
export class Redacted<T> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  reveal(): T {
    return this.#value
  }

  toString(): string {
    return '[redacted]'
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return '[redacted]'
  }
}
