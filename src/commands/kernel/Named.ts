import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Platform from "@effect/platform/Command"
import { Clock, Effect, Either, Option, Stream } from "effect"
import { UsageError } from "../../services/host/ExitCodes.js"
import * as Input from "../../services/host/Input.js"
import * as Output from "../../services/host/Output.js"
import * as CommandText from "../../services/process/CommandText.js"
import * as Executables from "../../services/process/Executables.js"
import * as Procfile from "../../services/supervision/Procfile.js"
import * as StartOrder from "../../services/supervision/StartOrder.js"
import { formatDuration } from "../../services/text/Durations.js"
import * as LinePrefix from "./LinePrefix.js"
import type * as Screen from "./Screen.js"
import * as Values from "./Values.js"

// Shared by `aio tasks` and `aio long-running`: named commands, and output lines with a prefix.

const placeholders = ["name", "index", "pid", "time"] as const
type Placeholder = (typeof placeholders)[number]

const prefix = Values.parsed("prefix", (text): Either.Either<string, string> => {
  const unknown = [...text.matchAll(/\{(\w*)\}/g)].find(
    ([, word]) => !placeholders.includes(word as Placeholder)
  )
  return unknown === undefined
    ? Either.right(text)
    : Either.left(
        `'${text}': unknown placeholder ${unknown[0]}; expected ${placeholders.map((word) => `{${word}}`).join(", ")}`
      )
})

export const words = Args.text({ name: "NAME='command'" }).pipe(
  Args.withDescription("a name and the shell command to run under it"),
  Args.repeated
)

/** An option for all commands, or for one after its name: `always`, `web:always`. */
export const scoped = (name: string, value: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(`[NAME:]${value}`),
    Options.withDescription(description),
    Options.repeated
  )

export const options = {
  file: Options.text("file").pipe(
    Options.withAlias("f"),
    Options.withPseudoName("file"),
    Options.withDescription("read commands from a Procfile with NAME: COMMAND lines; - is standard input"),
    Options.optional
  ),
  after: Options.text("after").pipe(Options.withPseudoName("NAME:OTHER[,OTHER]"), Options.repeated),
  grace: Values.duration("grace").pipe(
    Options.withDescription("grace period from the stop signal to KILL; default 5s"),
    Options.optional
  ),
  stopSignal: scoped("stop-signal", "SIGNAL", "the signal that asks a command to end; default TERM"),
  prefix: prefix.pipe(
    Options.withPseudoName("template"),
    Options.withDescription(
      "prefix of each output line, from {name} {index} {pid} {time}; default '{name} | '"
    ),
    Options.withDefault("{name} | ")
  ),
  raw: Options.boolean("raw").pipe(Options.withDescription("output lines without a prefix")),
  timestamps: Options.boolean("timestamps").pipe(
    Options.withDescription("put the time before each output line")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout")),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no notes or summary on stderr")
  )
}

/** How to give commands, for messages. */
export const missing = "write NAME='COMMAND', or -f PROCFILE"

/** Parses the words, the Procfile and the options of named commands. Fails before anything has run. */
export const read = (
  called: string,
  config: {
    readonly words: ReadonlyArray<string>
    readonly file: Option.Option<string>
    readonly after: ReadonlyArray<string>
    readonly stopSignal: ReadonlyArray<string>
  }
) =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const usage = (error: { readonly message: string }) =>
      new UsageError({ message: `${called}: ${error.message}` })
    const file = Option.isNone(config.file)
      ? undefined
      : {
          path: config.file.value === "-" ? "standard input" : config.file.value,
          text: yield* input
            .open(config.file.value)
            .pipe(Stream.decodeText(), Stream.mkString, Effect.mapError(usage))
        }
    const entries = yield* Effect.mapError(Procfile.read(config.words, file), usage)
    if (entries.length === 0) {
      return yield* usage({ message: `${file?.path} has no commands; expected NAME: COMMAND lines` })
    }
    const names = entries.map(({ name }) => name)
    const after = yield* Effect.mapError(StartOrder.parse(config.after, names), (problem) =>
      usage({ message: `option --after: ${problem}` })
    )
    const stopSignals = yield* assign(called, names, [["stop-signal", config.stopSignal, Values.parseSignal]])
    yield* check(entries, after)
    return { entries, names, after, stopSignals }
  })

/** The values by name of options for all or for one command; a value with a name wins over one for all. */
export const assign = <A>(
  called: string,
  names: ReadonlyArray<string>,
  given: ReadonlyArray<readonly [option: string, words: ReadonlyArray<string>, parse: Values.Parse<A>]>
): Either.Either<ReadonlyMap<string, A>, UsageError> =>
  Either.gen(function* () {
    const own = new Map<string, readonly [string, A]>()
    const all = new Map<string, readonly [string, A]>()
    for (const [option, words, parse] of given) {
      for (const word of words) {
        const name = names.find((name) => word.startsWith(`${name}:`))
        const fail = (problem: string) =>
          new UsageError({ message: `${called}: option --${option}: ${problem}` })
        const [, other] = /^([A-Za-z0-9_][A-Za-z0-9_.-]*):/.exec(word) ?? []
        const value = yield* Either.mapLeft(
          parse(name === undefined ? word : word.slice(name.length + 1)),
          (problem) =>
            fail(
              name !== undefined || other === undefined
                ? problem
                : `${problem}; and '${other}' is not one of the names ${names.join(", ")}`
            )
        )
        for (const one of name === undefined ? names : [name]) {
          const target = name === undefined ? all : own
          const before = target.get(one)
          if (before !== undefined) {
            const both = before[0] === option ? `is given twice` : `cannot be combined with --${before[0]}`
            return yield* Either.left(fail(`${both} for ${one}; give one`))
          }
          target.set(one, [option, value])
        }
      }
    }
    return new Map([...all, ...own].map(([name, [, value]]) => [name, value]))
  })

// Only a plain first word is looked up on the PATH: an assignment, a bracket or a quote is left to the shell, and so are
// its builtins and keywords.
const simple = /^[A-Za-z0-9_./+-]+(?=\s|$)/
const builtins = new Set(
  "alias bg break case cd command continue do done echo elif else esac eval exec exit export false fc fg fi for function getopts hash if jobs kill let local printf pwd read readonly return set shift source test then time times trap true type ulimit umask unalias unset until wait while .".split(
    " "
  )
)

/** Fails when the program of a command does not exist, except for commands that start after others, which may build it. */
const check = (entries: ReadonlyArray<Procfile.Entry>, after: StartOrder.StartOrder) =>
  Effect.forEach(
    entries,
    ({ command, name }) => {
      const [word = ""] = simple.exec(command) ?? []
      return word === "" || builtins.has(word) || after.has(name) || /[;&|]/.test(command)
        ? Effect.void
        : Executables.check(Platform.make(word))
    },
    { discard: true }
  )

/** A shell command whose output is piped to this process; `colors` keeps the colours that the pipe would switch off. */
export const shell = (command: string, colors: boolean): Platform.Command =>
  Platform.env(CommandText.shell(command), colors ? { FORCE_COLOR: process.env["FORCE_COLOR"] ?? "1" } : {})

const colors = [36, 33, 35, 32, 34, 96, 93, 95, 92, 94]

const timeOfDay = (ms: number): string => {
  const date = new Date(ms)
  const two = (n: number) => String(n).padStart(2, "0")
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")
  return `${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`
}

/** Writes output lines of several commands, each with its prefix and colour, never mixing two commands in one line. */
export const printer = (
  names: ReadonlyArray<string>,
  config: { readonly prefix: string; readonly raw: boolean; readonly timestamps: boolean },
  screen?: Screen.Screen
) =>
  Effect.map(Output.Output, (output) => {
    const width = Math.max(...names.map((name) => name.length))
    const pids = new Map<string, number>()
    const template = `${config.timestamps ? "{time} " : ""}${config.raw ? "" : config.prefix}`
    const tag = (name: string, colored: boolean, now: number): Buffer => {
      const index = names.indexOf(name)
      const values: Record<Placeholder, string> = {
        name: name.padEnd(width),
        index: String(index + 1),
        pid: String(pids.get(name) ?? ""),
        time: timeOfDay(now)
      }
      const text = template.replace(/\{(\w+)\}/g, (_, word: Placeholder) => values[word])
      return Buffer.from(colored ? `\x1b[${colors[index % colors.length]}m${text}\x1b[0m` : text)
    }
    // A raw line may be left open: another command's output begins a new line.
    const open: { stdout?: string; stderr?: string } = {}
    const raw = (name: string, stream: "stdout" | "stderr", bytes: Uint8Array): Uint8Array => {
      const other = open[stream] !== undefined && open[stream] !== name
      if (bytes.at(-1) === 10) delete open[stream]
      else open[stream] = name
      return other ? Buffer.concat([Buffer.from("\n"), bytes]) : bytes
    }
    const lineEnd = Buffer.from("\n")
    return {
      started: (name: string, pid: number) => {
        pids.set(name, pid)
      },
      /** Takes whole lines, as `Lines.whole` gives them. */
      lines: (name: string, stream: "stdout" | "stderr", bytes: Uint8Array): Effect.Effect<void> =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const whole = bytes.at(-1) === 10 ? bytes : Buffer.concat([bytes, lineEnd])
          const shown =
            template === ""
              ? raw(name, stream, bytes)
              : LinePrefix.before(whole, tag(name, output[stream].colors, now), { open: false })
          // Lines go above the table when both are on one terminal.
          if (screen !== undefined && output[stream].interactive) {
            return Effect.sync(() => screen.log(new TextDecoder().decode(shown).replace(/\n$/, "")))
          }
          const write = stream === "stdout" ? output.write(shown) : output.writeError(shown)
          return Effect.zipRight(write, output.drained)
        })
    }
  })

/** The note on a process that was asked to end and has not ended yet. */
export const lingering = (event: { readonly name: string; readonly pid: number; readonly left: number }) =>
  `waiting for ${event.name} (pid ${event.pid}), which is killed in ${formatDuration(event.left)}`

/** The NDJSON line of an event, with output bytes as text. */
export const eventLine = ({
  event,
  ...fields
}: {
  readonly event: string
  readonly bytes?: Uint8Array
}): string => {
  const { bytes, ...others } = fields
  const text = bytes === undefined ? {} : { text: new TextDecoder().decode(bytes) }
  return Output.eventLine(event, { ...others, ...text })
}
