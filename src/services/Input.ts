import { Chunk, Context, Data, Effect, Layer, Option, Stream } from "effect"

/** Standard input could not be read. */
export class InputError extends Data.TaggedError("InputError")<{ readonly detail: string }> {
  override get message() {
    return `cannot read standard input: ${this.detail}`
  }
}

/** What is piped into the program. */
export class Input extends Context.Tag("effect-asyncio/services/Input")<
  Input,
  {
    /** The bytes, as they come and no faster than they are taken; to be run once. */
    readonly stdin: Stream.Stream<Uint8Array, InputError>
    /** Whether a person at a terminal would have to type it. */
    readonly isTerminal: boolean
  }
>() {}

/** The process's own standard input; opened when it is first read. */
export const layer: Layer.Layer<Input> = Layer.sync(Input, () => ({
  // Not Stream.fromAsyncIterable: its interruption waits for the next chunk, which may never come.
  stdin: Stream.repeatEffectChunkOption(
    Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<InputError>>((resume) => {
      const { stdin } = process
      const stop = () => {
        stdin.off("readable", read).off("end", read).off("error", fail)
        stdin.unref?.()
      }
      const fail = (error: Error) => {
        stop()
        resume(Effect.fail(Option.some(new InputError({ detail: error.message }))))
      }
      const read = () => {
        const chunk: Buffer | null = stdin.read()
        if (chunk === null && !stdin.readableEnded && !stdin.destroyed) return
        stop()
        resume(chunk === null ? Effect.fail(Option.none()) : Effect.succeed(Chunk.of(chunk)))
      }
      stdin.ref?.()
      stdin.on("readable", read).on("end", read).on("error", fail)
      read()
      return Effect.sync(stop)
    })
  ),
  isTerminal: process.stdin.isTTY === true
}))

/** Gives this text as standard input. */
export const layerTest = (text: string | Uint8Array): Layer.Layer<Input> =>
  Layer.succeed(Input, {
    stdin: Stream.succeed(typeof text === "string" ? new TextEncoder().encode(text) : text),
    isTerminal: false
  })
