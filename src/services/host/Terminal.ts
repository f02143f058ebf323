import { EventEmitter } from "node:events"
import { emitKeypressEvents, type Key } from "node:readline"
import * as Platform from "@effect/platform/Terminal"
import { Chunk, Effect, Layer, Mailbox, Option, type Scope, Stream } from "effect"
import * as Input from "./Input.js"
import * as Output from "./Output.js"

/** Most characters of a line; a longer line is a defect. */
const longestLine = 16 * 1024 * 1024

/** Milliseconds in which an ESC may still be the start of a longer sequence. */
const escapeTimeout = 50

/** Most keys that are read ahead. */
const keysAhead = 16

const isQuit = ({ key }: Platform.UserInput) => key.ctrl && (key.name === "c" || key.name === "d")

// Standard input as text that is read by lines or by characters, in turns.
const makeReader = (pull: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<Input.InputError>>) => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  const lock = Effect.unsafeMakeSemaphore(1)
  let text = ""
  let searched = 0 // characters without a line end
  let ended = false
  const more = Effect.matchEffect(pull, {
    onSuccess: (chunks) =>
      Effect.sync(() => {
        for (const bytes of chunks) text += decoder.decode(bytes, { stream: true })
      }),
    onFailure: (error) => {
      ended = true
      text += decoder.decode()
      return Option.isSome(error) ? Effect.die(error.value) : Effect.void
    }
  })
  const cut = (end: number, next: number): string => {
    const taken = text.slice(0, end)
    text = text.slice(next)
    searched = 0
    return taken
  }
  const line: Effect.Effect<string, Platform.QuitException> = Effect.suspend(() => {
    const end = text.indexOf("\n", searched)
    if (end >= 0) return Effect.succeed(cut(text[end - 1] === "\r" ? end - 1 : end, end + 1))
    if (ended) {
      return text === "" ? new Platform.QuitException() : Effect.succeed(cut(text.length, text.length))
    }
    searched = text.length
    return searched > longestLine
      ? Effect.dieMessage(`a line of standard input is longer than ${longestLine} characters`)
      : Effect.zipRight(more, line)
  })
  const character: Effect.Effect<string | undefined> = Effect.suspend(() => {
    const code = text.codePointAt(0)
    if (code === undefined) return ended ? Effect.succeed(undefined) : Effect.zipRight(more, character)
    const { length } = String.fromCodePoint(code)
    return Effect.succeed(cut(length, length))
  })
  return {
    line: lock.withPermits(1)(line),
    character: lock.withPermits(1)(character),
    hasText: () => text !== "",
    giveBack: (untaken: string) => {
      text = untaken + text
      searched = 0
    }
  }
}

const make: Effect.Effect<Platform.Terminal, never, Input.Input | Output.Output | Scope.Scope> = Effect.gen(
  function* () {
    const output = yield* Output.Output
    const input = yield* Input.Input
    const reader = makeReader(yield* Stream.toPull(input.stdin))

    let raw = 0
    const setRaw = (more: number) =>
      Effect.sync(() => {
        raw += more
        if (process.stdin.isTTY) process.stdin.setRawMode(raw > 0)
      })

    const readInput = Effect.gen(function* () {
      yield* Effect.acquireRelease(setRaw(1), () => setRaw(-1))
      const mailbox = yield* Mailbox.make<Platform.UserInput>(keysAhead)
      const events = new EventEmitter()
      emitKeypressEvents(
        events as unknown as NodeJS.ReadableStream,
        {
          escapeCodeTimeout: escapeTimeout
        } as never
      )
      const keys: Array<Platform.UserInput> = []
      const sequences = new WeakMap<Platform.UserInput, string>()
      events.on("keypress", (text: string | undefined, key: Key) => {
        const { ctrl = false, meta = false, name = "", shift = false } = key
        const one = { input: Option.fromNullable(text), key: { name, ctrl, meta, shift } }
        sequences.set(one, key.sequence ?? text ?? "")
        keys.push(one)
      })
      // Each complete key; a lone ESC is one after a pause.
      const offerAll = Effect.gen(function* () {
        for (let key = keys[0]; key !== undefined; key = keys[0]) {
          yield* mailbox.offer(key)
          keys.shift()
          if (isQuit(key)) return true
        }
        return false
      })
      const pump = Effect.gen(function* () {
        for (;;) {
          const character = yield* reader.character
          if (character !== undefined) events.emit("data", Buffer.from(character))
          if (keys.length === 0 && !reader.hasText() && (character === undefined || character === "\x1b")) {
            yield* Effect.promise(() => new Promise((done) => setTimeout(done, 2 * escapeTimeout)))
          }
          if ((yield* offerAll) || character === undefined) return
        }
      }).pipe(Effect.ensuring(mailbox.end))
      yield* Effect.addFinalizer(() =>
        Effect.map(Effect.option(mailbox.takeAll), (taken) => {
          const left = Option.match(taken, {
            onNone: () => [],
            onSome: ([all]) => Chunk.toReadonlyArray(all)
          })
          const untaken = new Set([...left, ...keys])
          reader.giveBack(Array.from(untaken, (key) => sequences.get(key) ?? "").join(""))
        })
      )
      yield* Effect.forkScoped(pump)
      return mailbox as Mailbox.ReadonlyMailbox<Platform.UserInput>
    })

    return Platform.Terminal.of({
      columns: Effect.sync(() => process.stdout.columns ?? 0),
      rows: Effect.sync(() => process.stdout.rows ?? 0),
      isTTY: Effect.sync(() => process.stdout.isTTY === true),
      readInput,
      readLine: reader.line,
      display: (text) => Effect.zipRight(output.write(text), output.flushed)
    })
  }
)

/**
 * `@effect/platform`'s `Terminal` for this process, on a pipe or a file as well. Other than the platform's own, `display`
 * keeps its place in the output of `Output`; `readLine` leaves echo and editing to the terminal, loses no line between
 * two calls, and fails with `QuitException` if standard input ends; keys that `readInput` has read and that were not
 * taken when its scope closes go to the next reader.
 *
 * @example
 * ```ts
 * import { Terminal } from "@effect/platform/Terminal"
 * import { Effect, Layer } from "effect"
 * import * as Input from "effect-asyncio/services/Input"
 * import * as Output from "effect-asyncio/services/Output"
 * import * as LiveTerminal from "effect-asyncio/services/Terminal"
 *
 * export const greet = Effect.gen(function* () {
 *   const terminal = yield* Terminal
 *   yield* terminal.display("your name? ")
 *   yield* terminal.display(`hello ${yield* terminal.readLine}\n`)
 * }).pipe(Effect.provide(LiveTerminal.layer), Effect.provide(Layer.merge(Input.layer, Output.layer)))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Platform.Terminal, never, Input.Input | Output.Output> = Layer.scoped(
  Platform.Terminal,
  make
)
