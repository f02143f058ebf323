import { Effect, Layer } from "effect"
import { type Export, ModuleError, Modules, type ModuleThrew } from "./Modules.js"

const describe = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (typeof value === "function") return "a class"
  if (typeof value !== "object") return `a ${typeof value}`
  if (Layer.isLayer(value)) return "a Layer (export Layer.launch of it)"
  if ("~effect/Effect" in value)
    return "an Effect of another major version (expected effect 3.17 or a later 3.x)"
  if (Symbol.iterator in value && "next" in value) return "a generator (export Effect.gen of its function)"
  return Array.isArray(value) ? "an array" : "an object"
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const isClass = (value: object): boolean => /^class\b/.test(Function.prototype.toString.call(value))

const noProgram = (found: Export, what: string) =>
  new ModuleError({
    reason: "NotProgram",
    file: found.file,
    message: `${found.file}: export '${found.name}' ${what}; a program is an Effect, or a function that returns an Effect or a promise`
  })

const fromPromise = (promise: PromiseLike<unknown>): Effect.Effect<unknown, unknown> =>
  Effect.async((resume) => {
    promise.then(
      (value) => resume(Effect.isEffect(value) ? (value as Effect.Effect<unknown, unknown>) : Effect.void),
      (error) => resume(Effect.fail(error))
    )
  })

// An `effect` before 3.17 shares neither references nor services with another copy, and refuses the effects of that copy.
const tooOld = (value: Effect.Effect<unknown, unknown>): string | undefined => {
  const { _V: version } = value[Effect.EffectTypeId]
  const [major, minor] = version.split(".").map(Number)
  return major === 3 && minor! < 17 ? version : undefined
}

/**
 * The program that an export of a file is: an Effect is itself; a function is called, without arguments, and returns an
 * Effect or a promise. A promise is awaited, but its work cannot be cancelled. Fails with `ModuleError`, reason
 * `"NotProgram"`, for anything else. The program's scope, when it needs one, is closed at its end.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromExport = (found: Export): Effect.Effect<unknown, unknown> => {
  const interpret = (value: unknown, verb: string): Effect.Effect<unknown, unknown> => {
    if (isPromise(value)) return fromPromise(value)
    if (!Effect.isEffect(value)) return Effect.fail(noProgram(found, `${verb} ${describe(value)}`))
    const effect = value as Effect.Effect<unknown, unknown>
    const version = tooOld(effect)
    return version === undefined
      ? Effect.scoped(effect)
      : Effect.fail(noProgram(found, `${verb} an Effect of effect ${version} (expected 3.17 or a later 3.x)`))
  }
  return Effect.suspend(() => {
    const { value } = found
    if (Effect.isEffect(value) || typeof value !== "function" || isClass(value)) return interpret(value, "is")
    return interpret(value(), "returned")
  })
}

/**
 * The program in a file: its export of this name, or else `default` or `main`. It uses the services of the context;
 * which ones it needs is not known before it runs. Fails with `ModuleError` and `ModuleThrew`.
 *
 * @since 0.1.0
 * @category effects
 */
export const load = (
  file: string,
  exportName?: string
): Effect.Effect<Effect.Effect<unknown, unknown>, ModuleError | ModuleThrew, Modules> =>
  Effect.flatMap(Modules, (modules) =>
    Effect.map(modules.load(file, exportName === undefined ? undefined : [exportName]), fromExport)
  )
