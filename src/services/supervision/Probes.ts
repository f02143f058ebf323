import { connect } from "node:net"
import { Context, Data, Effect, Layer } from "effect"

/**
 * A probe was answered with no, or not at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProbeFailed extends Data.TaggedError("ProbeFailed")<{
  /** The target of the probe: a URL, `port 5432`. */
  readonly asked: string
  readonly detail: string
}> {
  override get message() {
    return `${this.asked}: ${this.detail}`
  }
}

/**
 * Checks whether a server answers. Each method asks once, and waits for the answer without a time limit.
 *
 * @since 0.1.0
 * @category services
 */
export class Probes extends Context.Tag("effect-asyncio/services/Probes")<
  Probes,
  {
    /** Succeeds when the URL answers with a status below 400; redirects are not followed. */
    readonly http: (url: string) => Effect.Effect<void, ProbeFailed>
    /** Succeeds when the TCP port accepts a connection. The host defaults to this machine. */
    readonly port: (port: number, host?: string) => Effect.Effect<void, ProbeFailed>
  }
>() {}

// The error of fetch names the reason only in its causes.
const detailOf = (error: unknown): string => {
  const cause = (error as { cause?: unknown }).cause
  if (cause !== undefined) return detailOf(cause)
  const { code, message } = error as NodeJS.ErrnoException
  return code === "ECONNREFUSED" ? "connection refused" : ((message || code) ?? String(error))
}

/**
 * Probes over the network, by `fetch` and by TCP connections.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Probes> = Layer.succeed(Probes, {
  http: (url) =>
    Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { signal, redirect: "manual" })
        await response.body?.cancel()
        return response.status
      },
      catch: (error) => new ProbeFailed({ asked: url, detail: detailOf(error) })
    }).pipe(
      Effect.filterOrFail(
        (status) => status < 400,
        (status) => new ProbeFailed({ asked: url, detail: `status ${status}` })
      ),
      Effect.asVoid
    ),
  port: (port, host = "localhost") =>
    Effect.async((resume) => {
      const asked = host === "localhost" ? `port ${port}` : `${host}:${port}`
      // Tries both addresses of localhost, because servers listen on either.
      const socket = connect({ port, host, autoSelectFamily: true })
      socket.on("connect", () => {
        socket.destroy()
        resume(Effect.void)
      })
      socket.on("error", (error: NodeJS.ErrnoException) => {
        const first = (error as { errors?: ReadonlyArray<Error> }).errors?.[0] ?? error
        resume(new ProbeFailed({ asked, detail: detailOf(first) }))
      })
      return Effect.sync(() => socket.destroy())
    })
})

/**
 * Answers from the given functions: true is an answer, false is a refused connection. A probe without a function fails.
 *
 * @example
 * ```ts
 * import { Clock, Effect } from "effect"
 * import * as Probes from "effect-asyncio/services/Probes"
 *
 * // answers from the third second on
 * export const layer = Probes.layerTest({
 *   port: (port) => Effect.map(Clock.currentTimeMillis, (now) => port === 5432 && now >= 3000)
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (answers: {
  readonly http?: (url: string) => Effect.Effect<boolean>
  readonly port?: (port: number, host?: string) => Effect.Effect<boolean>
}): Layer.Layer<Probes> => {
  const ask = (asked: string, answer: Effect.Effect<boolean> = Effect.succeed(false)) =>
    Effect.filterOrFail(
      answer,
      (there) => there,
      () => new ProbeFailed({ asked, detail: "connection refused" })
    ).pipe(Effect.asVoid)
  return Layer.succeed(Probes, {
    http: (url) => ask(url, answers.http?.(url)),
    port: (port, host) => ask(`port ${port}`, answers.port?.(port, host))
  })
}
