import type * as Workflow from "@effect/workflow/Workflow"
import { type Context, Data, Effect, Exit, Schema } from "effect"
import { codes } from "../../host/ExitCodes.js"
import { formatSize } from "../../text/Sizes.js"
import { problem } from "./problem.js"

// What of workflows is recorded, as JSON.

/** The most bytes of a payload, a result or an exit. */
export const mostBytes = 1024 ** 2

/**
 * A value cannot be recorded: it takes more than 1 MiB, or JSON changes it so that it does not match its schema any more. The
 * operations of `WorkflowEngine` have no errors of their own, so they die with it; that of a step is the step's result.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unrecordable extends Data.TaggedError("Unrecordable")<{
  /** `the payload of the workflow 'order'`. */
  readonly value: string
  readonly reason: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `${this.value} cannot be recorded: ${this.reason}`
  }
}

/** Of a schema whose context is that of the calling fiber, or is provided as `context`. */
type AnySchema<A> = Schema.Schema<A, any, never>

const write = <A>(value: string, schema: AnySchema<A>, given: A): Effect.Effect<string, Unrecordable> =>
  Effect.gen(function* () {
    const text = yield* Effect.mapError(
      Schema.encode(Schema.parseJson(schema))(given),
      (error) => new Unrecordable({ value, reason: problem(error) })
    )
    const bytes = Buffer.byteLength(text)
    if (bytes <= mostBytes) return text
    const reason = `it takes ${formatSize(bytes)}, and at most ${formatSize(mostBytes)} goes into the store; put it into Storage and record its key`
    return yield* new Unrecordable({ value, reason })
  })

const read = <A>(schema: AnySchema<A>, text: string) => Schema.decode(Schema.parseJson(schema))(text)

const AnyExit = Schema.Exit({ success: Schema.Unknown, failure: Schema.Unknown, defect: Schema.Defect })

/** The exit of a step or an event, whose values are encoded. */
export const writeExit = (
  value: string,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<string, Unrecordable> => write(value, AnyExit, exit)

export const readExit = (text: string): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.orDie(read(AnyExit, text))

/** The exit of a clock. */
export const voidExit = '{"_tag":"Success"}'

export const writePayload = (workflow: Workflow.Any, payload: object): Effect.Effect<string, Unrecordable> =>
  Effect.gen(function* () {
    const schema = workflow.payloadSchema as unknown as AnySchema<object>
    const value = `the payload of the workflow '${workflow.name}'`
    const text = yield* write(value, schema, payload)
    // What JSON changes (a Map, a Date, NaN) would never run.
    yield* Effect.mapError(
      read(schema, text),
      (error) => new Unrecordable({ value, reason: `after JSON, ${problem(error)}` })
    )
    return text
  })

export const readPayload = (
  workflow: Workflow.Any,
  text: string,
  context: Context.Context<never>
): Effect.Effect<object, string> =>
  Effect.mapError(
    Effect.provide(read(workflow.payloadSchema as unknown as AnySchema<object>, text), context),
    problem
  )

/** The results of executions, with the classes of the package. */
export const make = (lib: typeof Workflow) => {
  const schemaOf = ({ errorSchema, successSchema }: Workflow.Any) =>
    lib.Result({ success: successSchema, error: errorSchema }) as AnySchema<Workflow.Result<unknown, unknown>>
  const dead = (defect: unknown): Workflow.Result<unknown, unknown> =>
    new lib.Complete({ exit: Exit.die(defect) })
  const Suspended = Schema.parseJson(lib.Suspended)
  return {
    /** A result that cannot be recorded is a defect. */
    write: (
      workflow: Workflow.Any,
      result: Workflow.Result<unknown, unknown>,
      context: Context.Context<never>
    ): Effect.Effect<string> => {
      const schema = schemaOf(workflow)
      const value = `the result of the workflow '${workflow.name}'`
      const written = Effect.catchAll(write(value, schema, result), (error) =>
        Effect.orDie(write(value, schema, dead(error)))
      )
      return Effect.provide(written, context)
    },
    read: (workflow: Workflow.Any, text: string): Effect.Effect<Workflow.Result<unknown, unknown>> =>
      Effect.orDie(read(schemaOf(workflow), text)),
    /** Of an execution that waits, for the reason. */
    suspended: (cause: Workflow.Suspended["cause"]): string =>
      Schema.encodeSync(Suspended)(new lib.Suspended(cause === undefined ? {} : { cause }))
  }
}

export type Results = ReturnType<typeof make>
