import * as Table from "../../services/text/Table.js"
import * as Width from "../../services/text/Width.js"
import type * as Command from "./Command.js"
import type { Flag } from "./Flag.js"

// The texts of --help. A width of more than 100 columns is hard to read.

const widest = 100
const column = 30

/** How a text is printed. */
export interface Style {
  readonly colors: boolean
  /** The width of the terminal; undefined without one. */
  readonly columns?: number | undefined
}

const widthOf = ({ columns = widest }: Style) => Math.max(40, Math.min(widest, columns))

/** The text in lines of this width, with the second and later ones indented. */
const wrap = (text: string, indent: number, width: number): string => {
  const lines: Array<string> = []
  let line = ""
  const room = width - indent
  for (const word of text.split(" ")) {
    if (line !== "" && Width.of(line) + 1 + Width.of(word) > room) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`)
}

type Rows = ReadonlyArray<readonly [name: string, text: string]>

const rows = (entries: Rows, width: number): string => {
  if (entries.length === 0) return ""
  const left = width < 60 ? 6 : Math.min(column, Math.max(...entries.map(([name]) => name.length)) + 4)
  return entries
    .map(([name, text]) =>
      name.length + 4 > left
        ? `  ${name}\n${" ".repeat(left)}${wrap(text, left, width)}`
        : `  ${name.padEnd(left - 2)}${wrap(text, left, width)}`
    )
    .join("\n")
}

const sections = (parts: ReadonlyArray<readonly [title: string, text: string]>, { colors }: Style): string =>
  parts
    .filter(([, text]) => text !== "")
    .map(([title, text]) => `${colors ? `\x1b[1m${title}\x1b[0m` : title}\n${text}`)
    .join("\n\n")

type App = Pick<Command.App<never>, "name" | "version" | "summary"> & {
  readonly entries: ReadonlyArray<Pick<Command.App<never>["entries"][number], "name" | "summary" | "first">>
}

/** The text of `aio` alone: what a newcomer needs. */
export const start = (app: App, style: Style): string => {
  const width = widthOf(style)
  const first: Rows = app.entries.flatMap(({ first, summary }) =>
    first === undefined ? [] : [[`${app.name} ${first}`, summary] as const]
  )
  return [
    wrap(`${app.name} ${app.version}: ${app.summary}`, 0, width),
    "",
    sections([["A FIRST COMMAND OF EACH CONCEPT", rows(first, width)]], style),
    "",
    wrap(
      `${app.name} COMMAND --help has the options and examples of a command, ${app.name} guide CONCEPT its page of the guide, ${app.name} --help the options of all commands and the exit codes.`,
      0,
      width
    )
  ].join("\n")
}

/** The exit codes, and what they mean. */
export const exitCodes: Rows = [
  ["0", "success"],
  ["1", "some work failed"],
  ["2", "wrong usage"],
  ["3", "records may have been lost, with --on-gap fail"],
  ["124", "timed out"],
  ["126, 127", "a command cannot be run, is not found"],
  ["129, 130, 143", "ended by SIGHUP, SIGINT, SIGTERM; a second signal kills at once"],
  ["141", "the reader of stdout has closed it"]
]

/** The text of `aio --help`. */
export const root = (app: App, style: Style): string => {
  const width = widthOf(style)
  return [
    `${app.name} ${app.version}`,
    wrap(app.summary, 0, width),
    "",
    sections(
      [
        ["USAGE", `  ${app.name} COMMAND [OPTIONS] [ARGUMENTS]`],
        [
          "COMMANDS",
          rows(
            app.entries.map(({ name, summary }) => [name, summary]),
            width
          )
        ],
        [
          "OPTIONS",
          rows(
            [
              ["-h, --help", `print this help; ${app.name} COMMAND --help for a command`],
              ["--version", "print the version; with --verbose what it runs on"]
            ],
            width
          )
        ],
        [
          "ENVIRONMENT",
          rows(
            [
              ["AIO_NAME", "sets --name for every command: AIO_MAX_LINE=1M; the command line wins"],
              ["AIO_COMMAND_NAME", "sets it for one command: AIO_GATHER_TIMEOUT=30s"],
              ["NO_COLOR, FORCE_COLOR", "no colours, colours without a terminal"],
              ["CI, TERM=dumb", "no progress"]
            ],
            width
          )
        ],
        ["EXIT CODES", rows(exitCodes, width)]
      ],
      style
    )
  ].join("\n")
}

/** How an option is written: `-j, --jobs N`. */
export const spelling = ({ alias, bare, name, negatable, value }: Flag<unknown>): string =>
  `${alias === undefined ? "" : `-${alias}, `}--${negatable === true ? "[no-]" : ""}${name}${value === undefined ? "" : bare === undefined ? ` ${value}` : `[=${value}]`}`

/** The sentence of an option, with its default. */
export const meaning = ({ again, default: otherwise, text }: Flag<unknown>): string =>
  `${text}${again === "all" ? "; repeatable" : ""}${otherwise === undefined ? "" : `; default ${otherwise}`}`

/** The text of `aio COMMAND --help`; `path` is the words that call the command. */
export const command = (
  path: ReadonlyArray<string>,
  { children, description, example }: Command.Command<never>,
  style: Style
): string => {
  const width = widthOf(style)
  const called = path.join(" ")
  const usage = [...description.usage, ...(children.length > 0 ? ["SUBCOMMAND ..."] : [])]
  const variable = `AIO_${path[1]!.replaceAll("-", "_").toUpperCase()}_NAME`
  return [
    wrap(description.summary, 0, width),
    ...(example === undefined ? [] : ["Without arguments: the guide's example."]),
    "",
    sections(
      [
        ["USAGE", usage.map((words) => `  ${wrap(`${called} ${words}`.trimEnd(), 6, width)}`).join("\n")],
        [
          "SUBCOMMANDS",
          rows(
            children.map((child) => [child.name, child.description.summary]),
            width
          )
        ],
        [
          "ARGUMENTS",
          rows(
            (description.arguments ?? []).map(([name, text]) => [name, text]),
            width
          )
        ],
        [
          "OPTIONS",
          rows(
            [
              ...Object.values(description.flags).map((flag) => [spelling(flag), meaning(flag)] as const),
              ["-h, --help", "print this help"]
            ],
            width
          )
        ],
        // A command line is not wrapped: it is there to be copied.
        [
          "EXAMPLES",
          (description.examples ?? [])
            .map(
              ([line, text]) =>
                `  # ${wrap(text, 4, width).replaceAll("\n  ", "\n  #")}\n  ${path[0]} ${line}`
            )
            .join("\n")
        ],
        ["ENVIRONMENT", `  ${wrap(`${variable} or AIO_NAME sets the option --name`, 2, width)}`]
      ],
      style
    )
  ].join("\n")
}

/** The text of `aio --version --verbose`: a line for each thing on which behaviour depends. */
export const details = (version: string, backend: string): string =>
  [
    version,
    ...Table.keyed([
      ["node", process.versions.node],
      ["platform", `${process.platform} ${process.arch}`],
      ["processes", backend]
    ])
  ].join("\n")
