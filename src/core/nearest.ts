/** `; did you mean X?` for the candidate nearest to a mistyped name, or an empty string where none is near. */
export function nearest(name: string, candidates: readonly string[]): string {
  const [best] = candidates
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance)
  return best && best.distance <= Math.max(2, name.length / 3) ? `; did you mean ${best.candidate}?` : ''
}

/** Levenshtein's. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, charA] of [...a].entries()) {
    const row = [i + 1]
    for (const [j, charB] of [...b].entries()) {
      row.push(Math.min((row[j] ?? 0) + 1, (previous[j + 1] ?? 0) + 1, (previous[j] ?? 0) + (charA === charB ? 0 : 1)))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}
