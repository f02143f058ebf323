import { connect } from "node:net"
import { Context, Data, Effect, Layer } from "effect"

/** What was asked is not so, or nobody answered. */
export class ProbeFailed extends Data.TaggedError("ProbeFailed")<{
  /** What was asked, as a person writes it: a URL, `port 5432`. */
  readonly asked: string
  readonly detail: string
}> {
  override get message() {
    return `${this.asked}: ${this.detail}`
  }
}

/** Asks whether somebody is there; each asks once and waits for the answer without a limit of its own. */
export class Probes extends Context.Tag("effect-asyncio/services/Probes")<
  Probes,
  {
    /** Whether the URL is answered with a status below 400; redirects are not followed. */
    readonly http: (url: string) => Effect.Effect<void, ProbeFailed>
    /** Whether somebody takes connections on a TCP port, of this machine unless a host is given. */
    readonly port: (port: number, host?: string) => Effect.Effect<void, ProbeFailed>
  }
>() {}

// fetch hides what happened in its causes.
const detailOf = (error: unknown): string => {
  const cause = (error as { cause?: unknown }).cause
  if (cause !== undefined) return detailOf(cause)
  const { code, message } = error as NodeJS.ErrnoException
  return code === "ECONNREFUSED" ? "nobody listens there" : ((message || code) ?? String(error))
}

/** Asks over the network. */
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
      // Both addresses of localhost are tried: servers listen on either.
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
 * Answers from the given functions: true is an answer, false is none. What is not given is never there.
 *
 * @example
 * ```ts
 * import { Clock, Effect } from "effect"
 * import * as Probes from "effect-asyncio/services/Probes"
 *
 * // there from the third second on
 * export const layer = Probes.layerTest({
 *   port: (port) => Effect.map(Clock.currentTimeMillis, (now) => port === 5432 && now >= 3000)
 * })
 * ```
 */
export const layerTest = (answers: {
  readonly http?: (url: string) => Effect.Effect<boolean>
  readonly port?: (port: number, host?: string) => Effect.Effect<boolean>
}): Layer.Layer<Probes> => {
  const ask = (asked: string, answer: Effect.Effect<boolean> = Effect.succeed(false)) =>
    Effect.filterOrFail(
      answer,
      (there) => there,
      () => new ProbeFailed({ asked, detail: "nobody listens there" })
    ).pipe(Effect.asVoid)
  return Layer.succeed(Probes, {
    http: (url) => ask(url, answers.http?.(url)),
    port: (port, host) => ask(`port ${port}`, answers.port?.(port, host))
  })
}
