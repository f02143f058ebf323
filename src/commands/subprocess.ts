import { existsSync, statSync } from "node:fs"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Platform from "@effect/platform/Command"
import { Chunk, Deferred, Effect, Either, Exit, Fiber, Iterable, identity, Option, Stream } from "effect"
import * as Subprocess from "../programs/Subprocess.js"
import { codes, ExitError, UsageError } from "../services/host/ExitCodes.js"
import { leanHeap, steadyYoungGeneration } from "../services/host/HeapTuning.js"
import * as Input from "../services/host/Input.js"
import * as Output from "../services/host/Output.js"
import * as SystemLoad from "../services/host/SystemLoad.js"
import * as JobLog from "../services/job/JobLog.js"
import * as Template from "../services/job/Template.js"
import * as Executables from "../services/process/Executables.js"
import * as Processes from "../services/process/Processes.js"
import * as Cancellation from "../services/task/Cancellation.js"
import { headline } from "../services/task/Causes.js"
import * as Lines from "../services/text/Lines.js"
import * as RawText from "../services/text/RawText.js"
import * as ShellWords from "../services/text/ShellWords.js"
import * as Units from "../services/text/Units.js"
import { alone, withRest } from "./kernel/Cli.js"
import * as LinePrefix from "./kernel/LinePrefix.js"
import * as Screen from "./kernel/Screen.js"
import * as stdout from "./kernel/stdout.js"
import * as Values from "./kernel/Values.js"

const usage = (message: string) => new UsageError({ message: `aio subprocess: ${message}` })

type Count = { readonly of: "number" | "percent" | "more"; readonly n: number }

/** At once. */
const most = 100_000

const concurrency = Values.parsed("concurrency", (text): Either.Either<Count, string> => {
  const match = /^(\+?)(\d+)(%?)$/.exec(text)
  if (match === null || (match[1] !== "" && match[3] !== "")) {
    return Either.left(
      `'${text}' is no number of jobs; write 8, 50% (of the processors) or +2 (more than these)`
    )
  }
  const n = Number(match[2])
  if (n === 0 && match[1] === "") return Either.left(`'${text}' runs nothing; give at least 1`)
  if (n > most) return Either.left(`'${text}' is more than can run at once; give at most ${most}`)
  return Either.right({ of: match[1] !== "" ? "more" : match[3] !== "" ? "percent" : "number", n })
})

const timeout = Values.parsed(
  "timeout",
  (text): Either.Either<number | { readonly median: number }, string> => {
    const percent = /^(\d+(?:\.\d+)?)%$/.exec(text.trim())
    if (percent === null) return Units.duration(text)
    return Number(percent[1]) > 0
      ? Either.right({ median: Number(percent[1]) / 100 })
      : Either.left("0% lets no job run; write one like 90s, or 300% of the median")
  }
)

const halt = Values.parsed("halt", (text): Either.Either<Subprocess.Halt, string> => {
  const match = /^(now|soon),(fail|success)=(\d+)(%?)$/.exec(text)
  return match === null || Number(match[3]) === 0 || (match[4] === "%" && Number(match[3]) > 100)
    ? Either.left(`'${text}' is no rule; write now,fail=1 or soon,success=3 or now,fail=10%`)
    : Either.right({
        when: match[1] as "now" | "soon",
        on: match[2] as "fail" | "success",
        count: Number(match[3]),
        percent: match[4] !== ""
      })
})

const load = Values.parsed("load", (text) =>
  /^\d+(\.\d+)?$/.test(text) && Number(text) > 0
    ? Either.right(Number(text))
    : Either.left(`'${text}' is no load; write a number above 0, as uptime shows it`)
)

const switches = {
  group: "each job's output when it has ended (default)",
  "line-buffer": "whole lines as they come",
  "keep-order": "each job's output when it has ended, in the order of the input",
  ungroup: "jobs write to our own stdout and stderr"
} as const

const options = {
  concurrency: concurrency.pipe(
    Options.withAlias("j"),
    Options.withPseudoName("n|n%|+n"),
    Options.withDescription(
      "jobs at once: a number, a share of the processors, or so many more; default: the processors"
    ),
    Options.optional
  ),
  argFile: Options.text("arg-file").pipe(
    Options.withAlias("a"),
    Options.withPseudoName("file"),
    Options.withDescription("items from this file, one a line; - is standard input, which is the default"),
    Options.optional
  ),
  nul: Options.boolean("null").pipe(
    Options.withAlias("0"),
    Options.withDescription("items end with NUL instead of a line end, as find -print0 writes them")
  ),
  group: Options.boolean("group").pipe(Options.withDescription(switches.group)),
  lineBuffer: Options.boolean("line-buffer").pipe(Options.withDescription(switches["line-buffer"])),
  keepOrder: Options.boolean("keep-order").pipe(
    Options.withAlias("k"),
    Options.withDescription(switches["keep-order"])
  ),
  ungroup: Options.boolean("ungroup").pipe(Options.withAlias("u"), Options.withDescription(switches.ungroup)),
  tag: Options.boolean("tag").pipe(Options.withDescription("the item and a TAB before each line")),
  shell: Options.boolean("shell").pipe(
    Options.withDescription("a shell reads the command; so it does where that is one word with blanks in it")
  ),
  timeout: timeout.pipe(
    Options.withPseudoName("duration|n%"),
    Options.withDescription(
      "ends a job after this long, or after so much of the median of those that succeeded"
    ),
    Options.optional
  ),
  retries: Values.integer("retries", 0).pipe(
    Options.withDescription("further attempts of a job that failed; default 0"),
    Options.withDefault(0)
  ),
  delay: Values.duration("delay").pipe(
    Options.withDescription("least time between two starts"),
    Options.optional
  ),
  grace: Values.duration("grace").pipe(
    Options.withDescription("from the stop signal to KILL when a job is to end; default 5s"),
    Options.optional
  ),
  stopSignal: Values.parsed("stop-signal", Values.parseSignal).pipe(
    Options.withPseudoName("signal"),
    Options.withDescription("what a job is asked to end with, instead of TERM"),
    Options.optional
  ),
  halt: halt.pipe(
    Options.withPseudoName("when,what=n"),
    Options.withDescription(
      "now,fail=1 ends everything at the first failure; soon,fail=10% starts nothing more; success too"
    ),
    Options.optional
  ),
  joblog: Options.text("joblog").pipe(
    Options.withPseudoName("file"),
    Options.withDescription(
      "a line a job, in GNU parallel's columns; the file is begun anew unless --resume goes on with it"
    ),
    Options.optional
  ),
  resume: Options.boolean("resume").pipe(
    Options.withDescription("with --joblog: skip jobs that are in it, told by their command")
  ),
  resumeFailed: Options.boolean("resume-failed").pipe(
    Options.withDescription("with --joblog: skip only those that succeeded")
  ),
  results: Options.text("results").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("save stdout, stderr and exit of each job in a folder of its own"),
    Options.optional
  ),
  load: load.pipe(
    Options.withPseudoName("n"),
    Options.withDescription("start nothing while the machine's load is this or more"),
    Options.optional
  ),
  memfree: Values.size("memfree").pipe(
    Options.withDescription("start nothing while less memory is free"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("print the commands, run nothing")),
  progress: Options.boolean("progress").pipe(
    Options.withDescription("a line on the terminal: jobs done, failed, under way, and the time left")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("events as NDJSON on stdout")),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("no failures and no summary on stderr")
  )
}

const words = Args.text({ name: "command" }).pipe(
  Args.withDescription(
    "after --: CMD ARG… ::: ITEM…; {} {.} {/} {//} {/.} {#} {%} {1} stand for the item, its parts, the job's number and slot; several ::: make all combinations, :::+ goes along with the list before"
  ),
  Args.repeated
)

/** Standard input's or a file's items. */
const read = (path: string, nul: boolean) =>
  Stream.unwrap(
    Effect.map(Input.Input, ({ open }) =>
      Stream.suspend(() => {
        let found: Array<string> = []
        let number = 0
        let tooLong: number | undefined
        const lines = Lines.make({
          delimiter: nul ? 0 : 10,
          onLine: (line, cut) => {
            number++
            if (cut) tooLong ??= number
            const text = RawText.decode(line)
            const item = nul ? text : text.replace(/\r$/, "")
            if (nul || item !== "") found.push(item)
          }
        })
        const take = () => {
          const taken = found
          found = []
          return tooLong === undefined
            ? Effect.succeed(Chunk.unsafeFromArray(taken))
            : Effect.fail(usage(`item ${tooLong} of ${path} is longer than 1 MiB`))
        }
        const whole = Stream.mapChunksEffect(open(path), (chunks) => {
          for (const bytes of chunks) lines.push(bytes)
          return take()
        })
        const last = Stream.unwrap(
          Effect.suspend(() => {
            lines.end()
            return Effect.map(take(), Stream.fromChunk)
          })
        )
        return Stream.concat(whole, last)
      })
    )
  ).pipe(
    Stream.map((item) => [item] as ReadonlyArray<string>),
    Stream.mapError((error) => (error instanceof UsageError ? error : usage(error.message)))
  )

const optional = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: A }

/** What is long has its beginning and its end. */
const brief = (text: string): string =>
  text.length <= 240 ? text : `${text.slice(0, 120)} … ${text.slice(-100)}`

const table = (summary: Subprocess.JobsSummary): string => {
  const { cancelled, elapsed, failed, halted, ok, skipped, slowest } = summary
  const rows = [
    [
      "jobs",
      `${ok} ok, ${failed} failed, ${skipped} skipped${cancelled > 0 ? `, ${cancelled} cancelled` : ""}`
    ],
    ...(halted === undefined ? [] : [["halted", halted]]),
    ["time", Units.formatDuration(elapsed)],
    ...(slowest === undefined
      ? []
      : [["slowest", `${Units.formatDuration(slowest.runtime)}  ${brief(slowest.command)}`]])
  ]
  return rows.map(([name, value]) => `${name!.padEnd(8)}  ${value}`).join("\n")
}

/** Of the bar, in columns. */
const width = 20

const report = (settings: {
  readonly json: boolean
  readonly quiet: boolean
  readonly tag: boolean
  readonly progress: boolean
  readonly total: number | undefined
}) =>
  Effect.gen(function* () {
    const output = yield* Output.Output
    const screen =
      settings.progress && output.stderr.interactive && !settings.json ? yield* Screen.make : undefined
    const open = new Map<string, { open: boolean }>()
    const begun = performance.now()
    let ended = 0
    let failed = 0
    const running = new Set<number>()
    const show = (): void => {
      if (screen === undefined) return
      const all = settings.total
      const spent = performance.now() - begun
      const left =
        all === undefined || ended === 0
          ? ""
          : `, ${Units.formatDuration((spent / ended) * (all - ended))} left`
      const done = all === undefined ? 0 : Math.round((ended / all) * width)
      const bar = all === undefined ? "" : `${"━".repeat(done)}${" ".repeat(width - done)} `
      screen.show([
        `${bar}${ended}${all === undefined ? "" : ` of ${all}`} done, ${failed} failed, ${running.size} running${left}`
      ])
    }
    const write = (event: Subprocess.JobEvent & { event: "output" }) => {
      const { bytes, label, seq, stream } = event
      const key = `${seq} ${stream}`
      const state = open.get(key) ?? { open: false }
      const shown = settings.tag ? LinePrefix.before(bytes, RawText.encode(`${label}\t`), state) : bytes
      if (state.open) open.set(key, state)
      else open.delete(key)
      // One screen for results and progress: what is written goes above that.
      if (screen !== undefined && (stream === "stderr" || output.stdout.interactive)) {
        return Effect.sync(() => screen.write(shown))
      }
      return stream === "stdout" ? output.write(shown) : output.writeError(shown)
    }
    const note = (line: string) =>
      settings.quiet
        ? Effect.void
        : screen === undefined
          ? output.note(line)
          : Effect.sync(() => screen.log(line))
    return (event: Subprocess.JobEvent): Effect.Effect<void> | undefined => {
      if (settings.json) {
        const { event: name, ...fields } = event
        return output.print(
          Output.eventLine(
            name,
            event.event === "output"
              ? { seq: event.seq, stream: event.stream, text: new TextDecoder().decode(event.bytes) }
              : fields
          )
        )
      }
      switch (event.event) {
        case "started":
          running.add(event.seq)
          show()
          return undefined
        case "output":
          return write(event)
        case "retried":
          running.delete(event.seq)
          return note(`${brief(event.command)}: ${brief(event.detail)}; attempt ${event.attempt}`)
        case "finished":
          running.delete(event.seq)
          ended++
          open.delete(`${event.seq} stdout`)
          open.delete(`${event.seq} stderr`)
          if (!event.ok) failed++
          show()
          return event.ok ? undefined : note(`Failed (${brief(event.detail ?? "")}): ${brief(event.command)}`)
        case "cancelled":
          running.delete(event.seq)
          show()
          return note(`Cancelled (${event.reason}): ${brief(event.command)}`)
        case "skipped":
          ended++
          return undefined
        case "lingering":
          return note(
            `waiting for ${brief(event.command)}, which is killed in ${Units.formatDuration(event.left)}`
          )
        case "waiting":
          return note(
            event.for === "load"
              ? `waiting: the load is ${event.value.toFixed(2)}`
              : `waiting: ${Units.formatSize(event.value)} of memory are free`
          )
        case "summary":
          return note(table(event))
      }
    }
  })

export const command = Command.make("subprocess", { words, ...options }, (config) =>
  Effect.gen(function* () {
    const input = yield* Input.Input
    const machine = yield* SystemLoad.Machine
    const words = yield* withRest(config.words)
    if (words.length === 0 && Option.isNone(config.argFile)) {
      return yield* Effect.zipRight(
        alone("aio subprocess", "write -- CMD ARG… ::: ITEM…"),
        Subprocess.example
      )
    }
    const { command: given, sources } = yield* Effect.mapError(Template.split(words), usage)
    if (given.length === 0) {
      return yield* usage("there is no command; write aio subprocess -- CMD ARG… ::: ITEM…")
    }
    if (given[0]!.trim() === "") return yield* usage("the command is empty; write one like 'gzip -k {}'")
    if (sources.length > 0 && Option.isSome(config.argFile)) {
      return yield* usage("items come from ::: or from --arg-file, not from both")
    }
    if (sources.length === 0 && Option.isNone(config.argFile) && input.isTerminal) {
      return yield* usage(
        "there are no items; write ::: ITEM… behind the command, or pipe them in, one a line"
      )
    }
    const modes = (
      [
        ["line", config.lineBuffer],
        ["keepOrder", config.keepOrder],
        ["inherit", config.ungroup],
        ["group", config.group]
      ] as const
    ).filter(([, on]) => on)
    if (modes.length > 1) {
      return yield* usage("--group, --line-buffer, --keep-order and --ungroup exclude each other; give one")
    }
    const mode = modes[0]?.[0] ?? "group"
    if (mode === "inherit" && (config.json || config.tag || Option.isSome(config.results))) {
      return yield* usage(
        "--ungroup lets the jobs write themselves; --tag, --json and --results cannot go with it"
      )
    }
    if ((config.resume || config.resumeFailed) && Option.isNone(config.joblog)) {
      return yield* usage("--resume and --resume-failed need a --joblog FILE to go by")
    }
    if (Option.contains(config.results, ""))
      return yield* usage("option --results: it is empty; write a folder")
    const width = sources.length === 0 ? 1 : sources.length
    if (Template.highest(given) > width) {
      return yield* usage(`{${Template.highest(given)}} asks for more lists than there are (${width})`)
    }
    const [program] = given
    const inShell =
      config.shell ||
      (given.length === 1 && /\s/.test(program!) && !(program!.includes("/") && existsSync(program!)))
    const template = inShell ? Template.make([given.join(" ")], ShellWords.quote) : Template.make(given)
    const misread = inShell ? Template.misread(given.join(" ")) : undefined
    const readable = (values: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, UsageError> => {
      const problem = misread?.({ values })
      return problem === undefined ? Effect.succeed(values) : usage(problem)
    }
    const perSlot = given.some((word) => word.includes("{%}"))
    const commandFor = (values: ReadonlyArray<string>, seq: number) => {
      const at = (slot: number | "{%}") => {
        const [first = "", ...rest] = template({ values, seq, slot: slot as number })
        return inShell ? Processes.shell([first, ...rest].join(" ")) : Platform.make(first, ...rest)
      }
      if (perSlot) return at
      const everywhere = at("{%}")
      return () => everywhere
    }
    // What can be known before anything runs is said before anything runs.
    const fixed = given[0]!
    if (
      !inShell &&
      Template.make([fixed])({ values: [], seq: 0, slot: 0 })[0] === fixed &&
      !fixed.includes("{")
    ) {
      yield* Executables.check(Platform.make(fixed))
    }
    if (misread !== undefined) {
      for (const values of Template.product(sources)) yield* readable(values)
    }
    let seq = 0
    const toRequest = (values: ReadonlyArray<string>): Subprocess.JobRequest => ({
      label: values.join(" "),
      command: commandFor(values, ++seq)
    })
    const requests =
      sources.length > 0
        ? Iterable.map(Template.product(sources), toRequest)
        : read(
            Option.getOrElse(config.argFile, () => "-"),
            config.nul
          ).pipe(misread === undefined ? identity : Stream.mapEffect(readable), Stream.map(toRequest))
    // How many a file has is known too; what comes through a pipe can be read only once.
    const file = Option.filter(
      config.argFile,
      (path) => path !== "-" && statSync(path, { throwIfNoEntry: false })?.isFile() === true
    )
    const total =
      sources.length > 0
        ? Effect.sync(() => Iterable.size(Template.product(sources)))
        : Option.match(file, {
            onNone: () => Effect.succeed(undefined),
            onSome: (path) => Stream.runCount(read(path, config.nul))
          })
    const output = yield* Output.Output
    const log = Option.map(
      config.joblog,
      (path) =>
        ({
          path,
          resume: config.resumeFailed ? "successful" : config.resume ? "all" : undefined
        }) as const
    )
    if (config.dryRun) {
      const { path = "", resume } = Option.getOrElse(log, () => ({ path: undefined, resume: undefined }))
      const isDone = resume === undefined ? () => false : yield* JobLog.done(path, resume)
      const all = Stream.StreamTypeId in requests ? requests : Stream.fromIterable(requests)
      return yield* Stream.runForEach(Stream.zipWithIndex(all), ([request, index]) => {
        const command = Processes.commandText(request.command("{%}"))
        if (isDone(command)) return Effect.void
        return config.json
          ? output.print(Output.eventLine("planned", { seq: index + 1, command }))
          : output.write(RawText.encode(`${command}\n`))
      })
    }
    const n = Option.match(config.concurrency, {
      onNone: () => machine.cpus,
      onSome: ({ n, of }) =>
        of === "number"
          ? n
          : of === "more"
            ? machine.cpus + n
            : Math.max(1, Math.round((machine.cpus * n) / 100))
    })
    yield* leanHeap
    yield* steadyYoungGeneration
    const handle = yield* report({
      json: config.json,
      quiet: config.quiet,
      tag: config.tag,
      progress: config.progress,
      total: config.progress ? yield* total : undefined
    })
    let summary: Subprocess.JobsSummary | undefined
    const stop = yield* Deferred.make<string>()
    const reading = Subprocess.jobs(requests, {
      concurrency: n,
      output: mode,
      retries: config.retries,
      ...optional("timeout", config.timeout),
      ...optional("delay", config.delay),
      ...optional("grace", config.grace),
      ...optional("stopSignal", config.stopSignal),
      ...optional("halt", config.halt),
      ...optional("load", config.load),
      ...optional("memfree", config.memfree),
      ...optional("results", config.results),
      ...optional("log", log),
      onSpooled: stdout.look,
      stop: Deferred.await(stop)
    }).pipe(
      Stream.runForEachChunk((events) => {
        const last = Chunk.unsafeLast(events)
        if (last.event === "summary") summary = last
        const shown = Chunk.toReadonlyArray(events).flatMap((event) => handle(event) ?? [])
        return shown.length === 0
          ? Effect.void
          : Effect.zipRight(
              Effect.all(shown, { discard: true }),
              // Who is in the log has its output out of our hands.
              Option.isSome(log) ? output.written : output.drained
            )
      })
    )
    // A signal ends the jobs; what becomes of them is told all the same, unless nothing can be written any more. A
    // daemon, because children are interrupted with their parent.
    yield* Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(reading)), (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), (interruptors) => {
          const reason = Cancellation.fromInterruptors(interruptors)[0]?.reason ?? "cancelled"
          return reason === "SIGPIPE" || !reason.startsWith("SIG")
            ? Fiber.interrupt(fiber)
            : Effect.zipRight(Deferred.succeed(stop, reason), Fiber.await(fiber)).pipe(
                Effect.flatMap((exit) =>
                  Exit.isFailure(exit) ? output.note(headline(exit.cause)) : Effect.void
                )
              )
        })
      )
    )
    if (summary === undefined) return
    const wanted = Option.exists(config.halt, ({ on }) => on === "success") && summary.halted !== undefined
    if (summary.failed > 0 && !wanted) {
      return yield* new ExitError({ exitCode: summary.exitCode || codes.failed, message: "" })
    }
  }).pipe(Effect.scoped)
).pipe(
  Command.withDescription(
    "run a command for each item, many at once: nothing of what it starts is left behind, and what was interrupted goes on where it stopped. Alone: the guide's two commands."
  )
)
