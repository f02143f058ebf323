import { closeSync, rmSync, statSync } from "node:fs"
import { extname } from "node:path"
import { Effect, Layer, Stream } from "effect"
import * as ServerCompare from "../../programs/ServerCompare.js"
import { codes, ExitError } from "../../services/host/ExitCodes.js"
import * as OwnFiles from "../../services/host/OwnFiles.js"
import * as SystemLoad from "../../services/host/SystemLoad.js"
import * as LoadDriver from "../../services/http/LoadDriver.js"
import { plural } from "../../services/text/Plural.js"
import * as Command from "../kernel/Command.js"
import * as ProcessServices from "../kernel/ProcessServices.js"
import * as Reporter from "../kernel/Reporter.js"
import * as CompareView from "./compareView.js"

export interface Config extends Reporter.Settings, ServerCompare.CompareOptions {
  /** The file for the picture. */
  readonly out?: string | undefined
  /** Columns of the terminal. */
  readonly columns?: number | undefined
}

const endings = Object.keys(CompareView.pictures)

/** How the picture is made; refuses a file that cannot be written, before anything is measured. */
const pictureOf = (out: string) =>
  Effect.gen(function* () {
    const picture = CompareView.pictures[extname(out).toLowerCase()]
    if (picture === undefined) {
      return yield* Command.usage(`--out '${out}' has an unknown ending; expected ${endings.join(" or ")}`)
    }
    yield* Effect.try({
      try: () => {
        if (statSync(out, { throwIfNoEntry: false })?.isDirectory() === true) {
          throw Object.assign(new Error(), { code: "EISDIR" })
        }
        const trial = OwnFiles.temporaryName(out)
        closeSync(OwnFiles.createExclusive(trial))
        rmSync(trial)
      },
      catch: (error) => Command.usage(`--out '${out}' cannot be written: ${OwnFiles.describe(error)}`)
    })
    return picture
  })

/** `aio server --compare`: measures, prints table, pictures and predictions, and writes the picture. */
export const run = ({ columns = 80, out, ...config }: Config) =>
  Effect.gen(function* () {
    const picture = out === undefined ? undefined : yield* pictureOf(out)
    const view = CompareView.make(columns)
    const { note, report } = yield* Reporter.make(view, config)
    const { cpus, load } = yield* SystemLoad.SystemLoad
    const busy = yield* load
    if (busy > cpus / 2) {
      const reason = `the machine is busy (load ${busy.toFixed(1)} on ${plural(cpus, "processor")}): figures are worse than on an idle one`
      yield* report([{ event: "note", reason }])
    }
    let exitCode: number = codes.ok
    yield* Stream.runForEach(ServerCompare.compare(config), (event) => {
      if (event.event === "compared") exitCode = event.exitCode
      return report([event])
    })
    const compared = view.compared()
    if (out !== undefined && picture !== undefined && compared !== undefined) {
      yield* Effect.try({
        try: () => OwnFiles.replaceFile(out, Buffer.from(picture(compared))),
        catch: (error) =>
          new ExitError({
            exitCode: codes.failed,
            message: `--out '${out}' cannot be written: ${OwnFiles.describe(error)}`
          })
      })
      yield* note(`picture: ${out}`)
    }
    if (exitCode !== codes.ok) return yield* new ExitError({ exitCode, message: "" })
  }).pipe(Effect.scoped)

/** What {@link run} needs. */
export const layer = Layer.mergeAll(
  SystemLoad.layer,
  Layer.provideMerge(LoadDriver.layer, ProcessServices.layer)
)
