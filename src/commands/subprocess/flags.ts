import { Either } from "effect"
import type { Input } from "../../services/host/Input.js"
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

/** A number of jobs at once: one of `Values.jobs`, or 0 for as many as possible. */
const jobs: Flag.Parse<Values.Jobs | "most"> = (text) =>
  text.trim() === "0" ? Either.right("most" as const) : Values.jobs(text)

const regex: Flag.Parse<RegExp> = (text) => {
  try {
    const found = new RegExp(text)
    return found.test("")
      ? Either.left(
          `'${text}' matches nothing at all; expected a pattern that takes a character, like '\\t' or ', *'`
        )
      : Either.right(found)
  } catch (error) {
    return Either.left(`${(error as Error).message}; expected a pattern like '\\t' or ', *'`)
  }
}

/** The options of `aio subprocess`. */
export const flags = {
  jobs: {
    ...Flag.kind(Flags.jobs.value!, jobs)("jobs", `${Flags.jobs.text}; 0: as many as possible`, {
      alias: "j",
      default: "the processors"
    }),
    insteadOf: "max-procs"
  },
  maxProcs: {
    ...Flag.kind(Flags.jobs.value!, jobs)("max-procs", "--jobs, as xargs and GNU parallel spell it too", {
      alias: "P"
    }),
    insteadOf: "jobs"
  },
  argFile: Flag.withText(Flags.argFile, "read items from FILE; - is standard input, the default"),
  format: Flag.withText(
    Flags.format(["lines", "null"]),
    "what an item is: a line of text, or text that ends with NUL"
  ),
  nul: Flags.nul,
  maxLine: Flags.maxLine,
  maxArgs: Flags.count(1)("max-args", "give each command N items; with --pipe N lines", { alias: "n" }),
  xargs: Flag.toggle("xargs", "give each command as many items as fit, as xargs does", "X"),
  maxChars: Flags.size(1)("max-chars", "with -n or -X: longest command line, 128K by default", {
    alias: "s"
  }),
  colsep: Flag.kind("REGEX", regex)("colsep", "split each item at REGEX: {1} {2} are its columns"),
  replace: Flag.kind("STR", Values.text("a text like %"))(
    "replace",
    "the place of the item in the command; {} is then text",
    { alias: "I" }
  ),
  pipe: Flag.toggle("pipe", "cut the input into blocks of whole lines, each the stdin of a job"),
  block: Flags.size(1)("block", "with --pipe: the size of a block, 1M by default"),
  group: Flag.value("group", {
    value: "NAME",
    bare: "",
    text: "each job's output when it has ended: the default; with --cluster --group=NAME: the runners of this group",
    parse: Either.right
  }),
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
  spoolMax: Flags.size(1024)(
    "spool-max",
    "end all jobs when more output than this waits to be printed; default no limit"
  ),
  load: Flag.kind("N", load)("load", "start no job while the machine's load is N or more"),
  memfree: Flags.size(1024 * 1024)("memfree", "start no job while less memory is free"),
  cluster: Flag.withText(
    Flags.cluster,
    "run the commands on the runners of this store (aio runner --store STORE --commands), as their users and in their folders"
  ),
  run: Flags.run,
  tries: Flags.tries,
  dryRun: Flags.dryRun,
  progress: Flags.progress,
  ...Flags.reporting
}

/** Their values. */
export type Config = Flag.Values<typeof flags>

/** The modes of output that are asked for. */
export const modes = ({ cluster, group, keepOrder, lineBuffer, ungroup }: Config) =>
  (
    [
      ["line", lineBuffer],
      ["keepOrder", keepOrder],
      ["inherit", ungroup],
      ["group", group !== undefined && cluster === undefined]
    ] as const
  ).flatMap(([mode, on]) => (on ? [mode] : []))

const isShare = (jobs: Values.Jobs | "most" | undefined) => typeof jobs === "object" && jobs.of !== "number"

/** What is wrong with options that go to runners, or are of this machine. */
const clusterProblem = (config: Config): string | undefined => {
  const { cluster, group, run, timeout, tries } = config
  if (cluster === undefined) {
    const given =
      run !== undefined
        ? "--run"
        : tries !== undefined
          ? "--tries"
          : group === undefined || group === ""
            ? undefined
            : `--group=${group}`
    return given && `${given} applies to --cluster STORE only`
  }
  const wrong: ReadonlyArray<readonly [boolean, string]> = [
    [group === "", "with --cluster --group names the runners' group; write --group=NAME"],
    [
      config.ungroup || config.lineBuffer,
      "--ungroup and --line-buffer show output as it comes; with --cluster it comes when its job has ended"
    ],
    [
      config.delay !== undefined || config.load !== undefined || config.memfree !== undefined,
      "--delay, --load and --memfree are for jobs that start here; with --cluster their runners start them"
    ],
    [typeof timeout === "object", "--timeout N% follows jobs that run here; with --cluster give a duration"],
    [
      isShare(config.jobs) || isShare(config.maxProcs),
      "N% and +N count the processors of this machine; with --cluster give --jobs a number"
    ]
  ]
  return wrong.find(([is]) => is)?.[1]
}

/** What is wrong with options and words together; undefined if nothing is. */
export const problem = (
  config: Config,
  command: ReadonlyArray<string>,
  sources: ReadonlyArray<Template.Source>,
  input: Pick<Input["Type"], "isTerminal" | "source">
): string | undefined => {
  const [mode, ...others] = modes(config)
  const several = config.maxArgs !== undefined || config.xargs
  const lists =
    config.colsep !== undefined || (config.xargs && config.maxArgs === undefined)
      ? Number.POSITIVE_INFINITY
      : (config.maxArgs ?? Math.max(1, sources.length))
  const highest = Template.highest(command)
  const isPlaced = command.some((word) => /\{\d*(\.|\/\/|\/\.|\/)?\}/.test(word))
  const reads = sources.length === 0 && (config.argFile !== undefined || input.source === "piped")
  const wrong: ReadonlyArray<readonly [boolean, string]> = [
    [
      command.length === 0 && (!reads || config.pipe),
      "no command is given; write CMD ARG... ::: ITEM..., or pipe whole commands in, one on each line"
    ],
    [command[0]?.trim() === "", "the command is empty; write one like 'gzip -k {}'"],
    [
      command.length === 0 && (several || config.colsep !== undefined || config.replace !== undefined),
      "--max-args, --xargs, --colsep and --replace need a command; without one, each line is a command"
    ],
    [
      sources.length > 0 && config.argFile !== undefined,
      "items come from ::: or from --arg-file, not from both; omit one"
    ],
    [
      sources.length === 0 && config.argFile === undefined && input.isTerminal,
      "no items are given; write ::: ITEM... after the command, or pipe them in, one on each line"
    ],
    [others.length > 0, "--group, --line-buffer, --keep-order and --ungroup exclude each other; give one"],
    [
      mode === "inherit" && (config.json || config.tag || config.results !== undefined),
      "--ungroup lets jobs write to stdout themselves; it excludes --tag, --json and --results"
    ],
    [
      config.spoolMax !== undefined && (mode === "inherit" || mode === "line"),
      "--spool-max limits output that waits; with --line-buffer and --ungroup none does: omit one"
    ],
    [
      config.halt !== undefined && config.onFailure !== undefined,
      "--halt and --on-failure both say when to end; give one"
    ],
    [
      (config.resume || config.resumeFailed) && config.joblog === undefined,
      "--resume and --resume-failed need --joblog FILE"
    ],
    [config.jobs !== undefined && config.maxProcs !== undefined, "-j and -P are the same; give one"],
    [
      config.pipe && (sources.length > 0 || config.colsep !== undefined || config.xargs),
      "--pipe gives the input to the stdin of jobs; it excludes :::, --xargs and --colsep"
    ],
    [
      config.pipe && isPlaced,
      "with --pipe no item is a word of the command; it can have {#} and {%}, and other braces only in a script"
    ],
    [
      config.block !== undefined && (!config.pipe || config.maxArgs !== undefined),
      "--block needs --pipe, and excludes --max-args, which cuts blocks by lines"
    ],
    [config.maxChars !== undefined && (!several || config.pipe), "--max-chars needs --max-args or --xargs"],
    [
      several && (sources.length > 1 || config.colsep !== undefined),
      "--max-args and --xargs take items of one list, without --colsep"
    ],
    [highest > lists, `{${highest}} refers to list ${highest} of items; lists given: ${lists}`]
  ]
  return wrong.find(([is]) => is)?.[1] ?? clusterProblem(config)
}
