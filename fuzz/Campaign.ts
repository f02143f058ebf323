import { FastCheck } from "effect"
import { it } from "vitest"

// `npm run fuzz` sets these; without them a campaign runs as a short test.
const seconds = Number(process.env["FUZZ_SECONDS"] ?? 5)
const most = process.env["FUZZ_RUNS"] === undefined ? undefined : Number(process.env["FUZZ_RUNS"])
const seed = process.env["FUZZ_SEED"] === undefined ? undefined : Number(process.env["FUZZ_SEED"])

/**
 * One model that is tried with random input until its time is over. The seed is printed, and a failure prints the
 * smallest input that fails and the path to it: `npm run fuzz -- NAME --seed SEED` repeats the run.
 */
export const campaign = <Ts extends [unknown, ...Array<unknown>]>(
  title: string,
  property: FastCheck.IAsyncPropertyWithHooks<Ts>,
  parameters: FastCheck.Parameters<Ts> = {}
): void => {
  it(
    title,
    async () => {
      const used = seed ?? (Date.now() ^ (Math.random() * 0x100000000)) | 0
      let runs = 0
      let turn = performance.now()
      console.log(`${title}: seed ${used}`)
      const counted = property.beforeEach(async (previous) => {
        runs++
        if (performance.now() - turn > 1000) {
          // Cases that only compute would starve vitest's own messages until they time out.
          await new Promise((resolve) => setImmediate(resolve))
          turn = performance.now()
        }
        await previous()
      }) as FastCheck.IAsyncProperty<Ts>
      const check = (limit: FastCheck.Parameters<Ts>) =>
        FastCheck.assert(counted, {
          ...{ maxSkipsPerRun: 10_000, markInterruptAsFailure: false },
          ...{ ...parameters, ...limit, seed: used }
        })
      if (most !== undefined) await check({ numRuns: most })
      else {
        // However long it takes, one case: a limit that ends before it is a failure of fast-check.
        await check({ numRuns: 1 })
        await check({ numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 })
      }
      if (runs === 0) throw new Error("no case was run")
      console.log(`${title}: ${runs} cases`)
    },
    (most ?? seconds) * 1000 + 600_000
  )
}
