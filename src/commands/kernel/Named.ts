import * as Platform from "@effect/platform/Command"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Either } from "effect"
import * as Output from "../../services/host/Output.js"
import * as CommandText from "../../services/process/CommandText.js"
import * as NpmScripts from "../../services/supervision/NpmScripts.js"
import * as Procfile from "../../services/supervision/Procfile.js"
import * as StartOrder from "../../services/supervision/StartOrder.js"
import { usage } from "./Command.js"
import * as EnvFile from "./EnvFile.js"
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
  envFile: Flags.envFile,
  workdir: perName("workdir", "DIR", "the folder that a command runs in", Values.text("a folder")),
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

/** The names of commands, each with those of its instances: its own unless it is scaled. */
export type Names = ReadonlyMap<string, ReadonlyArray<string>>

/**
 * The values by name of options for all or for one command; a value with the name of an instance wins, then one with that
 * of its command, and of several the last.
 */
export const assign = <A>(groups: Names, given: ReadonlyArray<Given<A>>) =>
  Effect.gen(function* () {
    const instances = [...groups.values()].flat()
    const names = [...groups.keys(), ...instances]
    const each = () => new Map<string, readonly [option: string, value: A]>()
    const [all, group, own] = [each(), each(), each()]
    for (const { option, parse, text } of given) {
      const name = names.find((name) => text.startsWith(`${name}:`))
      const other = nameBefore(text)
      const value = yield* Either.mapLeft(
        parse(name === undefined ? text : text.slice(name.length + 1)),
        (problem) => {
          const more =
            name !== undefined || other === undefined
              ? ""
              : `; and '${other}' is not one of the names ${[...new Set(names)].join(", ")}`
          return usage(`option --${option}: ${problem}${more}`)
        }
      )
      const many = name === undefined ? instances : groups.get(name)
      const target = name === undefined ? all : many === undefined ? own : group
      for (const one of many ?? [name!]) {
        const [before = option] = target.get(one) ?? []
        if (before !== option) {
          return yield* usage(`option --${option}: cannot be combined with --${before} for ${one}; give one`)
        }
        target.set(one, [option, value])
      }
    }
    return new Map([...all, ...group, ...own].map(([name, [, value]]) => [name, value]))
  })

/** As {@link assign}, for an option whose values add up. */
export const collect = (
  groups: Names,
  given: ReadonlyArray<Given<string>>
): ReadonlyMap<string, ReadonlyArray<string>> => {
  const instances = [...groups.values()].flat()
  const found = new Map<string, Array<string>>()
  for (const { text } of given) {
    const name = [...groups.keys(), ...instances].find((name) => text.startsWith(`${name}:`))
    const value = name === undefined ? text : text.slice(name.length + 1)
    for (const one of name === undefined ? instances : (groups.get(name) ?? [name])) {
      found.set(one, [...(found.get(one) ?? []), value])
    }
  }
  return found
}

const checkFolder = (folder: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.stat(folder)).pipe(
    Effect.catchAll((error) =>
      usage(
        `option --workdir: cannot use ${folder}: ${error._tag === "SystemError" && error.reason === "NotFound" ? "it does not exist" : error.message}`
      )
    ),
    Effect.filterOrFail(
      ({ type }) => type === "Directory",
      () => usage(`option --workdir: ${folder} is not a folder`)
    )
  )

/** How many instances of commands there are, and their ports, for {@link read}. */
export interface Instances {
  readonly scale?: ReadonlyMap<string, number> | undefined
  readonly portBase?: number | undefined
}

/** The port of an instance: of each command 100 above that of the one before. */
const portOf = (base: number, command: number, instance: number, name: string) => {
  const port = base + command * 100 + instance
  return port < 65_536
    ? Effect.succeed(port)
    : usage(`option --port-base: ${base}: the port of ${name} would be ${port}; expected at most 65535`)
}

/** The commands that words and a Procfile name. */
export const entries = (config: Pick<Config, "file">, words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    if (words.length === 0 && config.file === undefined) {
      return yield* usage(`no command is given; ${instead}`)
    }
    const option = words.find((word) => word.startsWith("-"))
    if (option !== undefined) {
      return yield* usage(`'${option}' is not [NAME=]'COMMAND'; options go before the first command`)
    }
    return yield* Procfile.load(yield* NpmScripts.expand(words), config.file)
  }).pipe(
    Effect.catchTags({
      InputError: (error) => usage(error.message),
      ProcfileError: (error) => usage(error.message)
    })
  )

/** The commands, with their order, stop signals, folders and variables. Fails before anything has run. */
export const read = (
  config: Config,
  entries: ReadonlyArray<Procfile.Entry>,
  { portBase, scale }: Instances = {}
) =>
  Effect.gen(function* () {
    const groups = yield* instancesOf(
      entries.map(({ name }) => name),
      scale
    )
    const order = yield* Either.mapLeft(StartOrder.parse(config.after, [...groups.keys()]), (problem) =>
      usage(`option --after: ${problem}`)
    )
    const stopSignals = yield* assign(groups, config.stopSignal)
    const folders = yield* assign(groups, config.workdir)
    yield* Effect.forEach(new Set(folders.values()), checkFolder)
    // A command that starts after others may be built by them; one in a folder of its own is looked up there.
    yield* Procfile.check(
      entries.filter(
        ({ command, name }) =>
          !order.has(name) &&
          !(/^[^\s/]+\//.test(command) && groups.get(name)!.some((one) => folders.has(one)))
      )
    )
    // The pipe to this process would switch off the colours of commands.
    const { colors } = (yield* Output.Output).stdout
    const env = {
      ...(yield* EnvFile.read(config.envFile)),
      ...(colors ? { FORCE_COLOR: process.env["FORCE_COLOR"] ?? "1" } : {})
    }
    const requests = yield* Effect.forEach(entries, (entry, i) =>
      Effect.forEach(groups.get(entry.name)!, (name, instance) =>
        Effect.gen(function* () {
          const folder = folders.get(name)
          const port =
            portBase === undefined ? {} : { PORT: String(yield* portOf(portBase, i, instance, name)) }
          const command = Platform.env(CommandText.shell(entry.command), { ...env, ...port })
          return {
            name,
            command: folder === undefined ? command : Platform.workingDirectory(command, folder),
            after: [...(order.get(entry.name) ?? [])].flatMap((other) => groups.get(other)!),
            stopSignal: stopSignals.get(name)
          }
        })
      )
    )
    return { groups, requests: requests.flat() }
  })

/** The instances of each command: `web.1`, `web.2`. */
const instancesOf = (names: ReadonlyArray<string>, scale: ReadonlyMap<string, number> = new Map()) =>
  Effect.gen(function* () {
    const unknown = [...scale.keys()].find((name) => !names.includes(name))
    if (unknown !== undefined) {
      return yield* usage(`option --scale: unknown name '${unknown}'; expected one of ${names.join(", ")}`)
    }
    const groups = new Map(
      names.map((name) => {
        const count = scale.get(name)
        return [
          name,
          count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}.${i + 1}`)
        ] as const
      })
    )
    const all = [...groups.values()].flat()
    const twice = all.find((name, i) => all.indexOf(name) !== i)
    if (twice !== undefined) return yield* usage(`option --scale: two commands would be named ${twice}`)
    return all.length === 0 ? yield* usage("option --scale: no command is left") : groups
  })

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
