import { type Exit, Scope } from "effect"
import { closedEmpty, thunkOf } from "./internal/fiberRuntime.js"

/**
 * Makes a scope without an effect: for code that makes one for each of many short pieces of work.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unsafeMake: () => Scope.CloseableScope = thunkOf(Scope.make())!

/**
 * Whether the scope has no finalizer; then it is closed from here on, without an effect. Otherwise `Scope.close` is due.
 *
 * @since 0.1.0
 * @category functions
 */
export const unsafeCloseEmpty = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): boolean =>
  closedEmpty(scope, exit)
