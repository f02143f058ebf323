import { Context, type Duration, type Fiber, FiberRef, GlobalValue, HashMap, Option, Tracer } from "effect"
import type { Order } from "./protocol.js"
import { crossesSafely, textOf } from "./task.js"

// What a job takes from the fiber that asks for it: settings, and the context that goes along to its thread.

export type AnyFiber = Fiber.RuntimeFiber<any, any>

/** Settings of the jobs that a fiber asks for. */
export interface Settings {
  readonly timeout: Duration.Duration | undefined
  readonly refs: Readonly<Record<string, FiberRef.FiberRef<any>>>
}

export const settings: FiberRef.FiberRef<Settings> = GlobalValue.globalValue(
  "effect-asyncio/services/Executor/settings",
  () => FiberRef.unsafeMake<Settings>({ timeout: undefined, refs: {} })
)

/** What goes along with a job; undefined where there is nothing. */
export const contextOf = (fiber: AnyFiber): Order["context"] => {
  const annotations = fiber.getFiberRef(FiberRef.currentLogAnnotations)
  const span = Context.getOption(fiber.getFiberRef(FiberRef.currentContext), Tracer.ParentSpan)
  const { refs } = fiber.getFiberRef(settings)
  const names = Object.keys(refs)
  if (HashMap.isEmpty(annotations) && Option.isNone(span) && names.length === 0) return undefined
  return {
    annotations: Object.fromEntries(
      Array.from(HashMap.toEntries(annotations), ([key, value]) => [
        key,
        crossesSafely(value) ? value : textOf(value)
      ])
    ),
    span: Option.getOrUndefined(
      Option.map(span, (span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        sampled: span.sampled,
        name: span._tag === "Span" ? span.name : undefined
      }))
    ),
    refs: Object.fromEntries(names.map((name) => [name, fiber.getFiberRef(refs[name]!)]))
  }
}
