import type { Spec } from "./Spec.js"

const width = 100
const column = 30

const wrap = (text: string, indent: number): string => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`)
}

const rows = (entries: ReadonlyArray<readonly [string, string]>): string => {
  const left = Math.min(column, Math.max(...entries.map(([name]) => name.length)) + 4)
  return entries
    .map(([name, text]) =>
      name.length + 4 > left
        ? `  ${name}\n${" ".repeat(left)}${wrap(text, left)}`
        : `  ${name.padEnd(left - 2)}${wrap(text, left)}`
    )
    .join("\n")
}

const head = (title: string, colors: boolean) => (colors ? `\x1b[1m${title}\x1b[0m` : title)

/** The text of `aio --help`. */
export const root = (
  app: {
    readonly name: string
    readonly version: string
    readonly summary: string
    readonly entries: ReadonlyArray<{ readonly name: string; readonly summary: string }>
  },
  colors: boolean
): string =>
  [
    `${app.name} ${app.version}`,
    wrap(app.summary, 0),
    "",
    head("USAGE", colors),
    `  ${app.name} COMMAND [OPTIONS] [ARGUMENTS]`,
    "",
    head("COMMANDS (without arguments, each runs the guide's example)", colors),
    rows(app.entries.map(({ name, summary }) => [name, summary])),
    "",
    head("OPTIONS", colors),
    rows([
      ["-h, --help", `print this help; ${app.name} COMMAND --help for a command`],
      ["--version", "print the version"]
    ]),
    "",
    wrap(
      "Every option can also be set in the environment: --max-size as AIO_MAX_SIZE. The command line wins.",
      0
    ),
    "",
    head("EXIT CODES", colors),
    rows([
      ["0", "success"],
      ["1", "some work failed"],
      ["2", "wrong usage"],
      ["124", "timed out"],
      ["126, 127", "a command cannot be run, is not found"],
      ["130, 143", "ended by SIGINT, SIGTERM; a second signal kills at once"]
    ])
  ].join("\n")

/** The text of `aio COMMAND --help`; `path` is the words that call the command. */
export const command = (path: ReadonlyArray<string>, spec: Spec, colors: boolean): string => {
  const args = spec.args.map(({ name, optional, repeatable }) => {
    const many = repeatable ? `${name}...` : name
    return optional ? `[${many}]` : many
  })
  const usage = [...path, ...(spec.flags.length > 0 ? ["[OPTIONS]"] : []), ...args].join(" ")
  const described = spec.args
    .filter(({ description }) => description !== "")
    .map(({ description, name }) => [name, description] as const)
  const flags = [
    ...spec.flags.map((flag) => {
      const value = flag.placeholder === undefined ? "" : ` ${flag.placeholder}`
      const names = [...flag.aliases, flag.name].join(", ")
      return [`${names}${value}`, flag.description] as const
    }),
    ["-h, --help", "print this help"] as const
  ]
  return [
    wrap(spec.description, 0),
    "",
    head("USAGE", colors),
    `  ${usage}`,
    ...(spec.children.length > 0
      ? [
          `  ${[...path, "SUBCOMMAND", "..."].join(" ")}`,
          "",
          head("SUBCOMMANDS", colors),
          rows(spec.children.map((child) => [child.name, child.description]))
        ]
      : []),
    ...(described.length > 0 ? ["", head("ARGUMENTS", colors), rows(described)] : []),
    "",
    head("OPTIONS", colors),
    rows(flags)
  ].join("\n")
}
