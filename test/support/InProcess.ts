import { Context, Effect, Layer, Logger, Stream } from "effect"
import * as App from "../../src/commands/App.js"
import * as Cli from "../../src/commands/kernel/Cli.js"
import * as Run from "../../src/programs/Run.js"
import * as Input from "../../src/services/host/Input.js"
import * as Output from "../../src/services/host/Output.js"
import * as Signals from "../../src/services/host/Signals.js"
import * as StderrLogger from "../../src/services/task/StderrLogger.js"
import * as Aio from "./Aio.js"

// `aio` within the test's own process: what a process of its own gives, in a tenth of the time. For words, formats,
// policies and summaries. What is about signals, pipes, descriptors, kill or limits starts the built command: see Aio.ts.

type Options = Aio.SpawnOptions & { readonly stdin?: string | Uint8Array }

const collect = () => {
  const decoder = new TextDecoder()
  let text = ""
  return {
    add: (bytes: string | Uint8Array) =>
      Effect.sync(() => {
        text += typeof bytes === "string" ? bytes : decoder.decode(bytes, { stream: true })
      }),
    text: () => text
  }
}

/** Without a text, standard input is /dev/null. */
const input = (stdin: string | Uint8Array = "", source: "none" | "piped" = "piped") =>
  Layer.map(Input.layer, (context) => {
    const files = Context.get(context, Input.Input)
    const text = Stream.succeed(typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin)
    return Context.make(Input.Input, {
      ...files,
      stdin: text,
      isTerminal: false,
      source,
      open: (path) => (path === "-" ? text : files.open(path))
    })
  })

const environment = (options: Options): Record<string, string | undefined> => ({
  PATH: process.env["PATH"],
  HOME: process.env["HOME"],
  ...options.env
})

const runOnce = async (args: ReadonlyArray<string>, options: Options): Promise<Aio.Result> => {
  const stdout = collect()
  const stderr = collect()
  const env = environment(options)
  const output = Output.Output.of({
    print: (line) => stdout.add(`${line}\n`),
    note: (line) => stderr.add(`${line}\n`),
    write: stdout.add,
    writeError: stderr.add,
    drained: Effect.void,
    flushed: Effect.void,
    written: Effect.void,
    stdout: Output.capabilities(false, env),
    stderr: Output.capabilities(false, env)
  })
  const code = await Effect.runPromise(
    Run.supervise(
      Cli.run(App.app, args, env).pipe(
        Effect.provide(
          Layer.merge(App.layer, input(options.stdin, options.stdin === undefined ? "none" : "piped"))
        )
      )
    ).pipe(
      Effect.provide(
        Layer.mergeAll(
          Layer.succeed(Output.Output, output),
          Signals.layerTest,
          Logger.replace(Logger.defaultLogger, StderrLogger.stderr(output, process.cwd()))
        )
      )
    )
  )
  return { code, signal: null, stdout: stdout.text(), stderr: stderr.text() }
}

// The working directory and the environment are the process's: a run that sets them is alone, the others run on
// beside each other. In the order of the calls.
const waiting: Array<{ readonly alone: boolean; readonly start: () => Promise<void> }> = []
let running = 0
let alone = false
const next = () => {
  while (waiting.length > 0 && !alone && (running === 0 || !waiting[0]!.alone)) {
    const { alone: only, start } = waiting.shift()!
    alone = only
    running++
    void start().then(() => {
      alone = false
      running--
      next()
    })
  }
}

let outside = { cwd: process.cwd(), env: process.env }
const enter = (options: Options) => {
  if (running > 1) return
  outside = { cwd: process.cwd(), env: process.env }
  process.env = environment(options)
  if (options.cwd !== undefined) process.chdir(options.cwd)
}
const leave = () => {
  if (running > 1) return
  process.env = outside.env
  process.chdir(outside.cwd)
}

/** {@link Aio.run} without a process of its own, unless a shell is to run it, or Node reads its environment. */
export const run = (args: ReadonlyArray<string>, options: Options = {}): Promise<Aio.Result> => {
  const ofNode = Object.keys(options.env ?? {}).some((name) => name.startsWith("NODE_"))
  if (options.shell !== undefined || options.mute !== undefined || ofNode) return Aio.run(args, options)
  return new Promise((resolve, reject) => {
    const start = async () => {
      try {
        enter(options)
        resolve(await runOnce(args, options))
      } catch (error) {
        reject(error)
      } finally {
        leave()
      }
    }
    waiting.push({ alone: options.cwd !== undefined || options.env !== undefined, start })
    next()
  })
}
