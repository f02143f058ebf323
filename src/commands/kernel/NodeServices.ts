import type * as Executor from "@effect/platform/CommandExecutor"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import type * as Platform from "@effect/platform/Terminal"
import type * as Worker from "@effect/platform/Worker"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import { Layer } from "effect"
import * as Input from "../../services/host/Input.js"
import type * as Output from "../../services/host/Output.js"
import * as Terminal from "../../services/host/Terminal.js"
import * as CommandExecutor from "../../services/process/CommandExecutor.js"
import * as Processes from "../../services/process/Processes.js"

/**
 * The services of `NodeContext`, with this library's {@link CommandExecutor}, which ends whole
 * process trees with the program, its {@link Terminal}, which also reads pipes, and Effect's `WorkerManager`.
 */
export const layer: Layer.Layer<
  Executor.CommandExecutor | FileSystem.FileSystem | Path.Path | Platform.Terminal | Worker.WorkerManager,
  never,
  Output.Output
> = Layer.mergeAll(
  NodeFileSystem.layer,
  NodePath.layer,
  Layer.provide(CommandExecutor.layer, Processes.layer),
  Layer.provide(Terminal.layer, Input.layer),
  NodeWorker.layerManager
)
