const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}

/**
 * `; did you mean X?` for the nearest candidate; empty if none is near.
 *
 * @since 0.1.0
 * @category functions
 */
export const didYouMean = (word: string, candidates: Iterable<string>): string => {
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const d = distance(word, candidate)
    if (d < least) {
      best = candidate
      least = d
    }
  }
  return best === undefined ? "" : `; did you mean ${best}?`
}
