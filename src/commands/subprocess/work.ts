import { readFileSync } from "node:fs"
import { Effect, Iterable, identity, Stream } from "effect"
import * as Input from "../../services/host/Input.js"
import type * as Jobs from "../../services/job/Jobs.js"
import * as Template from "../../services/job/Template.js"
import * as TemplateJobs from "../../services/job/TemplateJobs.js"
import * as Items from "../../services/record/Items.js"
import * as Command from "../kernel/Command.js"
import * as Values from "../kernel/Values.js"
import type { Config } from "./flags.js"

/** What is to run. */
export interface Work<E> {
  /** The program of every job, if it is known. */
  readonly program: string | undefined
  readonly requests: Iterable<Jobs.JobRequest> | Stream.Stream<Jobs.JobRequest, E, Input.Input>
  /** The number of jobs; undefined if it shows only as they run. */
  readonly total: Effect.Effect<number | undefined, E, Input.Input>
}

/** The text between the matches, without what its groups have matched. */
const columns = (separator: RegExp): ((text: string) => ReadonlyArray<string>) => {
  const parts = new RegExp(`${separator.source}|`).exec("")!.length
  return (text) => text.split(separator).filter((_, i) => i % parts === 0)
}

/** The jobs of the command for the items of the lists, or of the input. */
export const make = (
  config: Config,
  command: ReadonlyArray<string>,
  sources: ReadonlyArray<Template.Source>
) =>
  Effect.gen(function* () {
    const jobs = TemplateJobs.make(command, {
      shell: config.shell,
      place: config.replace,
      digest: config.joblog !== undefined
    })
    const path = config.argFile ?? "-"
    const format = yield* Command.formatOf(config)
    const { isOnce, open } = yield* Input.Input
    const usage = ({ message }: { readonly message: string }) => Command.usage(message)
    const work = <E>(requests: Work<E>["requests"], total: Work<E>["total"]): Work<E> => ({
      program: jobs.program,
      requests,
      total
    })
    // A file is counted by reading it once more; a pipe can be read only once.
    const counted = <A, E>(all: Stream.Stream<A, E, Input.Input>) =>
      Effect.flatMap(Effect.mapError(isOnce(path), usage), (once) =>
        once ? Effect.succeed(undefined) : Stream.runCount(all)
      )

    if (config.pipe) {
      const blocks = Stream.mapError(
        TemplateJobs.cut<{ readonly message: string }, never>(open(path), {
          block: config.block,
          items: config.maxArgs,
          maxLine: config.maxLine,
          end: format === "null" ? 0 : 10
        }),
        usage
      )
      return work(Stream.map(blocks, jobs.feed), counted(blocks))
    }

    const readable = (values: ReadonlyArray<string>) => {
      const misread = jobs.misread?.(values)
      return misread === undefined ? Effect.succeed(values) : Command.usage(misread)
    }
    const safe: <E, R>(
      values: Stream.Stream<ReadonlyArray<string>, E, R>
    ) => Stream.Stream<ReadonlyArray<string>, E | Command.Problem, R> =
      jobs.misread === undefined ? identity : Stream.mapEffect(readable)
    const batched = (items: Stream.Stream<string, Command.Problem, Input.Input>) => {
      const { maxArgs, maxChars } = config
      return Stream.mapError(TemplateJobs.batches(jobs, { maxArgs, maxChars })(items), (error) =>
        error._tag === "ItemTooLong" ? usage(error) : error
      )
    }
    const isBatch = config.xargs || config.maxArgs !== undefined
    const split = config.colsep && columns(config.colsep)

    if (sources.length > 0) {
      const product = () => {
        const values = Template.product(sources)
        return split === undefined ? values : Iterable.map(values, (all) => all.flatMap(split))
      }
      // An item that a shell would interpret is reported before any job runs.
      if (jobs.misread !== undefined) yield* Effect.forEach(product(), readable, { discard: true })
      if (!isBatch)
        return work(
          Iterable.map(product(), jobs.next),
          Effect.sync(() => Iterable.size(product()))
        )
      const batches = batched(Stream.fromIterable(sources[0]!.values))
      return work(Stream.map(batches, jobs.next), Stream.runCount(batches))
    }
    const texts = Items.read(path, { format, encoding: "raw", maxLine: config.maxLine }).pipe(
      Items.proper,
      Stream.mapBoth({ onSuccess: ({ text }) => text, onFailure: usage })
    )
    const values = isBatch ? batched(texts) : Stream.map(texts, split ?? ((text) => [text]))
    return work(Stream.map(safe(values), jobs.next), counted(values))
  })

/** The most jobs that -j0 runs at once; beyond, the processes of most machines run out. */
const most = 4096

/** The most jobs that are in a store at once, without -j: the runners decide how many of them run. */
const submitted = 1024

/** How many jobs run at once; undefined: the processors. Each job may have three pipes and two files open. */
export const concurrency = ({ cluster, jobs, maxProcs }: Config, cpus: number): number | undefined => {
  const given = jobs ?? maxProcs
  if (given === undefined && cluster !== undefined) return Math.min(submitted, mostHere())
  return given === "most" ? mostHere() : given && Values.jobCount(given, cpus)
}

const mostHere = (): number => {
  try {
    const [, open] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1")) ?? []
    return Math.max(1, Math.min(most, Math.floor((Number(open ?? 1024) - 64) / 5)))
  } catch {
    return 192
  }
}
