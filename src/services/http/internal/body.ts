import type { IncomingMessage } from "node:http"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import { Chunk, Effect, Option, Stream } from "effect"
import { type Body, BodyTooLarge } from "./serverRequest.js"

type Failure = HttpServerError.RequestError
type Resume = (effect: Effect.Effect<Uint8Array, Failure>) => void

/** The body of a request over node:http, read when it is asked for. */
export class NodeBody implements Body {
  private result: Effect.Effect<Uint8Array, Failure> | undefined = undefined
  private waiting: Array<Resume> | undefined = undefined
  /** Whether a part of the body was refused: the connection cannot serve another request. */
  refused = false

  constructor(
    private readonly request: HttpServerRequest,
    private readonly source: IncomingMessage,
    private readonly onTooLarge: () => void
  ) {}

  private tooLarge(most: number): Failure {
    this.refused = true
    this.onTooLarge()
    return new BodyTooLarge({
      request: this.request,
      reason: "Decode",
      description: `the body is larger than ${most} bytes`
    })
  }

  private cutOff(cause?: unknown): Failure {
    return new HttpServerError.RequestError({
      request: this.request,
      reason: "Transport",
      description: "the body was cut off",
      cause
    })
  }

  bytes(most: number): Effect.Effect<Uint8Array, Failure> {
    return Effect.async((resume) => {
      if (this.result !== undefined) return resume(this.result)
      if (this.waiting === undefined) {
        this.waiting = []
        this.read(most)
      }
      this.waiting.push(resume)
      return Effect.sync(() => {
        this.waiting = this.waiting?.filter((one) => one !== resume)
      })
    })
  }

  private read(most: number) {
    const { source } = this
    const chunks: Array<Buffer> = []
    let size = 0
    const end = (result: Effect.Effect<Uint8Array, Failure>) => {
      if (this.result !== undefined) return
      this.result = result
      source.off("data", onData).off("end", onEnd).off("close", onClose).off("error", onError)
      for (const resume of this.waiting ?? []) resume(result)
      this.waiting = undefined
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= most) return void chunks.push(chunk)
      end(Effect.fail(this.tooLarge(most)))
    }
    const onEnd = () => end(Effect.succeed(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)))
    const onClose = () => end(Effect.fail(this.cutOff()))
    const onError = (cause: unknown) => end(Effect.fail(this.cutOff(cause)))
    source.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onError)
    if (source.readableEnded || source.destroyed) onClose()
  }

  stream(most: number): Stream.Stream<Uint8Array, Failure> {
    return Stream.suspend(() => {
      if (this.result !== undefined || this.waiting !== undefined) return Stream.fromEffect(this.bytes(most))
      const { source } = this
      let size = 0
      let failure: Failure | undefined
      let wake: (() => void) | undefined
      const onChange = () => wake?.()
      const onError = (cause: unknown) => {
        failure ??= this.cutOff(cause)
        wake?.()
      }
      const pull = Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<Failure>>((resume) => {
        const look = () => {
          if (failure !== undefined) return resume(Effect.fail(Option.some(failure)))
          const chunk: Buffer | null = source.read()
          if (chunk !== null) {
            size += chunk.length
            if (size <= most) return resume(Effect.succeed(Chunk.of<Uint8Array>(chunk)))
            failure = this.tooLarge(most)
            return resume(Effect.fail(Option.some(failure)))
          }
          if (source.readableEnded) return resume(Effect.fail(Option.none()))
          if (source.destroyed) return resume(Effect.fail(Option.some(this.cutOff())))
          wake = () => {
            wake = undefined
            look()
          }
        }
        look()
        return Effect.sync(() => {
          wake = undefined
        })
      })
      source.on("readable", onChange).on("end", onChange).on("close", onChange).on("error", onError)
      return Stream.ensuring(
        Stream.repeatEffectChunkOption(pull),
        Effect.sync(() =>
          source.off("readable", onChange).off("end", onChange).off("close", onChange).off("error", onError)
        )
      )
    })
  }
}
