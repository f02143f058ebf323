import { Context, type Duration, type Fiber, FiberRef, GlobalValue, HashMap, Option, Tracer } from "effect"
import type { Order } from "./protocol.js"
import { crossesSafely, textOf } from "./task.js"

// The settings of a job and the context that is sent to its thread, both from the requesting fiber.

export type AnyFiber = Fiber.RuntimeFiber<any, any>

/** Settings of the jobs that a fiber requests. */
export interface Settings {
  readonly timeout: Duration.Duration | undefined
  readonly refs: Readonly<Record<string, FiberRef.FiberRef<any>>>
}

export const settings: FiberRef.FiberRef<Settings> = GlobalValue.globalValue(
  "effect-asyncio/services/Executor/settings",
  () => FiberRef.unsafeMake<Settings>({ timeout: undefined, refs: {} })
)

/** The context that is sent with a job; undefined if it is empty. */
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
