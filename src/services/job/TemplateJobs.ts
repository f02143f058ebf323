import { existsSync } from "node:fs"
import * as Command from "@effect/platform/Command"
import * as CommandText from "../process/CommandText.js"
import * as ShellWords from "../text/ShellWords.js"
import type { JobRequest } from "./Jobs.js"
import * as Template from "./Template.js"

/**
 * Jobs of one command with places for items.
 *
 * @since 0.1.0
 * @category models
 */
export interface TemplateJobs {
  /** The program of every job; undefined if it depends on the item, or a shell looks it up. */
  readonly program: string | undefined
  /**
   * Why a shell would interpret one of these items; undefined if all are harmless. The function itself is undefined if no
   * item can be misread.
   */
  readonly misread: ((values: ReadonlyArray<string>) => string | undefined) | undefined
  /** The next job, from 1, with one item of each source. */
  readonly next: (values: ReadonlyArray<string>) => JobRequest
}

/**
 * Jobs from a command's words as `Template` reads them. A shell reads the command if `shell` is set, or if it is one word
 * with blanks in it that is not the path of a file; items are then quoted for the shell.
 *
 * @example
 * ```ts
 * import * as Jobs from "effect-asyncio/services/Jobs"
 * import * as TemplateJobs from "effect-asyncio/services/TemplateJobs"
 *
 * const jobs = TemplateJobs.make(["gzip", "-k", "{}"])
 * export const events = Jobs.stream([["a.txt"], ["b.txt"]].map(jobs.next))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  words: ReadonlyArray<string>,
  options: { readonly shell?: boolean } = {}
): TemplateJobs => {
  const [first = ""] = words
  const inShell =
    options.shell === true ||
    (words.length === 1 && /\s/.test(first) && !(first.includes("/") && existsSync(first)))
  const template = inShell ? Template.make([words.join(" ")], ShellWords.quote) : Template.make(words)
  const misread = inShell ? Template.misread(words.join(" ")) : undefined
  const isFixed = Template.make([first])({ values: [], seq: 0, slot: 0 })[0] === first && !first.includes("{")
  const perSlot = words.some((word) => word.includes("{%}"))
  let seq = 0
  return {
    program: inShell || !isFixed ? undefined : first,
    misread: misread && ((values) => misread({ values })),
    next: (values) => {
      const number = ++seq
      const at = (slot: number | undefined) => {
        const [program = "", ...rest] = template({ values, seq: number, slot })
        return inShell ? CommandText.shell([program, ...rest].join(" ")) : Command.make(program, ...rest)
      }
      const label = values.join(" ")
      if (perSlot) return { label, command: at, key: () => CommandText.commandText(at(undefined)) }
      const everywhere = at(undefined)
      return { label, command: () => everywhere }
    }
  }
}
