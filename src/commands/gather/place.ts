import { basename, dirname, join } from "node:path"
import { Effect } from "effect"
import * as Command from "../kernel/Command.js"
import type * as Flag from "../kernel/Flag.js"
import type { flags } from "./flags.js"

/** Where bodies go: into files of a folder, to stdout, or nowhere. */
export interface Place {
  readonly bodies: "saved" | "discarded" | "printed"
  readonly directory: string | undefined
  /** The name of the one file, if it is given. */
  readonly name: string | undefined
}

export const placeOf = (
  config: Flag.Values<typeof flags>,
  /** Whether there is one URL. */
  one: boolean
): Effect.Effect<Place, Command.Problem> => {
  const {
    clobber,
    contentDisposition,
    directory,
    discard,
    forceDirectories,
    json,
    output,
    resume,
    split,
    timestamping
  } = config
  const given = directory !== undefined ? "--directory" : output !== undefined ? "--output" : undefined
  if (timestamping) {
    const excluded =
      clobber === false
        ? "--no-clobber"
        : contentDisposition
          ? "--content-disposition"
          : discard
            ? "--discard"
            : output === "-"
              ? "--output -"
              : undefined
    if (excluded !== undefined)
      return Command.usage(`--timestamping compares with the saved file; omit it or ${excluded}`)
  }
  if (forceDirectories && (discard || output !== undefined)) {
    const other = discard ? "--discard saves nothing" : "--output names the file"
    return Command.usage(`${other}; omit it or --force-directories`)
  }
  if (split !== undefined && split > 1) {
    const other =
      discard || output === "-"
        ? [discard ? "--discard" : "--output -", "saves no segments"]
        : resume === false
          ? ["--no-resume", "keeps no partial file, in which segments are joined"]
          : undefined
    if (other !== undefined) return Command.usage(`${other[0]} ${other[1]}; omit it or --split`)
  }
  if (discard) {
    if (given !== undefined) return Command.usage(`--discard saves nothing; omit it or ${given}`)
    return Effect.succeed({ bodies: "discarded", directory: undefined, name: undefined })
  }
  if (output === undefined)
    return Effect.succeed({ bodies: "saved", directory: directory ?? ".", name: undefined })
  if (!one) return Command.usage("--output is for one URL; in a list write URL, TAB, file name")
  if (contentDisposition)
    return Command.usage("--output names the file, and so does --content-disposition; omit one of them")
  if (output === "-") {
    if (json) return Command.usage("--json and --output - both write to standard output; omit one of them")
    return Effect.succeed({ bodies: "printed", directory: undefined, name: undefined })
  }
  const path = join(directory ?? ".", output)
  const name = basename(path)
  if (/(^|\/)\.{0,2}$/.test(output)) return Command.usage(`--output '${output}' is a folder; give a file`)
  return Effect.succeed({ bodies: "saved", directory: dirname(path), name })
}
