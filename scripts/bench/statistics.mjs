/** Small samples of a noisy machine: the median, and how far the middle half lies apart. */

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const below = sorted[Math.floor(at)] ?? NaN
  return below + ((sorted[Math.ceil(at)] ?? NaN) - below) * (at % 1)
}

export const median = (values) => quantile(values, 0.5)

/** `41.2`, `0.0041`, `1,204`: three digits that mean something. */
export function shown(value) {
  if (!Number.isFinite(value)) return '-'
  if (value === 0) return '0'
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toLocaleString('en', { maximumFractionDigits: Math.min(digits, Math.abs(value) >= 100 ? 0 : 6) })
}

/** `11.8 to 12.4`, the middle half; nothing where there is one value. */
export function spread(values) {
  return values.length < 2 ? '' : `${shown(quantile(values, 0.25))} to ${shown(quantile(values, 0.75))}`
}
