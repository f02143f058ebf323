import type * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import { Option } from "effect"

/** A subcommand of `aio` as @effect/cli describes it. */
export type AnyCommand<R> = Command.Command<any, R, unknown, any>

export interface Flag {
  /** With its dashes: `--concurrency`. */
  readonly name: string
  /** With their dashes: `-j`. */
  readonly aliases: ReadonlyArray<string>
  /** The placeholder of its value in help texts; undefined for a switch. */
  readonly placeholder: string | undefined
  readonly repeatable: boolean
  readonly description: string
}

/** The options and arguments of a command: the only view of @effect/cli's descriptors in src/commands. */
export interface Spec {
  readonly name: string
  readonly description: string
  readonly flags: ReadonlyArray<Flag>
  readonly args: ReadonlyArray<{
    readonly name: string
    readonly repeatable: boolean
    readonly optional: boolean
    readonly description: string
  }>
  readonly children: ReadonlyArray<Spec>
}

// The parts of @effect/cli's internal trees that are walked here. The version is pinned, and the tests walk every option
// of every subcommand.
type Doc = HelpDoc.HelpDoc
type OptionNode =
  | { readonly _tag: "Empty" }
  | {
      readonly _tag: "Single"
      readonly fullName: string
      readonly aliases: ReadonlyArray<string>
      readonly placeholder: string
      readonly primitiveType: { readonly _tag: string }
      readonly description: Doc
    }
  | { readonly _tag: "KeyValueMap" | "Variadic"; readonly argumentOption: OptionNode }
  | { readonly _tag: "Map" | "WithFallback" | "WithDefault"; readonly options: OptionNode }
  | { readonly _tag: "Both" | "OrElse"; readonly left: OptionNode; readonly right: OptionNode }
type ArgNode =
  | { readonly _tag: "Empty" }
  | { readonly _tag: "Single"; readonly name: string; readonly description: Doc }
  | { readonly _tag: "Variadic"; readonly args: ArgNode; readonly min: Option.Option<number> }
  | { readonly _tag: "Map" | "WithDefault" | "WithFallbackConfig"; readonly args: ArgNode }
  | { readonly _tag: "Both"; readonly left: ArgNode; readonly right: ArgNode }
type CommandNode =
  | {
      readonly _tag: "Standard"
      readonly name: string
      readonly description: Doc
      readonly options: OptionNode
      readonly args: ArgNode
    }
  | { readonly _tag: "GetUserInput"; readonly name: string; readonly description: Doc }
  | { readonly _tag: "Map"; readonly command: CommandNode }
  | {
      readonly _tag: "Subcommands"
      readonly parent: CommandNode
      readonly children: ReadonlyArray<CommandNode>
    }

/** A HelpDoc as one line of plain text. */
export const oneLine = (doc: Doc): string =>
  HelpDoc.toAnsiText(doc)
    .replace(/\x1b\[[0-9;]*m/g, "")
    .replace(/\s+/g, " ")
    .trim()

// `n` is a name and is shown in capitals; `cancel|continue` and `sha256:HEX` are shown as they are.
const placeholder = (text: string) => (/[|:]/.test(text) ? text : text.toUpperCase())

const flagsOf = (node: OptionNode, repeatable = false): ReadonlyArray<Flag> => {
  switch (node._tag) {
    case "Empty":
      return []
    case "Single":
      return [
        {
          name: node.fullName,
          aliases: node.aliases.map((alias) => (alias.length === 1 ? `-${alias}` : `--${alias}`)),
          placeholder: node.primitiveType._tag === "Bool" ? undefined : placeholder(node.placeholder),
          repeatable,
          // A getter: only help texts need it, and twenty descriptions take a millisecond.
          get description() {
            return oneLine(node.description)
          }
        }
      ]
    case "KeyValueMap":
    case "Variadic":
      return flagsOf(node.argumentOption, true)
    case "Map":
    case "WithFallback":
    case "WithDefault":
      return flagsOf(node.options, repeatable)
    case "Both":
    case "OrElse":
      return [...flagsOf(node.left, repeatable), ...flagsOf(node.right, repeatable)]
  }
}

const argsOf = (node: ArgNode, repeatable = false, optional = false): Spec["args"] => {
  switch (node._tag) {
    case "Empty":
      return []
    case "Single":
      // Commands that require words after -- report their absence themselves, but are shown as requiring them.
      return [
        {
          name: node.name.replace(/^<|>$/g, "").toUpperCase(),
          repeatable,
          optional: optional && !/^<?\S+ -- /.test(node.name),
          get description() {
            return oneLine(node.description)
          }
        }
      ]
    case "Variadic":
      return argsOf(node.args, true, Option.getOrElse(node.min, () => 0) === 0)
    case "WithDefault":
    case "WithFallbackConfig":
      return argsOf(node.args, repeatable, true)
    case "Map":
      return argsOf(node.args, repeatable, optional)
    case "Both":
      return [...argsOf(node.left, repeatable, optional), ...argsOf(node.right, repeatable, optional)]
  }
}

const specOf = (node: CommandNode): Spec => {
  switch (node._tag) {
    case "Map":
      return specOf(node.command)
    case "GetUserInput":
      return { name: node.name, description: oneLine(node.description), flags: [], args: [], children: [] }
    case "Standard":
      return {
        name: node.name,
        get description() {
          return oneLine(node.description)
        },
        flags: flagsOf(node.options),
        args: argsOf(node.args),
        children: []
      }
    case "Subcommands":
      return { ...specOf(node.parent), children: node.children.map(specOf) }
  }
}

export const make = <R>(command: AnyCommand<R>): Spec => specOf(command.descriptor as unknown as CommandNode)
