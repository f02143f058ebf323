import { Either } from "effect"
import type * as Jobs from "../../services/job/Jobs.js"
import * as Template from "../../services/job/Template.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"

type Timeout = number | { readonly median: number }

const timeout: Flag.Parse<Timeout> = (text) =>
  text.includes("%")
    ? Either.map(Values.percent(Infinity)(text), (median) => ({ median }))
    : Values.span(text)

const halt: Flag.Parse<Jobs.Halt> = (text) => {
  const match = /^(now|soon),(fail|success)=(\d+)(%?)$/.exec(text)
  return match === null || Number(match[3]) === 0 || (match[4] === "%" && Number(match[3]) > 100)
    ? Either.left(`'${text}' is not a rule; expected one like now,fail=1 or soon,success=3 or now,fail=10%`)
    : Either.right({
        when: match[1] as "now" | "soon",
        on: match[2] as "fail" | "success",
        count: Number(match[3]),
        percent: match[4] !== ""
      })
}

const load: Flag.Parse<number> = (text) =>
  /^\d+(\.\d+)?$/.test(text) && Number(text) > 0
    ? Either.right(Number(text))
    : Either.left(`'${text}' is not a load; expected a number above 0, as uptime shows it`)

/** The options of `aio subprocess`. */
export const flags = {
  jobs: Flag.withText(Flags.jobs, Flags.jobs.text, "the processors"),
  argFile: Flag.withText(Flags.argFile, "read items from FILE; - is standard input, the default"),
  format: Flag.withText(
    Flags.format(["lines", "null"]),
    "what an item is: a line of text, or text that ends with NUL"
  ),
  nul: Flags.nul,
  maxLine: Flags.maxLine,
  group: Flag.toggle("group", "each job's output when it has ended: the default"),
  keepOrder: Flag.withText(Flags.keepOrder, "each job's output when it has ended, in the order of the input"),
  lineBuffer: Flag.toggle("line-buffer", "whole lines of output as they come"),
  ungroup: Flag.toggle("ungroup", "jobs write to stdout and stderr themselves", "u"),
  tag: Flag.toggle("tag", "the item and a TAB before each line of output"),
  shell: Flag.withText(Flags.shell, "a shell reads the command, as it does if that is one word with blanks"),
  timeout: Flag.kind("DURATION|N%", timeout)(
    "timeout",
    "time limit of each job, like 90s; or a share of the median of those that succeeded, like 300%"
  ),
  retries: Flags.retries(0),
  delay: Flags.pause("delay", "least time between two starts"),
  grace: Flags.grace("5s"),
  stopSignal: Flags.stopSignal,
  onFailure: Flag.withText(
    Flags.failurePolicy(["cancel", "continue"]),
    "when a job fails: cancel the others (--halt now,fail=1), or continue",
    "continue"
  ),
  halt: Flag.kind("WHEN,WHAT=N[%]", halt)(
    "halt",
    "now,fail=1 ends all at the first failure; soon,fail=10% starts no further job; success=N too"
  ),
  joblog: Flags.file(
    "joblog",
    "one line for each job, in GNU parallel's columns; FILE is emptied first unless it is resumed"
  ),
  resume: Flag.toggle("resume", "with --joblog: skip jobs that are in it, by their command"),
  resumeFailed: Flag.toggle("resume-failed", "with --joblog: skip only jobs that succeeded"),
  results: Flags.folder(
    "results",
    "save stdout, stderr and exit code of each job in a folder of its own in DIR"
  ),
  load: Flag.kind("N", load)("load", "start no job while the machine's load is N or more"),
  memfree: Flags.size(1024 * 1024)("memfree", "start no job while less memory is free"),
  dryRun: Flags.dryRun,
  progress: Flags.progress,
  ...Flags.reporting
}

/** Their values. */
export type Config = Flag.Values<typeof flags>

/** The modes of output that are asked for. */
export const modes = ({ group, keepOrder, lineBuffer, ungroup }: Config) =>
  (
    [
      ["line", lineBuffer],
      ["keepOrder", keepOrder],
      ["inherit", ungroup],
      ["group", group]
    ] as const
  ).flatMap(([mode, on]) => (on ? [mode] : []))

/** What is wrong with options and words together; undefined if nothing is. */
export const problem = (
  config: Config,
  command: ReadonlyArray<string>,
  sources: ReadonlyArray<Template.Source>,
  isTerminal: boolean
): string | undefined => {
  const [mode, ...others] = modes(config)
  const lists = Math.max(1, sources.length)
  const highest = Template.highest(command)
  const wrong: ReadonlyArray<readonly [boolean, string]> = [
    [command.length === 0, "no command is given; write CMD ARG... ::: ITEM..."],
    [command[0]?.trim() === "", "the command is empty; write one like 'gzip -k {}'"],
    [
      sources.length > 0 && config.argFile !== undefined,
      "items come from ::: or from --arg-file, not from both; omit one"
    ],
    [
      sources.length === 0 && config.argFile === undefined && isTerminal,
      "no items are given; write ::: ITEM... after the command, or pipe them in, one on each line"
    ],
    [others.length > 0, "--group, --line-buffer, --keep-order and --ungroup exclude each other; give one"],
    [
      mode === "inherit" && (config.json || config.tag || config.results !== undefined),
      "--ungroup lets jobs write to stdout themselves; it excludes --tag, --json and --results"
    ],
    [
      config.halt !== undefined && config.onFailure !== undefined,
      "--halt and --on-failure both say when to end; give one"
    ],
    [
      (config.resume || config.resumeFailed) && config.joblog === undefined,
      "--resume and --resume-failed need --joblog FILE"
    ],
    [highest > lists, `{${highest}} refers to list ${highest} of items; lists given: ${lists}`]
  ]
  return wrong.find(([is]) => is)?.[1]
}
