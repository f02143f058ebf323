import { Effect } from "effect"

/** A flag that one fiber waits for; to set it again while it is set changes nothing. */
export const makeSignal = () => {
  let isSet = false
  let resume: (() => void) | undefined
  return {
    set: () => {
      isSet = true
      resume?.()
    },
    wait: Effect.async<void>((done) => {
      const over = () => {
        isSet = false
        resume = undefined
        done(Effect.void)
      }
      if (isSet) return over()
      resume = over
      return Effect.sync(() => {
        resume = undefined
      })
    })
  }
}

/** Whether less than so many milliseconds have passed since then, by the monotonic clock. */
export const isEarly = (since: number, ms: number): boolean => performance.now() - since < ms
