import { Cause, Effect, Exit, FastCheck, FiberRef, RuntimeFlags, RuntimeFlagsPatch } from "effect"

// Effects made at random, for properties that compare a way of running many with what Effect itself has for it.

/** What an effect does, one step after the other. */
export type Program =
  | { readonly kind: "succeeds" | "fails" | "dies" | "throws" | "interrupts" }
  | { readonly kind: "sleeps"; readonly ms: number; readonly next: Program }
  | {
      readonly kind: "yields" | "computes" | "uninterruptible" | "forks" | "sets" | "flags"
      readonly next: Program
    }
  | { readonly kind: "nests"; readonly inner: ReadonlyArray<Program>; readonly next: Program }
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
      kind: FastCheck.constantFrom("yields", "computes", "uninterruptible", "forks", "sets", "flags"),
      next: tie("program")
    }),
    FastCheck.record({
      kind: FastCheck.constant("nests"),
      inner: FastCheck.array(tie("program"), { maxLength: 2 }),
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

/** What programs set, and succeed with: an item must not see what another one has set. */
const ref = FiberRef.unsafeMake(0)

/** Runs programs within a program, and waits for the end of all: as what is tried has it, or as Effect has it. */
export type Nest = (
  inner: ReadonlyArray<Effect.Effect<string, string>>
) => Effect.Effect<ReadonlyArray<Exit.Exit<string, string>>>

/** Puts back what the effect sets, for effects that run one after the other in one fiber. */
export const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.getRuntimeFlags, (before) =>
    Effect.locally(effect, ref, 0).pipe(
      Effect.ensuring(
        Effect.flatMap(Effect.getRuntimeFlags, (after) =>
          Effect.patchRuntimeFlags(RuntimeFlags.diff(after, before))
        )
      )
    )
  )

/** Effect's own, except that FiberRefs and flags stay in the item: docs/effect.md names that difference. */
export const stock: Nest = (inner) =>
  Effect.all(
    inner.map((one) => Effect.exit(isolated(one))),
    { concurrency: "unbounded" }
  )

/** The program as an effect. Its failures and defects are named after `name`, and `raised` is given each as it is raised. */
export const toEffect = (
  self: Program,
  name: string,
  raised: (what: string) => void = () => undefined,
  nest: Nest = stock
): Effect.Effect<string, string> => {
  const raise = (what: string): string => {
    raised(`${name} ${what}`)
    return `${name} ${what}`
  }
  let cleanUps = 0
  const made = (program: Program): Effect.Effect<string, string> => {
    switch (program.kind) {
      case "succeeds":
        return Effect.zipWith(FiberRef.get(ref), Effect.getRuntimeFlags, (set, flags) =>
          [name, set, RuntimeFlags.isEnabled(flags, RuntimeFlags.OpSupervision)].join(" ")
        )
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
      case "sets":
        return Effect.zipRight(
          FiberRef.update(ref, (n) => n + 1),
          made(program.next)
        )
      case "flags":
        return Effect.zipRight(
          Effect.patchRuntimeFlags(RuntimeFlagsPatch.enable(RuntimeFlags.OpSupervision)),
          made(program.next)
        )
      case "nests":
        // Its outcomes are values, and what they were is not raised.
        return Effect.zipRight(
          nest(program.inner.map((one) => toEffect(one, name, undefined, nest))),
          made(program.next)
        )
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
