import { Effect, Either, Layer, Stream } from "effect"
import * as Cli from "../../src/commands/kernel/Cli.js"
import * as Command from "../../src/commands/kernel/Command.js"
import type * as Flag from "../../src/commands/kernel/Flag.js"
import * as Input from "../../src/services/host/Input.js"
import * as Output from "../../src/services/host/Output.js"

// Runs commands that a test makes up through the kernel, without the commands of `aio`.

export interface Ran {
  /** The message of the error, if it failed. */
  readonly error: string | undefined
  readonly exitCode: number
  readonly stdout: string
  /** What handlers were called with. */
  readonly calls: ReadonlyArray<unknown>
}

type Source = Input.Input["Type"]["source"]

const inputOf = (source: Source): Layer.Layer<Input.Input> =>
  Layer.succeed(Input.Input, {
    stdin: Stream.empty,
    isTerminal: source === "terminal",
    source,
    open: () => Stream.empty,
    isOnce: () => Effect.succeed(true)
  })

export const run = async (
  commands: (called: (what: unknown) => void) => ReadonlyArray<Command.Command<Output.Output | Cli.Self>>,
  argv: ReadonlyArray<string>,
  {
    env = {},
    source = "none"
  }: { readonly env?: Readonly<Record<string, string>>; readonly source?: Source } = {}
): Promise<Ran> => {
  const calls: Array<unknown> = []
  const app: Command.App<Output.Output | Cli.Self> = {
    name: "aio",
    version: "1.2.3",
    summary: "made up",
    entries: commands((what) => calls.push(what)).map((command) => ({
      name: command.name,
      summary: command.description.summary,
      load: async () => command
    }))
  }
  return Effect.runPromise(
    Effect.gen(function* () {
      const ended = yield* Effect.either(Cli.run(app, argv, env))
      const { stdout } = yield* Output.Captured
      const error = Either.isLeft(ended) ? (ended.left as { message: string; exitCode?: number }) : undefined
      return {
        error: error?.message,
        exitCode: error === undefined ? 0 : (error.exitCode ?? 1),
        stdout: stdout.join("\n"),
        calls
      }
    }).pipe(Effect.provide(Layer.mergeAll(Output.layerTest, inputOf(source))))
  )
}

/** A command that tells with what it was called. */
export const probe =
  <const F extends Flag.Flags>(
    name: string,
    flags: F,
    operands: "none" | "list" | "mixed",
    more: Parameters<typeof Command.make<F, never, never>>[3] = {}
  ) =>
  (called: (what: unknown) => void): Command.Command<never> =>
    Command.make(
      name,
      { summary: `${name} is made up`, usage: ["[OPTIONS]"], operands, flags },
      (config, words) => Effect.sync(() => called({ config, ...words })),
      more
    )
