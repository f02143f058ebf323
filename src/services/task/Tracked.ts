import { fileURLToPath } from "node:url"
import { Data, Effect, Fiber, FiberRef, Function as Fn, GlobalValue, Option } from "effect"

/**
 * A place in a source file; lines and columns count from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Site {
  readonly file: string
  readonly line: number
  readonly column: number
}

/**
 * An effect that was made inside {@link tracking} and never run, with the place where it was made, if it is known.
 *
 * @since 0.1.0
 * @category models
 */
export class NeverRunWarning extends Data.TaggedClass("NeverRunWarning")<{
  readonly name: string
  readonly site: Option.Option<Site>
}> {
  get message() {
    const where = Option.match(this.site, {
      onNone: () => "",
      onSome: ({ file, line }) => ` at ${file}:${line}`
    })
    return `NeverRunWarning: effect '${this.name}' was made${where} and never run`
  }
}

// A stack is captured for each effect made and turned into text only for those that are reported.
interface Made {
  readonly name: string
  readonly trace: { readonly stack?: unknown }
}

// One FiberRef per process, even if a user's file loads a second copy of this module.
const made = GlobalValue.globalValue("effect-asyncio/services/Tracked/made", () =>
  FiberRef.unsafeMake<Set<Made> | undefined>(undefined)
)

// A program may format stacks its own way (Error.prepareStackTrace); then the place is unknown.
const siteOf = (stack: unknown): Option.Option<Site> => {
  for (const frame of typeof stack === "string" ? stack.split("\n").slice(1) : []) {
    const match = /\(?((?:file:\/\/)?[^()\s][^()]*):(\d+):(\d+)\)?$/.exec(
      frame.replace(/^\s*at (async )?/, "")
    )
    // Skip frames of Effect and Node, which call back into the code that made the effect.
    if (match === null || /^node:|\/node_modules\/effect\//.test(match[1]!)) continue
    const file = match[1]!.startsWith("file://") ? fileURLToPath(match[1]!) : match[1]!
    return Option.some({ file, line: Number(match[2]), column: Number(match[3]) })
  }
  return Option.none()
}

type Body<Args extends ReadonlyArray<any>, A, E, R> = (...args: Args) => Effect.Effect<A, E, R>

const track = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  caller: (...args: Array<any>) => unknown
): Effect.Effect<A, E, R> => {
  const set = Option.getOrUndefined(Fiber.getCurrentFiber())?.getFiberRef(made)
  if (set === undefined) return effect
  const trace = {}
  Error.captureStackTrace(trace, caller)
  const one: Made = { name, trace }
  set.add(one)
  return Effect.suspend(() => {
    set.delete(one)
    return effect
  })
}

/**
 * Names an effect, so that {@link tracking} reports it when it is made and never run; each call of a function makes one
 * (Python's `async def`). Outside of `tracking`, and in code that no fiber runs, the effect is returned unchanged.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import * as Tracked from "effect-asyncio/services/Tracked"
 *
 * const save = Tracked.tracked("save", (text: string) => Effect.log(`saving ${text}`))
 *
 * export const program = Tracked.tracking(
 *   Effect.gen(function* () {
 *     yield* save("one")
 *     const forgotten = save("two")
 *     return typeof forgotten
 *   })
 * ) // logs: NeverRunWarning: effect 'save' was made at FILE:9 and never run
 * ```
 *
 * @since 0.1.0
 * @category effects
 */
export const tracked: {
  <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
  <Args extends ReadonlyArray<any>, A, E, R>(
    name: string,
    body: Body<Args, A, E, R>
  ): (...args: Args) => Effect.Effect<A, E, R>
} = (name: string, what: Effect.Effect<any, any, any> | Body<Array<any>, any, any, any>): any => {
  // A Tag is a class and an effect.
  if (Effect.isEffect(what)) return track(name, what, tracked)
  const body = what as Body<Array<any>, any, any, any>
  const make = (...args: Array<any>) => track(name, body(...args), make)
  return make
}

/**
 * Settings of {@link tracking}.
 *
 * @since 0.1.0
 * @category options
 */
export interface TrackingOptions<R = never> {
  /** Called for each effect that was made and never run, in the order in which they were made. Default: logs a warning. */
  readonly report?: (warning: NeverRunWarning) => Effect.Effect<void, never, R>
}

const warn = (warning: NeverRunWarning): Effect.Effect<void> => Effect.logWarning(warning.message)

/**
 * The effects of the innermost {@link tracking} that have not run so far, in the order in which they were made.
 *
 * @since 0.1.0
 * @category effects
 */
export const neverRun: Effect.Effect<ReadonlyArray<NeverRunWarning>> = Effect.map(FiberRef.get(made), (set) =>
  Array.from(set ?? [], ({ name, trace }) => new NeverRunWarning({ name, site: siteOf(trace.stack) }))
)

/**
 * Runs the effect and reports at its end the {@link tracked} effects that were made in it and never started, as Python
 * warns of a coroutine that was never awaited. An effect that has started once is not reported; an effect that is made in
 * a nested `tracking` is reported by that one.
 *
 * @since 0.1.0
 * @category effects
 */
export const tracking: {
  <R2 = never>(
    options?: TrackingOptions<R2>
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R2>
  <A, E, R, R2 = never>(
    effect: Effect.Effect<A, E, R>,
    options?: TrackingOptions<R2>
  ): Effect.Effect<A, E, R | R2>
} = Fn.dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, R2 = never>(effect: Effect.Effect<A, E, R>, options?: TrackingOptions<R2>) =>
    Effect.suspend(() => {
      const report: (warning: NeverRunWarning) => Effect.Effect<void, never, R2> = options?.report ?? warn
      const reported = Effect.flatMap(neverRun, (warnings) =>
        Effect.forEach(warnings, report, { discard: true })
      )
      return Effect.locally(Effect.ensuring(effect, reported), made, new Set())
    })
)
