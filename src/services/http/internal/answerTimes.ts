// Quantiles of the times of answers where some requests still wait. Those that were answered alone would look quick on a
// server that answers few: a client that waits for 2 s belongs to the result although it is not known how long it will wait.

/** A quantile; with `atLeast`, so many requests still wait that it is only known not to be lower. */
export interface Quantile {
  /** Milliseconds. */
  readonly ms: number
  readonly atLeast: boolean
}

/**
 * Quantiles by the estimator of Kaplan and Meier, `answered` and `waiting` in milliseconds and in any order; undefined
 * without any. Without waiting requests they are the plain ones.
 */
export const quantiles = (
  answered: ReadonlyArray<number>,
  waiting: ReadonlyArray<number>,
  shares: ReadonlyArray<number>
): ReadonlyArray<Quantile | undefined> => {
  const done = Float64Array.from(answered).sort()
  const open = Float64Array.from(waiting).sort()
  const longest = Math.max(done.at(-1) ?? 0, open.at(-1) ?? 0)
  let left = done.length + open.length
  if (left === 0) return shares.map(() => undefined)
  const found: Array<Quantile> = []
  const ascending = [...shares].sort((a, b) => a - b)
  let survive = 1
  let j = 0
  for (const ms of done) {
    for (; j < open.length && open[j]! < ms; j++) left--
    survive *= (left - 1) / left
    left--
    while (found.length < ascending.length && survive <= 1 - ascending[found.length]! + 1e-9) {
      found.push({ ms, atLeast: false })
    }
  }
  return shares.map((share) => found[ascending.indexOf(share)] ?? { ms: longest, atLeast: true })
}
