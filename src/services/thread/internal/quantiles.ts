// Quantiles of any number of times in bounded memory: times are counted in classes of 2 %.

/** Milliseconds, rounded to microseconds. */
export const rounded = (ms: number): number => Math.round(ms * 1000) / 1000

/** Counts times in milliseconds. */
export const make = () => {
  const counts = new Map<number, number>()
  let total = 0
  return {
    add: (ms: number) => {
      const key = Math.round(Math.log(Math.max(ms, 1e-4)) / Math.log(1.02))
      counts.set(key, (counts.get(key) ?? 0) + 1)
      total++
    },
    quantiles: () => {
      const sorted = [...counts].sort(([a], [b]) => a - b)
      const at = (share: number) => {
        let seen = 0
        for (const [key, count] of sorted) {
          seen += count
          if (seen >= share * total) return rounded(1.02 ** key)
        }
        return 0
      }
      return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
  }
}
