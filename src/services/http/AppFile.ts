import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect, Layer, type Scope } from "effect"
import * as Modules from "../source/Modules.js"

/**
 * An app of whose services and failures nothing is known before it runs.
 *
 * @since 0.1.0
 * @category models
 */
export type AnyApp = HttpApp.Default<unknown, Scope.Scope>

type WebHandler = (request: Request) => Response | Promise<Response>

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const describe = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Layer.isLayer(value)) return "a Layer (of an HttpApi export HttpApiBuilder.toWebHandler)"
  if (typeof value === "object") return Array.isArray(value) ? "an array" : "an object"
  return `a ${typeof value}`
}

const expected = "expected an HttpApp, an HttpRouter, or an object with fetch(request)"

/** The handler of `{ fetch }`, as Bun, Deno and Workers have it, or of `HttpApiBuilder.toWebHandler`. */
const webHandler = (value: unknown): WebHandler | undefined => {
  if (!isRecord(value)) return undefined
  const { fetch, handler } = value
  return (
    typeof fetch === "function" ? fetch.bind(value) : typeof handler === "function" ? handler : undefined
  ) as WebHandler | undefined
}

/** An effect that answers with something else is a program, which shows only when it runs. */
const checked = (app: AnyApp, found: Modules.Export): AnyApp =>
  Effect.flatMap(app, (response: unknown) =>
    HttpServerResponse.isServerResponse(response)
      ? Effect.succeed(response)
      : Effect.dieMessage(
          `${found.file}: export '${found.name}' answered with ${describe(response)}; expected an HttpServerResponse`
        )
  )

/**
 * The app that an export of a file is: an `HttpApp` or an `HttpRouter` is itself; an object with a function `fetch` (or
 * `handler`, as `HttpApp.toWebHandler` and `HttpApiBuilder.toWebHandler` return it) is called with web requests. Fails with
 * `ModuleError`, reason `"NotProgram"`, for anything else.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromExport = (found: Modules.Export): Effect.Effect<AnyApp, Modules.ModuleError> => {
  const { file, name, value } = found
  if (HttpServerResponse.isServerResponse(value)) return Effect.succeed(Effect.succeed(value))
  if (Effect.isEffect(value) && !Layer.isLayer(value)) return Effect.succeed(checked(value as AnyApp, found))
  const handler = webHandler(value)
  if (handler !== undefined)
    return Effect.succeed(HttpApp.fromWebHandler(async (request) => handler(request)))
  return Effect.fail(
    new Modules.ModuleError({
      reason: "NotProgram",
      file,
      message: `${file}: export '${name}' is ${describe(value)}; ${expected}`
    })
  )
}

/**
 * The app in a file: its export of this name, or else `default` or `app`. Fails with `ModuleError` and `ModuleThrew`.
 *
 * @since 0.1.0
 * @category effects
 */
export const load = (
  file: string,
  exportName?: string
): Effect.Effect<AnyApp, Modules.ModuleError | Modules.ModuleThrew, Modules.Modules> =>
  Effect.flatMap(Modules.Modules, (modules) =>
    Effect.flatMap(
      modules.load(file, exportName === undefined ? ["default", "app"] : [exportName]),
      fromExport
    )
  )
