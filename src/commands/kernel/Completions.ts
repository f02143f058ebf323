import type * as Command from "./Command.js"
import type * as Flag from "./Flag.js"

// Completions of the shells, from the descriptions of the commands. A script knows the words of the grammar alone: which
// options a command has, which of them take a value, and where options end. It never starts `aio`.

export const shells = ["bash", "zsh", "fish"] as const
export type Shell = (typeof shells)[number]
export const isShell = (text: string): text is Shell => shells.some((shell) => shell === text)

/** What a value or an operand is completed with. */
type Values = ReadonlyArray<string> | "files" | "folders" | "commands" | "none"

interface Node {
  /** The words behind `aio`: `schedule at`. */
  readonly path: string
  readonly name: string
  readonly summary: string
  readonly flags: ReadonlyArray<Flag.Flag<unknown>>
  readonly list: boolean
  readonly operands: Values
  readonly children: ReadonlyArray<Node>
}

const valuesOf = (name: string, words: ReadonlyArray<string> | undefined): Values =>
  words ??
  (/\b(FILE|MODULE|PATH)\b/.test(name)
    ? "files"
    : /\bDIR\b/.test(name)
      ? "folders"
      : /\bCOMMAND\b/.test(name)
        ? "commands"
        : "none")

const nodeOf = (above: string, { children, description, name, operands }: Command.Command<never>): Node => {
  const path = above === "" ? name : `${above} ${name}`
  const kinds = (description.arguments ?? []).map(([name, , words]) => valuesOf(name, words))
  return {
    path,
    name,
    summary: description.summary,
    // The next word is not the value of one that can stand alone.
    flags: Object.values(description.flags).map((flag) =>
      flag.bare === undefined ? flag : { ...flag, value: undefined }
    ),
    list: operands === "list",
    operands: kinds.find((kind) => kind !== "none") ?? "none",
    children: children.map((child) => nodeOf(path, child))
  }
}

const all = (nodes: ReadonlyArray<Node>): ReadonlyArray<Node> =>
  nodes.flatMap((node) => [node, ...all(node.children)])

/** `aio` itself, as a command. */
const rootOf = (name: string, commands: ReadonlyArray<Command.Command<never>>): Node => ({
  path: "",
  name,
  summary: "",
  flags: [],
  list: false,
  operands: "none",
  children: commands.map((command) => nodeOf("", command))
})

const spellings = ({ alias, name, negatable }: Flag.Flag<unknown>): ReadonlyArray<string> => [
  ...(alias === undefined ? [] : [`-${alias}`]),
  `--${name}`,
  ...(negatable === true ? [`--no-${name}`] : [])
]

const always = ["-h", "--help"]
const atRoot = ["help", "--version", ...always]

/** Text as one word of a shell. */
const word = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

const bash = (root: Node): string => {
  const { name } = root
  const nodes = [root, ...all(root.children)]
  const cases = nodes.map((node) => {
    const valued = node.flags.filter(({ value }) => value !== undefined).flatMap(spellings)
    const options = [...node.flags.flatMap(spellings), ...always]
    const words = [...node.children.map(({ name }) => name), ...(node === root ? atRoot : [])]
    return `    ${word(node.path)}) words=${word(words.join(" "))} options=${word(options.join(" "))} valued=${word(valued.join(" "))} list=${node.list ? 1 : ""} operands=${action(node.operands)} ;;`
  })
  const values = nodes.flatMap((node) =>
    node.flags.flatMap((flag) => {
      const kind = valuesOf(flag.value ?? "", flag.words)
      const names = spellings(flag).map((spelling) => word(`${node.path} ${spelling}`))
      return kind === "none" ? [] : [`    ${names.join("|")}) ${reply(kind)} ;;`]
    })
  )
  return `# Completions of ${name} for bash: source <(${name} completions bash)
_${name}_command() {
  case $1 in
${cases.join("\n")}
  esac
}
_${name}_reply() {
  local line
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen "\${@:1:$#-1}" -- "\${@: -1}")
}
_${name}_files() {
  compopt -o filenames 2>/dev/null
  _${name}_reply "$@"
}
_${name}_value() {
  case $1 in
${values.join("\n")}
  esac
}
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path= option= ended= begun= i words options valued list operands word
  COMPREPLY=()
  _${name}_command ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    # Readline gives --name=value as three words.
    if [[ $option && $word == = ]]; then continue
    elif [[ $option ]]; then option=
    elif [[ $ended ]]; then continue
    elif [[ $word == -- ]]; then ended=1 begun=1
    elif [[ $word == -?* ]]; then
      if [[ " $valued " == *" $word "* ]]; then option=$word; fi
    elif [[ ! $path && $word == help ]]; then continue
    elif [[ ! $begun && " $words " == *" $word "* ]]; then
      path=\${path:+$path }$word
      _${name}_command "$path"
    else
      begun=1 ended=$list
    fi
  done
  if [[ $option ]]; then
    if [[ $cur == = ]]; then cur=; fi
    _${name}_value "$path $option" "$cur"
  elif [[ ! $ended && $cur == -* ]]; then
    if [[ $path ]]; then words=; fi
    _${name}_reply -W "$options $words" "$cur"
  else
    if [[ ! $begun ]]; then _${name}_reply -W "$words" "$cur"; fi
    if [[ $operands == -[fd] ]]; then _${name}_files "$operands" "$cur"
    elif [[ $operands == -c ]]; then
      if [[ ! $begun ]]; then _${name}_reply -c "$cur"; fi
      _${name}_files -f "$cur"
    elif [[ $operands ]]; then _${name}_reply -W "$operands" "$cur"; fi
  fi
}
complete -F _${name} ${name}`

  function action(kind: Values): string {
    return kind === "none" ? "" : word(typeof kind === "string" ? compgen[kind] : kind.join(" "))
  }
  function reply(kind: Exclude<Values, "none">): string {
    return typeof kind === "string"
      ? `_${name}_files ${compgen[kind]} "$2"`
      : `_${name}_reply -W ${word(kind.join(" "))} "$2"`
  }
}

const compgen = { files: "-f", folders: "-d", commands: "-c" } as const

const zsh = (root: Node): string => {
  const { name } = root
  const text = (of: string) => of.replace(/[[\]\\:]/g, "\\$&")
  const action = (kind: Values) =>
    typeof kind === "string"
      ? { files: "_files", folders: "_files -/", commands: "_normal", none: " " }[kind]
      : `(${kind.join(" ")})`
  const spec = (flag: Flag.Flag<unknown>) => {
    const names = spellings(flag)
    const { again, value } = flag
    const before = again === "last" ? `(${names.join(" ")})` : "*"
    const after = `[${text(flag.text)}]${value === undefined ? "" : `:${text(value)}:${action(valuesOf(value, flag.words))}`}`
    const suffix = (one: string) => (value === undefined ? "" : one.startsWith("--") ? "=" : "+")
    return names.map((one) => word(`${before}${one}${suffix(one)}${after}`)).join(" ")
  }
  const call = (path: string) => `_${name}${path === "" ? "" : `_${path.replaceAll(" ", "_")}`}`
  const functions = [root, ...all(root.children)].map((node) => {
    const { children, flags, list, operands, path } = node
    const options = [
      ...flags.map(spec),
      word("(- *)-h[print help]"),
      word("(- *)--help[print help]"),
      ...(node === root ? [word("(- *)--version[print the version]")] : [])
    ]
    if (children.length === 0) {
      return `${call(path)}() {
  _arguments -s -S ${list ? "-A '-*' " : ""}: \\
    ${[...options, word(`*::operand:${action(operands)}`)].join(" \\\n    ")}
}`
    }
    return `${call(path)}() {
  local curcontext=$curcontext state line
  local -a below
  _arguments -C -s -S : \\
    ${[...options, "'1: :->below'", "'*:: :->words'"].join(" \\\n    ")}
  case $state in
    below)
      below=(
        ${children.map(({ name, summary }) => word(`${name}:${summary}`)).join("\n        ")}
      )
      _describe command below ;;
    words)
      case $words[1] in
        ${children.map(({ name, path }) => `${name}) ${call(path)} ;;`).join("\n        ")}
      esac ;;
  esac
}`
  })
  return `#compdef ${name}
# Completions of ${name} for zsh: source <(${name} completions zsh), behind compinit
${functions.join("\n")}
if [[ $funcstack[1] == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi`
}

const fish = (root: Node): string => {
  const { name } = root
  const nodes = [root, ...all(root.children)]
  const text = (of: string) => `'${of.replace(/[\\']/g, "\\$&")}'`
  const action = (kind: Values) =>
    typeof kind === "string"
      ? {
          files: " -F",
          folders: ` -a '(__fish_complete_directories)'`,
          commands: ` -a '(__fish_complete_subcommand)'`,
          none: ""
        }[kind]
      : ` -a ${text(kind.join(" "))}`
  const table = (what: string, of: (node: Node) => ReadonlyArray<string>) => {
    const rows = nodes.flatMap((node) =>
      of(node).length === 0
        ? []
        : [`    case ${text(node.path)}\n      string split -- ' ' ${text(of(node).join(" "))}`]
    )
    return `function __${name}_${what}\n  switch "$argv"\n${rows.join("\n")}\n  end\nend`
  }
  const lines = nodes.flatMap((node) => {
    const here = (kind: string) =>
      `complete -c ${name} -n ${text(`__${name}_${kind} ${node.path}`.trimEnd())}`
    return [
      ...node.children.map(({ name, summary }) => `${here("begins")} -a ${name} -d ${text(summary)}`),
      ...(node === root ? [`${here("begins")} -a help`, `${here("begins")} -l version`] : []),
      ...(node.operands === "none" ? [] : [`${here("at")}${action(node.operands)}`]),
      ...node.flags.flatMap(({ alias, name, negatable, text: meaning, value, words }) => {
        const kind = valuesOf(value ?? "", words)
        const takes = value === undefined ? "" : kind === "files" ? " -r -F" : ` -x${action(kind)}`
        const short = alias === undefined ? "" : ` -s ${alias}`
        const one = `${here("options")}${short} -l ${name}${takes} -d ${text(meaning)}`
        return negatable === true ? [one, `${here("options")} -l no-${name} -d ${text(meaning)}`] : [one]
      }),
      `${here("options")} -s h -l help -d 'print help'`
    ]
  })
  return `# Completions of ${name} for fish: ${name} completions fish | source
${table("below", ({ children }) => children.map(({ name }) => name))}
${table("valued", ({ flags }) => flags.filter(({ value }) => value !== undefined).flatMap(spellings))}
${table("list", ({ list }) => (list ? ["1"] : []))}
# Whether options have ended, whether operands have begun, and the words that call the command.
function __${name}_where
  set -l path
  set -l skip 0
  set -l ended 0
  set -l begun 0
  for token in (commandline -opc)[2..]
    if test $skip = 1
      set skip 0
    else if test $ended = 1
      continue
    else if test "$token" = --
      set ended 1
      set begun 1
    else if string match -qr '^-.' -- $token
      contains -- $token (__${name}_valued $path); and set skip 1
    else if test -z "$path" -a "$token" = help
      continue
    else if test $begun = 0; and contains -- $token (__${name}_below $path)
      set -a path $token
    else
      set begun 1
      test -n "$(__${name}_list $path)"; and set ended 1
    end
  end
  string join \\n -- $ended $begun "$path"
end
function __${name}_at
  set -l where (__${name}_where)
  test "$where[3]" = "$argv"
end
function __${name}_options
  set -l where (__${name}_where)
  test "$where[3]" = "$argv" -a $where[1] = 0
end
function __${name}_begins
  set -l where (__${name}_where)
  test "$where[3]" = "$argv" -a $where[2] = 0
end
complete -c ${name} -f
${lines.join("\n")}`
}

const scripts = { bash, zsh, fish }

/** The script for a shell, without a line end. */
export const make = (shell: Shell, name: string, commands: ReadonlyArray<Command.Command<never>>): string =>
  scripts[shell](rootOf(name, commands))
