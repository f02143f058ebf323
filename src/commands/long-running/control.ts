import { Effect, Either, Exit, Mailbox, Schema, Stream } from "effect"
import * as ControlSocket from "../../services/host/ControlSocket.js"
import * as EventLine from "../../services/host/EventLine.js"
import type * as Events from "../../services/host/Events.js"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import * as Output from "../../services/host/Output.js"
import type * as Services from "../../services/supervision/Services.js"
import * as Plural from "../../services/text/Plural.js"
import * as Command from "../kernel/Command.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import type * as Named from "../kernel/Named.js"
import type * as States from "./states.js"
import * as View from "./view.js"

// aio long-running status, restart, stop, start, logs: requests to an `aio long-running` that runs in the same folder.

const Verb = Schema.Literal("restart", "start", "stop")
const Request = Schema.Struct({
  verb: Schema.Literal("status", "logs", "follow", ...Verb.literals),
  names: Schema.Array(Schema.String)
})
/** A line of the answer to `follow`: whose output comes, then the output, or how many bytes of it are left out. */
const Followed = Schema.Union(
  Schema.Struct({ names: Schema.Array(Schema.String) }),
  Schema.Struct({ name: Schema.String, base64: Schema.String }),
  Schema.Struct({ name: Schema.String, lost: Schema.Number }),
  Schema.Struct({ error: Schema.String, isUsage: Schema.optional(Schema.Boolean) })
)
const Status = Schema.Struct({
  index: Schema.Number,
  name: Schema.String,
  state: Schema.String,
  pid: Schema.optional(Schema.Number),
  since: Schema.optional(Schema.Number),
  restarts: Schema.Number,
  lastExit: Schema.String,
  cpu: Schema.String,
  memory: Schema.String
})
const Answer = Schema.Union(
  Schema.Struct({ error: Schema.String, isUsage: Schema.optional(Schema.Boolean) }),
  Schema.Struct({ states: Schema.Array(Status) }),
  Schema.Struct({ logs: Schema.Array(Schema.Struct({ name: Schema.String, base64: Schema.String })) }),
  Schema.Struct({ done: Schema.Array(Schema.String) })
)

/** The last bytes of output that are kept of each service. */
const kept = 64 * 1024

/** Most bytes that wait for a follower: it never holds up a service, but loses output. */
const mostWaiting = 1024 * 1024

/** Most followers at once: other requests need a connection too. */
const mostFollowers = 8

interface Follower {
  readonly names: ReadonlyArray<string>
  readonly lines: Mailbox.Mailbox<string>
  waiting: number
  readonly lost: Map<string, number>
}

/** The last output of each service, and its followers. */
export const makeLogs = () => {
  const logs = new Map<string, { parts: Array<Uint8Array>; size: number }>()
  const followers = new Set<Follower>()
  let ended = false
  const last = (name: string): Buffer => Buffer.concat(logs.get(name)?.parts ?? []).subarray(-kept)
  const put = (follower: Follower, line: typeof Followed.Type): void => {
    const text = `${JSON.stringify(line)}\n`
    follower.waiting += text.length
    follower.lines.unsafeOffer(text)
  }
  /** Says what was left out. */
  const report = (follower: Follower): void => {
    for (const [name, lost] of follower.lost) put(follower, { name, lost })
    follower.lost.clear()
  }
  const pass = (follower: Follower, name: string, bytes: Uint8Array): void => {
    if (follower.waiting > mostWaiting) {
      follower.lost.set(name, (follower.lost.get(name) ?? 0) + bytes.length)
      return
    }
    put(follower, { name, base64: Buffer.from(bytes).toString("base64") })
  }
  return {
    /** What there is, and what comes, as lines; undefined if too many follow. */
    follow: (names: ReadonlyArray<string>): Effect.Effect<Stream.Stream<string> | undefined> =>
      Effect.gen(function* () {
        if (followers.size >= mostFollowers) return undefined
        const follower = { names, lines: yield* Mailbox.make<string>(), waiting: 0, lost: new Map() }
        put(follower, { names })
        for (const name of names) if (last(name).length > 0) pass(follower, name, last(name))
        if (ended) yield* follower.lines.end
        else followers.add(follower)
        return Mailbox.toStream(follower.lines).pipe(
          Stream.tap((line) =>
            Effect.sync(() => {
              follower.waiting -= line.length
              if (follower.waiting <= mostWaiting) report(follower)
            })
          ),
          Stream.ensuring(Effect.sync(() => followers.delete(follower)))
        )
      }),
    take: (event: Services.ServiceEvent): void => {
      if (event.event === "summary") {
        ended = true
        for (const follower of followers) {
          report(follower)
          follower.lines.unsafeDone(Exit.void)
        }
      }
      if (event.event !== "output") return
      for (const follower of followers) {
        if (follower.names.includes(event.name)) pass(follower, event.name, event.bytes)
      }
      const log = logs.get(event.name) ?? { parts: [], size: 0 }
      logs.set(event.name, log)
      log.parts.push(Uint8Array.from(event.bytes))
      log.size += event.bytes.length
      while (log.size - log.parts[0]!.length >= kept) log.size -= log.parts.shift()!.length
    },
    of: last
  }
}

/** Answers the requests of the same user, for as long as the services run. Without a socket the services run as well. */
export const serve = (
  groups: Named.Names,
  states: States.States,
  logs: ReturnType<typeof makeLogs>,
  controls: Services.Controls
) => {
  const all = [...groups.values()].flat()
  const answer = (given: unknown) =>
    Effect.gen(function* () {
      const { names, verb } = yield* Schema.decodeUnknown(Request)(given)
      const unknown = names.find((name) => !groups.has(name) && !all.includes(name))
      if (unknown !== undefined) {
        const error = `unknown name '${unknown}'; expected one of ${[...new Set([...groups.keys(), ...all])].join(", ")}`
        return { error, isUsage: true }
      }
      const meant = names.length === 0 ? all : names.flatMap((name) => groups.get(name) ?? [name])
      switch (verb) {
        case "status":
          return { states: states.all.filter(({ name }) => meant.includes(name)) }
        case "follow":
          return (
            (yield* logs.follow(meant)) ?? {
              error: `${mostFollowers} follow already; end one of them, or ask without --follow`
            }
          )
        case "logs":
          return { logs: meant.map((name) => ({ name, base64: logs.of(name).toString("base64") })) }
        default: {
          // Many are stopped as at the end: in reverse order.
          const order = verb === "stop" ? [...meant].reverse() : meant
          yield* Effect.forEach(order, (name) => controls[verb](name, `${verb} requested`))
          return { done: order }
        }
      }
    }).pipe(
      Effect.catchTags({
        ParseError: () => Effect.succeed({ error: "the request is not known" }),
        NotControlled: ({ message }) => Effect.succeed({ error: message })
      }),
      Effect.map((value: typeof Answer.Encoded | Stream.Stream<string>) =>
        Stream.StreamTypeId in value ? value : JSON.stringify(value)
      )
    )
  return Effect.scoped(Effect.zipRight(ControlSocket.serve(answer), Effect.never))
}

const flags = {
  pid: Flag.withText(
    Flags.count(1)("pid", ""),
    "the pid of the aio long-running to ask, where several run in this folder"
  )
}

const cutOff = new ControlSocket.ControlError({
  message: "the answer is not complete; the command may have ended"
})

const ask = (verb: (typeof Request.Type)["verb"], names: ReadonlyArray<string>, pid: number | undefined) =>
  Effect.gen(function* () {
    const bytes = yield* ControlSocket.call({ verb, names }, { pid })
    const answer = Schema.decodeUnknownEither(Schema.parseJson(Answer))(bytes.toString())
    if (Either.isLeft(answer)) {
      return yield* cutOff
    }
    return "error" in answer.right ? yield* refused(answer.right) : answer.right
  }).pipe(Effect.mapError(shown(verb)))

const refused = ({ error, isUsage }: { readonly error: string; readonly isUsage?: boolean | undefined }) =>
  isUsage === true ? Command.usage(error) : new ControlSocket.ControlError({ message: error })

const shown = (verb: string) => (error: Command.Problem | ControlSocket.ControlError) =>
  error._tag === "ControlError"
    ? new ExitError({ exitCode: codes.failed, message: `aio long-running ${verb}: ${error.message}` })
    : error

/** Prints output as it comes: of one command as it is, of several in whole lines with their names. */
const follow = (names: ReadonlyArray<string>, pid: number | undefined) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const texts = EventLine.texts()
    const rests = new Map<string, string>()
    let isOne = true
    const labelled = (name: string, text: string) =>
      output.write(text.replace(/^(?!$)|^(?=\n)/gm, `${name} | `))
    const put = (name: string, bytes: Uint8Array) => {
      if (isOne) return output.write(bytes)
      const all = (rests.get(name) ?? "") + texts.decode(name, bytes)
      const end = all.lastIndexOf("\n") + 1
      rests.set(name, all.slice(end))
      return end === 0 ? Effect.void : labelled(name, all.slice(0, end))
    }
    const lines = ControlSocket.follow({ verb: "follow", names }, { pid }).pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.mapEffect((line) => Schema.decodeUnknown(Schema.parseJson(Followed))(line)),
      Stream.catchTag("ParseError", () => Stream.fail(cutOff))
    )
    type Failure = Command.Problem | ControlSocket.ControlError
    yield* Stream.runForEach(lines, (line): Effect.Effect<void, Failure> => {
      if ("error" in line) return refused(line)
      if ("names" in line) {
        isOne = line.names.length === 1
        return Effect.void
      }
      return "lost" in line
        ? output.note(
            `${line.name}: ${Plural.plural(line.lost, "byte")} are left out; they were read too slowly`
          )
        : Effect.zipRight(put(line.name, Buffer.from(line.base64, "base64")), output.drained)
    })
    for (const [name, rest] of rests) if (rest !== "") yield* labelled(name, `${rest}\n`)
  }).pipe(Effect.mapError(shown("logs")))

const described = (verb: string) =>
  ({
    usage: ["[OPTIONS] [NAME...]"],
    operands: "mixed",
    arguments: [["NAME", `the commands to ${verb}; default all`]]
  }) as const

const status = Command.make(
  "status",
  {
    ...described("list"),
    summary: "list the commands of the aio long-running that runs in this folder",
    flags: { ...flags, json: Flags.json },
    examples: [["long-running status --help", "its options"]]
  },
  ({ json, pid }, words) =>
    Effect.gen(function* () {
      const answer = yield* ask("status", Command.everyWord(words), pid)
      if (!("states" in answer)) return
      const now = Date.now()
      if (!json) {
        yield* Effect.forEach(View.table(answer.states, now), (line) => Output.print(line))
        return
      }
      for (const { index, lastExit, name, pid, restarts, since, state } of answer.states) {
        const event: typeof Events.LongRunning.Type = {
          event: "status",
          index,
          name,
          state,
          ...(pid === undefined ? {} : { pid }),
          ...(since === undefined ? {} : { duration: EventLine.ms(now - since) }),
          restarts,
          ...(lastExit === "" ? {} : { reason: lastExit })
        }
        yield* Output.print(EventLine.encode(event))
      }
    })
)

const logs = Command.make(
  "logs",
  {
    ...described("print"),
    summary: "print the last 64 KiB of output of each command, and with --follow all that comes",
    flags: {
      ...flags,
      follow: Flag.toggle("follow", "print output as it comes, until the commands have ended", "F")
    },
    examples: [["long-running logs --help", "its options"]]
  },
  (config, words) =>
    Effect.gen(function* () {
      const { pid } = config
      if (config.follow) return yield* follow(Command.everyWord(words), pid)
      const answer = yield* ask("logs", Command.everyWord(words), pid)
      if (!("logs" in answer)) return
      for (const { base64, name } of answer.logs) {
        const bytes = Buffer.from(base64, "base64")
        if (answer.logs.length === 1) yield* (yield* Output.Output).write(bytes)
        else {
          const lines = bytes.toString().replace(/\n$/, "").split("\n")
          if (bytes.length > 0) yield* Output.print(lines.map((line) => `${name} | ${line}`).join("\n"))
        }
      }
    })
)

const changing = (verb: typeof Verb.Type, done: string, summary: string) =>
  Command.make(
    verb,
    { ...described(verb), summary, flags, examples: [[`long-running ${verb} --help`, "its options"]] },
    ({ pid }, words) =>
      Effect.gen(function* () {
        const answer = yield* ask(verb, Command.everyWord(words), pid)
        if ("done" in answer) yield* (yield* Output.Output).note(`${done} ${answer.done.join(", ")}`)
      })
  )

/** The subcommands. */
export const children = [
  status,
  changing(
    "restart",
    "restarted",
    "end commands and start them again; returns when the old processes are gone"
  ),
  changing(
    "stop",
    "stopped",
    "end commands, which stay stopped until a start; returns when their processes are gone"
  ),
  changing("start", "started", "start commands that were stopped"),
  logs
]
