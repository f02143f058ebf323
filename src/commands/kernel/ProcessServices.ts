import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Effect, Layer } from "effect"
import * as Processes from "../../services/process/Processes.js"
import { OwnProcess } from "./OwnProcess.js"

/**
 * What commands that start processes need: processes that adopt orphans, if this process is the command's own, and the
 * file system, in which programs are searched.
 */
export const layerWith = (options: Processes.Options) =>
  Layer.merge(
    NodeFileSystem.layer,
    Layer.unwrapEffect(
      Effect.map(OwnProcess, (adoptOrphans) => Processes.layerWith({ ...options, adoptOrphans }))
    )
  )

export const layer = layerWith({})
