import * as Headers from "@effect/platform/Headers"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import { Chunk, Effect, Inspectable, Option, Stream } from "effect"
import { DownloadError, type Downloaded, type Head, type Receiver, type Request, show } from "../Download.js"

// A response as @effect/platform has it, on the callbacks of a transfer.

/** Bytes of a body that wait for their reader before the connection is paused. */
const highWater = 256 * 1024
/** The longest delay of `setTimeout`, in ms; a longer limit is none. */
const longestTimer = 2 ** 31 - 1

/** A body as it arrives: what has arrived and is not yet read, and how it ended. */
class Pieces {
  #pieces: Array<Uint8Array> = []
  #size = 0
  #end: DownloadError | "whole" | undefined
  #reader: (() => void) | undefined
  resume: (() => void) | undefined

  offer(piece: Uint8Array): boolean {
    this.#pieces.push(new Uint8Array(piece))
    this.#size += piece.length
    this.#reader?.()
    return this.#size < highWater
  }
  end(how: DownloadError | "whole") {
    this.#end ??= how
    this.#reader?.()
  }
  /** All that has arrived; fails with none at the end. */
  readonly take: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<DownloadError>> = Effect.async(
    (resume) => {
      const read = () => {
        if (this.#pieces.length > 0) {
          const pieces = Chunk.unsafeFromArray(this.#pieces)
          const paused = this.#size >= highWater
          this.#pieces = []
          this.#size = 0
          resume(Effect.succeed(pieces))
          if (paused) this.resume?.()
        } else if (this.#end === undefined) {
          this.#reader = read
          return
        } else resume(Effect.fail(this.#end === "whole" ? Option.none() : Option.some(this.#end)))
        this.#reader = undefined
      }
      read()
      return Effect.sync(() => {
        this.#reader = undefined
      })
    }
  )
}

/** A session of `Downloader`. */
interface Session {
  readonly start: (
    request: Request,
    callbacks: {
      readonly succeed: (downloaded: Downloaded) => void
      readonly fail: (error: DownloadError) => void
    }
  ) => Effect.Effect<void>
}

/** A response whose head has arrived. */
export interface Received {
  readonly head: Head
  readonly pieces: Pieces
  /** Closes the connection, unless the body has ended. */
  readonly abort: Effect.Effect<void>
  /** Does so after that many milliseconds, and fails the body with that error. */
  readonly closeAfter: (ms: number, error: DownloadError) => void
}

/** Begins a request and waits for its head; interrupting it, or the signal, closes the connection. */
export const receive = (
  session: Session,
  request: Request,
  { signal, ...options }: Pick<Receiver, "onSend" | "refuses"> & { readonly signal?: AbortSignal } = {}
): Effect.Effect<Received, DownloadError> =>
  Effect.async((resume) => {
    const pieces = new Pieces()
    let ended = false
    let timer: NodeJS.Timeout | undefined
    let failed = (error: DownloadError) => resume(Effect.fail(error))
    const close = (error: DownloadError) =>
      Effect.suspend(() => {
        if (ended) return Effect.void
        ended = true
        clearTimeout(timer)
        pieces.end(error)
        return stop
      })
    const abort = close(
      new DownloadError({
        reason: "dropped",
        url: show(request.url),
        detail: "the response was closed before its body was read",
        retryable: false
      })
    )
    const closeAfter: Received["closeAfter"] = (ms, error) => {
      if (!ended && ms <= longestTimer) timer = setTimeout(() => Effect.runFork(close(error)), ms).unref()
    }
    const stop = session.start(
      {
        ...request,
        receiver: {
          ...options,
          head: (head, more) => {
            pieces.resume = more
            failed = (error) => pieces.end(error)
            resume(Effect.succeed({ head, pieces, abort, closeAfter }))
          },
          data: (piece) => pieces.offer(piece)
        }
      },
      {
        succeed: () => {
          ended = true
          clearTimeout(timer)
          pieces.end("whole")
        },
        fail: (error) => {
          ended = true
          clearTimeout(timer)
          failed(error)
        }
      }
    )
    signal?.addEventListener("abort", () => Effect.runFork(abort), { once: true })
    return abort
  })

/** A response; `fault` makes its error of the transfer's. The body is read once; what is read whole is kept. */
export abstract class Incoming<E>
  extends Inspectable.Class
  implements HttpIncomingMessage.HttpIncomingMessage<E>
{
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly remoteAddress = Option.none<string>()
  readonly headers: Headers.Headers
  readonly status: number
  readonly url: URL
  #begun = false
  readonly #received: Received
  #bytes: Effect.Effect<Uint8Array<ArrayBuffer>, E> | undefined

  constructor(received: Received) {
    super()
    this.#received = received
    this.headers = Headers.fromInput(received.head.headers)
    this.status = received.head.status
    this.url = received.head.url
  }

  protected abstract fault(detail: string, error: unknown): E

  toJSON(): unknown {
    const { headers, status, url } = this
    return { _id: "Response", status, url: show(url), headers: Inspectable.redact(headers) }
  }

  get stream(): Stream.Stream<Uint8Array, E> {
    return Stream.suspend(() => {
      if (this.#begun) return Stream.fail(this.fault("its body has been read already", undefined))
      this.#begun = true
      const { abort, pieces } = this.#received
      return Stream.repeatEffectChunkOption(pieces.take).pipe(
        Stream.mapError((error) => this.fault(error.detail, error)),
        Stream.ensuring(abort)
      )
    })
  }

  /** The whole body. */
  get bytes(): Effect.Effect<Uint8Array<ArrayBuffer>, E> {
    this.#bytes ??= Effect.runSync(
      Effect.cached(
        Effect.map(Stream.runCollect(this.stream), (pieces) => {
          const whole = new Uint8Array(Chunk.reduce(pieces, 0, (size, piece) => size + piece.length))
          let at = 0
          for (const piece of pieces) {
            whole.set(piece, at)
            at += piece.length
          }
          return whole
        })
      )
    )
    return this.#bytes
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, E> {
    return Effect.map(this.bytes, ({ buffer }) => buffer)
  }
  get text(): Effect.Effect<string, E> {
    return Effect.map(this.bytes, (bytes) => new TextDecoder().decode(bytes))
  }
  protected decoded<A>(what: string, decode: (text: string) => A): Effect.Effect<A, E> {
    return Effect.tryMap(this.text, {
      try: decode,
      catch: (cause) => this.fault(`its body is not ${what}`, cause)
    })
  }
  get json(): Effect.Effect<unknown, E> {
    return this.decoded("JSON", (text) => (text === "" ? null : JSON.parse(text)))
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, E> {
    return this.decoded("a form", (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }
}

/** A response of `Downloader.response`. */
export class Response extends Incoming<DownloadError> {
  protected override fault(detail: string, error: unknown): DownloadError {
    if (error instanceof DownloadError) return error
    return new DownloadError({ reason: "decode", url: show(this.url), detail, retryable: false })
  }
}
