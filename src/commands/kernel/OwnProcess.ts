import { Context, Effect, Layer } from "effect"

/** Whether the process is the command's own. Tests run commands in theirs. */
export class OwnProcess extends Context.Reference<OwnProcess>()("effect-asyncio/commands/OwnProcess", {
  defaultValue: () => false
}) {}

/** Ends what a person's code starts by itself, if the process is the command's own. */
export const guarded: Layer.Layer<never> = Layer.unwrapEffect(
  Effect.flatMap(OwnProcess, (isOwn) =>
    isOwn
      ? Effect.promise(async () => (await import("../../services/process/Guarded.js")).layer)
      : Effect.succeed(Layer.empty)
  )
)
