export const next = (n) => n + 1
export const nap = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const burn = (n) => {
  let x = n
  for (let i = 0; i < 100_000_000; i++) x = (x * 31 + i) | 0
  return x
}
