/**
 * A count and its noun: `1 record`, `2 records`; a plural without a plain `s` is given.
 *
 * @since 0.1.0
 * @category functions
 */
export const plural = (count: number, noun: string, many = `${noun}s`): string =>
  `${count} ${count === 1 ? noun : many}`
