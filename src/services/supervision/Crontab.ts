import * as Command from "@effect/platform/Command"
import { Data, type DateTime, Effect, Either } from "effect"
import * as Input from "../host/Input.js"
import * as CivilTime from "../time/CivilTime.js"
import * as Cron from "../time/Cron.js"
import { decoded, load as loadFile } from "./internal/smallFile.js"
import type * as ScheduledRuns from "./ScheduledRuns.js"

/**
 * A line of a crontab is not valid; `message` names its place and the problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class CrontabError extends Data.TaggedError("CrontabError")<{
  /** The file and line. */
  readonly where: string
  readonly detail: string
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}

const form = "write five fields or @daily, then the command: 30 2 * * * restic backup /home"

/** A value without the quotes around it. */
const unquoted = (text: string): string => /^(["'])(.*)\1$/s.exec(text)?.[2] ?? text

/** The text before the first bare `%`, and the lines behind it, which are the command's standard input; `\\%` is a `%`. */
const parted = (text: string): { readonly script: string; readonly input: string | undefined } => {
  const [script = "", ...lines] = text.split(/(?<!\\)%/).map((part) => part.replaceAll("\\%", "%"))
  return { script, input: lines.length === 0 ? undefined : `${lines.join("\n")}\n` }
}

/**
 * Reads a user's crontab, as `crontab -e` has it: `#` comments, `NAME=value` lines for the commands below them, and lines
 * with five fields (or `@daily` and the like; `@reboot` is at once) and a command for `SHELL`, default
 * /bin/sh. A bare `%` in a command begins its standard input, as in cron. `CRON_TZ` sets the time zone of the lines below
 * it. `MAILTO` is refused unless it is empty. Fails at the first invalid line.
 *
 * @example
 * ```ts
 * import * as Crontab from "effect-asyncio/services/Crontab"
 *
 * export const jobs = Crontab.read({ path: "crontab", text: "CRON_TZ=UTC\n30 2 * * * restic backup /home\n" })
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const read = (file: {
  readonly path: string
  readonly text: string | Uint8Array
}): Either.Either<ReadonlyArray<ScheduledRuns.ScheduledCommand>, CrontabError> =>
  Either.gen(function* () {
    const jobs: Array<ScheduledRuns.ScheduledCommand> = []
    let environment: Readonly<Record<string, string>> = {}
    let zone: DateTime.TimeZone | undefined
    const text = yield* Either.mapLeft(decoded(file.path, file.text), (problem) => new CrontabError(problem))
    for (const [i, given] of text.split(/\r?\n/).entries()) {
      const line = given.trim()
      if (line === "" || line.startsWith("#")) continue
      const wrong = (detail: string) => new CrontabError({ where: `${file.path}, line ${i + 1}`, detail })
      const [, name, value] = /^([A-Za-z_]\w*)\s*=\s*(.*)$/s.exec(line) ?? []
      if (name !== undefined && value !== undefined) {
        const plain = unquoted(value)
        if (name === "MAILTO" && plain !== "") {
          const detail = "MAILTO is not supported; output goes to stdout, and with --log-dir to files"
          return yield* Either.left(wrong(detail))
        }
        if (name === "CRON_TZ") zone = yield* Either.mapLeft(CivilTime.zone(plain), wrong)
        if (name !== "CRON_TZ" && name !== "MAILTO") environment = { ...environment, [name]: plain }
        continue
      }
      const [, times = "", rest = ""] =
        (line.startsWith("@") ? /^(@\w+)\s+(.*)$/s.exec(line) : /^((?:\S+\s+){4}\S+)\s+(.*)$/s.exec(line)) ??
        []
      if (rest === "") return yield* Either.left(wrong(`'${line.slice(0, 60)}' is not a job; ${form}`))
      const when: ScheduledRuns.When =
        times === "@reboot"
          ? { _tag: "Later", delay: 0 }
          : { _tag: "Cron", cron: yield* Either.mapLeft(Cron.parse(times), wrong) }
      const { input, script } = parted(rest)
      if (script.trim() === "") return yield* Either.left(wrong("the command is empty"))
      const command = Command.make(environment["SHELL"] ?? "/bin/sh", "-c", script).pipe(
        Command.env(environment)
      )
      jobs.push({
        name: script.trim(),
        when,
        zone,
        command: input === undefined ? command : Command.feed(command, input)
      })
    }
    return jobs
  })

/**
 * As {@link read}, with the file at the path; `-` is standard input. Fails when it has no job, with `InputError` when it cannot
 * be read, and when it is longer than 1 MiB.
 *
 * @since 0.1.0
 * @category effects
 */
export const load = Effect.fn("Crontab.load")(function* (path: string) {
  const { bytes, where } = yield* Effect.mapError(loadFile(path), (error) =>
    error instanceof Input.InputError ? error : new CrontabError(error)
  )
  const jobs = yield* read({ path: where, text: bytes })
  return jobs.length === 0 ? yield* new CrontabError({ where, detail: `it has no jobs; ${form}` }) : jobs
})
