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

/** What is wrong with options that go to runners, or are of this machine. */
const clusterProblem = (config: Flag.Values<typeof flags>): string | undefined => {
  if (config.cluster === undefined) {
    return config.group === undefined ? undefined : "--group applies to --cluster STORE only"
  }
  const { cacert, contentDisposition, directory, limitRate, output } = config
  const wrong: ReadonlyArray<readonly [boolean, string]> = [
    [
      directory !== undefined,
      "--directory is of this machine; with --cluster the runners have it: aio runner --downloads DIR"
    ],
    [
      output !== undefined,
      "--output is of this machine; with --cluster a file is named in a list (-a): URL, TAB, name"
    ],
    [
      contentDisposition,
      "--content-disposition names files as they come; with --cluster a file has the name of its URL, or of a list"
    ],
    [
      limitRate !== undefined,
      "--limit-rate is over the transfers of one machine; with --cluster give --jobs or --per-host"
    ],
    [
      cacert !== undefined,
      "--cacert is a file of this machine; with --cluster set NODE_EXTRA_CA_CERTS for the runners"
    ]
  ]
  return wrong.find(([is]) => is)?.[1]
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
  const elsewhere = clusterProblem(config)
  if (elsewhere !== undefined) return Command.usage(elsewhere)
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
