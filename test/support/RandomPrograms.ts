import { Cause, Effect, Exit, FastCheck } from "effect"

// Effects made at random, for properties that compare a way of running many with what Effect itself has for it.

/** What an effect does, one step after the other. */
export type Program =
  | { readonly kind: "succeeds" | "fails" | "dies" | "throws" | "interrupts" }
  | { readonly kind: "sleeps"; readonly ms: number; readonly next: Program }
  | { readonly kind: "yields" | "computes" | "uninterruptible" | "forks"; readonly next: Program }
  | { readonly kind: "ensuring"; readonly ms: number; readonly breaks: boolean; readonly next: Program }

const ms = FastCheck.integer({ min: 0, max: 9 })

/** Programs of some steps. */
export const program: FastCheck.Arbitrary<Program> = FastCheck.letrec<{ program: Program }>((tie) => ({
  program: FastCheck.oneof(
    { depthSize: "small", withCrossShrink: true },
    FastCheck.record({
      kind: FastCheck.constantFrom("succeeds", "succeeds", "fails", "dies", "throws", "interrupts")
    }),
    FastCheck.record({ kind: FastCheck.constant("sleeps"), ms, next: tie("program") }),
    FastCheck.record({
      kind: FastCheck.constantFrom("yields", "computes", "uninterruptible", "forks"),
      next: tie("program")
    }),
    FastCheck.record({
      kind: FastCheck.constant("ensuring"),
      ms,
      breaks: FastCheck.boolean(),
      next: tie("program")
    })
  ) as FastCheck.Arbitrary<Program>
})).program

/** The program as an effect. Its failures and defects are named after `name`, and `raised` is given each as it is raised. */
export const toEffect = (
  self: Program,
  name: string,
  raised: (what: string) => void = () => undefined
): Effect.Effect<string, string> => {
  const raise = (what: string): string => {
    raised(`${name} ${what}`)
    return `${name} ${what}`
  }
  let cleanUps = 0
  const made = (program: Program): Effect.Effect<string, string> => {
    switch (program.kind) {
      case "succeeds":
        return Effect.succeed(name)
      case "fails":
        return Effect.suspend(() => Effect.fail(raise("fails")))
      case "dies":
        return Effect.suspend(() => Effect.die(raise("dies")))
      case "throws":
        return Effect.sync(() => {
          throw raise("throws")
        })
      case "interrupts":
        return Effect.interrupt
      case "sleeps":
        return Effect.zipRight(Effect.sleep(program.ms), made(program.next))
      case "yields":
        return Effect.zipRight(Effect.yieldNow(), made(program.next))
      case "computes":
        return Effect.zipRight(
          Effect.sync(() => cleanUps),
          made(program.next)
        )
      case "uninterruptible":
        return Effect.uninterruptible(made(program.next))
      case "forks":
        return Effect.zipRight(Effect.fork(Effect.interruptible(Effect.never)), made(program.next))
      case "ensuring": {
        const cleanUp = `clean-up ${++cleanUps}`
        return Effect.ensuring(
          made(program.next),
          Effect.zipRight(
            Effect.sleep(program.ms),
            program.breaks ? Effect.suspend(() => Effect.die(raise(cleanUp))) : Effect.void
          )
        )
      }
    }
  }
  return made(self)
}

/** The contents of a cause, by name, sorted; interruptions are one word. */
export const told = (cause: Cause.Cause<unknown>): ReadonlyArray<string> => [
  ...(Cause.isInterrupted(cause) ? ["interrupted"] : []),
  ...failures(cause)
]

/** The failures and defects of a cause, sorted. */
export const failures = (cause: Cause.Cause<unknown>): ReadonlyArray<string> =>
  [...Cause.failures(cause), ...Cause.defects(cause)].map(String).sort()

/** An exit in a form that can be compared: which fiber has interrupted is left out. */
export const comparable = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.match(exit, {
    onSuccess: (value) => ({ value }),
    onFailure: (cause) => ({
      interrupted: Cause.isInterrupted(cause),
      failures: [...Cause.failures(cause)].map(String).sort(),
      defects: [...Cause.defects(cause)].map(String).sort()
    })
  })
