import * as Platform from "@effect/platform/Command"
import { Effect, Either } from "effect"
import * as Output from "../../services/host/Output.js"
import * as CommandText from "../../services/process/CommandText.js"
import * as NpmScripts from "../../services/supervision/NpmScripts.js"
import * as Procfile from "../../services/supervision/Procfile.js"
import * as StartOrder from "../../services/supervision/StartOrder.js"
import { usage } from "./Command.js"
import * as Flag from "./Flag.js"
import * as Flags from "./Flags.js"
import * as Prefixed from "./Prefixed.js"
import * as Reporter from "./Reporter.js"
import * as Values from "./Values.js"

// Shared by `aio tasks` and `aio long-running`: named commands, from words and a Procfile.

/** A value of an option for all commands, or for one after its name. */
export interface Given<A> {
  readonly option: string
  readonly text: string
  readonly parse: Flag.Parse<A>
}

/** An option for all commands, or for one after its name: `always`, `web:always`. A value without a name is checked at once. */
export const perName = <A>(
  name: string,
  value: string,
  text: string,
  parse: Flag.Parse<A>
): Flag.Flag<ReadonlyArray<Given<A>>> =>
  Flag.values(name, {
    value: `[NAME:]${value}`,
    text,
    parse: (given) => {
      const found: Given<A> = { option: name, text: given, parse }
      return nameBefore(given) === undefined ? Either.map(parse(given), () => found) : Either.right(found)
    }
  })

const nameBefore = (text: string): string | undefined => /^([A-Za-z0-9_][A-Za-z0-9_.-]*):/.exec(text)?.[1]

const prefix: Flag.Parse<string> = (text) => {
  const unknown = [...text.matchAll(/\{(\w*)\}/g)].find(
    ([, word]) => !Prefixed.placeholders.some((known) => known === word)
  )
  const known = Prefixed.placeholders.map((word) => `{${word}}`).join(", ")
  return unknown === undefined
    ? Either.right(text)
    : Either.left(`'${text}': unknown placeholder ${unknown[0]}; expected ${known}`)
}

export const flags = {
  file: Flag.withText(
    Flags.named,
    "read commands from a Procfile with NAME: COMMAND lines; - is standard input"
  ),
  grace: Flags.grace("5s"),
  stopSignal: Flag.withText(
    perName("stop-signal", "SIGNAL", "", Values.signal),
    "the signal that asks a command to end",
    "TERM"
  ),
  onFailure: Flags.onFailure(["cancel", "continue"], "cancel"),
  prefix: Flag.withDefault(
    Flag.value("prefix", {
      value: "TEMPLATE",
      text: "prefix of each line of output, from {name} {index} {pid} {time}",
      parse: prefix
    }),
    "{name} | ",
    "'{name} | '"
  ),
  raw: Flag.toggle("raw", "output lines without a prefix"),
  timestamps: Flags.timestamps,
  ...Flags.reporting
}

export const after = (text: string) =>
  Flag.values("after", { value: "NAME:OTHER[,OTHER]", text, parse: Values.text("WEB:DB") })

/** The words of a command with named commands, for its description. */
export const described = {
  usage: ["[OPTIONS] [NAME=]'COMMAND'...", "[OPTIONS] -f PROCFILE"],
  operands: "list",
  arguments: [
    ["NAME='COMMAND'", "a name, and the shell command that runs under it"],
    ["COMMAND", "the same, named after its npm script or its program"],
    [
      "npm:SCRIPT",
      "a script of ./package.json; npm:lint:* all whose names begin so; pnpm, yarn, bun, node too"
    ]
  ]
} as const

/** How to give commands, for messages. */
export const instead = "write [NAME=]'COMMAND', or -f PROCFILE"

type Config = Flag.Values<typeof flags> & { readonly after: ReadonlyArray<string> }

/** The values by name of options for all or for one command; a value with a name wins, and of several the last. */
export const assign = <A>(names: ReadonlyArray<string>, given: ReadonlyArray<Given<A>>) =>
  Effect.gen(function* () {
    const own = new Map<string, readonly [option: string, value: A]>()
    const all = new Map<string, readonly [option: string, value: A]>()
    for (const { option, parse, text } of given) {
      const name = names.find((name) => text.startsWith(`${name}:`))
      const other = nameBefore(text)
      const value = yield* Either.mapLeft(
        parse(name === undefined ? text : text.slice(name.length + 1)),
        (problem) => {
          const more =
            name !== undefined || other === undefined
              ? ""
              : `; and '${other}' is not one of the names ${names.join(", ")}`
          return usage(`option --${option}: ${problem}${more}`)
        }
      )
      const target = name === undefined ? all : own
      for (const one of name === undefined ? names : [name]) {
        const [before = option] = target.get(one) ?? []
        if (before !== option) {
          return yield* usage(`option --${option}: cannot be combined with --${before} for ${one}; give one`)
        }
        target.set(one, [option, value])
      }
    }
    return new Map([...all, ...own].map(([name, [, value]]) => [name, value]))
  })

/** Reads the commands that words and a Procfile name, with their order and stop signals. Fails before anything has run. */
export const read = (config: Config, words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    if (words.length === 0 && config.file === undefined) {
      return yield* usage(`no command is given; ${instead}`)
    }
    const option = words.find((word) => word.startsWith("-"))
    if (option !== undefined) {
      return yield* usage(`'${option}' is not [NAME=]'COMMAND'; options go before the first command`)
    }
    const entries = yield* Procfile.load(yield* NpmScripts.expand(words), config.file)
    const names = entries.map(({ name }) => name)
    const order = yield* Either.mapLeft(StartOrder.parse(config.after, names), (problem) =>
      usage(`option --after: ${problem}`)
    )
    const stopSignals = yield* assign(names, config.stopSignal)
    // A command that starts after others may be built by them.
    yield* Procfile.check(entries.filter(({ name }) => !order.has(name)))
    // The pipe to this process would switch off the colours of commands.
    const { colors } = (yield* Output.Output).stdout
    const env = colors ? { FORCE_COLOR: process.env["FORCE_COLOR"] ?? "1" } : {}
    return entries.map(({ command, name }) => ({
      name,
      command: Platform.env(CommandText.shell(command), env),
      after: order.get(name),
      stopSignal: stopSignals.get(name)
    }))
  }).pipe(
    Effect.catchTags({
      InputError: (error) => usage(error.message),
      ProcfileError: (error) => usage(error.message)
    })
  )

/** The view of the commands' output, as the options ask for it. */
export const prefixed = (config: Config, names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { stderr, stdout } = yield* Output.Output
    const clock = yield* Effect.clock
    return Prefixed.make({ ...config, names, stdout, stderr, now: () => clock.unsafeCurrentTimeMillis() })
  })

/** Draws events; a command waits while the readers of the output are behind. */
export const reporter = <E extends { readonly event: string }>(
  view: Reporter.View<E>,
  settings: Reporter.Settings
) =>
  Effect.gen(function* () {
    const { drained } = yield* Output.Output
    const { isLive, report } = yield* Reporter.make(view, settings)
    // An engine may make the effect of an output before that of the start, which is to be drawn first.
    const onEvent = (event: E) =>
      Effect.suspend(() =>
        event.event === "output" ? Effect.zipRight(report([event]), drained) : report([event])
      )
    return { isLive, onEvent }
  })
