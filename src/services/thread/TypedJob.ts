import { Cause, Effect, Either, Exit, Option, ParseResult, Schema, Stream } from "effect"
import * as Printable from "../text/Printable.js"
import { Executor } from "./Executor.js"
import { type ExecutorError, JobRefused, NotSerializable } from "./ExecutorError.js"
import { isThenable, reasonOf } from "./internal/task.js"
import * as Job from "./Job.js"
import * as MapJobs from "./MapJobs.js"

// Jobs whose arguments, result and errors are described by Schemas. What travels is the encoded side, as plain values; each side
// has the schemas from its own code.

// model

/**
 * What a job takes, returns and fails with.
 *
 * @since 0.1.0
 * @category models
 */
export interface Contract<Args extends ReadonlyArray<any>, A, E = never> {
  readonly args: Schema.Schema<Args, any>
  readonly success: Schema.Schema<A, any>
  readonly error: Schema.Schema<E, any>
}

/**
 * A function of a module, for executors that send it encoded values; {@link implement} makes it. Called with values that were
 * encoded otherwise, as `aio executor` does with its items, it returns the encoded result, or fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface Implemented<Args extends ReadonlyArray<any>, A, E> extends Contract<Args, A, E> {
  (...args: ReadonlyArray<unknown>): Effect.Effect<unknown, unknown>
}

/**
 * A job with its contract.
 *
 * @since 0.1.0
 * @category models
 */
export interface TypedJob<Args extends ReadonlyArray<any>, A, E = never> {
  readonly contract: Contract<Args, A, E>
  /** The job as executors see it. */
  readonly job: Job.Job<[unknown], unknown>
}

/**
 * The end of one input of {@link each}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item<Input, A, E> extends Omit<MapJobs.Item<Input, A>, "result"> {
  readonly result: Either.Either<A, E | ExecutorError>
}

type TypesOf<Schemas extends ReadonlyArray<Schema.Schema<any, any>>> = {
  -readonly [K in keyof Schemas]: Schema.Schema.Type<Schemas[K]>
}

// what travels

const mark = "effect-asyncio/TypedJob"

interface Request {
  readonly [mark]: 1
  readonly args: unknown
}

type Answer = { readonly [mark]: 1 } & (
  | { readonly success: unknown }
  | { readonly failure: unknown }
  | { readonly refused: string }
)

const wrong = (why: string): unknown => new TypeError(why)

const isOurs = (value: unknown): value is { readonly [mark]: 1 } =>
  typeof value === "object" && value !== null && mark in value && value[mark] === 1

const problem = (error: ParseResult.ParseError): string => {
  const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const path = first?.path.map(String).join(".") ?? ""
  return Printable.line(`${path === "" ? "" : `${path}: `}${first?.message ?? error.message}`)
}

/** A transformation of a schema that throws is a mismatch too. */
const attempt = <A>(parse: () => Either.Either<A, ParseResult.ParseError>): Either.Either<A, string> => {
  try {
    return Either.mapLeft(parse(), problem)
  } catch (error) {
    return Either.left(reasonOf(error))
  }
}
const encode = <A>(schema: Schema.Schema<A, any>, value: A): Either.Either<unknown, string> =>
  attempt(() => Schema.encodeEither(schema)(value))
const decode = <A>(schema: Schema.Schema<A, any>, value: unknown): Either.Either<A, string> =>
  attempt(() => Schema.decodeUnknownEither(schema)(value))

// constructors

/**
 * Describes a job by Schemas: `args` has one for each argument. `error` is what the function may fail with, and what reaches
 * the caller as this type; default: nothing. Transformations are synchronous and require no services; encoded sides are what
 * structured clone copies: `Schema.Date` and `Schema.Option`, not `Schema.OptionFromSelf`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const contract = <
  const Schemas extends ReadonlyArray<Schema.Schema<any, any>>,
  A,
  AEncoded,
  E = never,
  EEncoded = never
>(schemas: {
  readonly args: Schemas
  readonly success: Schema.Schema<A, AEncoded>
  readonly error?: Schema.Schema<E, EEncoded> | undefined
}): Contract<TypesOf<Schemas>, A, E> => ({
  args: Schema.Tuple(...schemas.args) as unknown as Schema.Schema<TypesOf<Schemas>, any>,
  success: schemas.success,
  error: schemas.error ?? (Schema.Never as unknown as Schema.Schema<E, any>)
})

/**
 * Implements a contract: the export of the module that runs the job. The function returns its result at once, by a promise, or
 * by an Effect. What it fails with, throws or rejects with reaches the caller as it is if the contract's `error` describes it,
 * else as `JobFailed`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const implement = <Args extends ReadonlyArray<any>, A, E>(
  contract: Contract<Args, A, E>,
  fn: (...args: NoInfer<Args>) => NoInfer<A> | PromiseLike<NoInfer<A>> | Effect.Effect<NoInfer<A>, NoInfer<E>>
): Implemented<Args, A, E> => {
  const call = (args: Args): Effect.Effect<A, unknown> =>
    Effect.suspend(() => {
      try {
        const value = fn(...args)
        if (Effect.isEffect(value)) return value as Effect.Effect<A, E>
        return isThenable(value)
          ? // It cannot be interrupted: its thread is ended after the grace period.
            Effect.uninterruptible(
              Effect.async<A, unknown>((resume) => {
                ;(value as PromiseLike<A>).then(
                  (result) => resume(Effect.succeed(result)),
                  (error) => resume(Effect.fail(error))
                )
              })
            )
          : Effect.succeed(value as A)
      } catch (error) {
        return Effect.fail(error)
      }
    })
  const isError = Schema.is(contract.error)
  /** The typed failure that this is, and nothing else: no defect beside it. */
  const failureOf = (cause: Cause.Cause<unknown>): Option.Option<E> =>
    Option.filter(Cause.failureOption(cause), isError).pipe(
      Option.filter(() => Option.isNone(Cause.dieOption(cause)))
    )
  const answer = (given: unknown): Effect.Effect<Answer, unknown> =>
    Effect.gen(function* () {
      const refused = (why: string): Answer => ({ [mark]: 1, refused: why })
      const args = decode(contract.args, given)
      if (Either.isLeft(args)) return refused(`its module does not take these arguments: ${args.left}`)
      const exit = yield* Effect.exit(call(args.right))
      const failure = Exit.isFailure(exit) ? failureOf(exit.cause) : Option.none()
      if (Exit.isFailure(exit) && Option.isNone(failure)) return yield* Effect.failCause(exit.cause)
      const encoded = Exit.isSuccess(exit)
        ? encode(contract.success, exit.value)
        : encode(contract.error, Option.getOrThrow(failure))
      if (Either.isLeft(encoded)) {
        return refused(
          `its module's ${Exit.isSuccess(exit) ? "result" : "error"} is not what its schema describes: ${encoded.left}`
        )
      }
      return Exit.isSuccess(exit)
        ? { [mark]: 1, success: encoded.right }
        : { [mark]: 1, failure: encoded.right }
    })
  const implemented = (...given: ReadonlyArray<unknown>): Effect.Effect<unknown, unknown> => {
    const [request] = given
    if (given.length === 1 && isOurs(request)) return answer((request as Request).args)
    return Effect.flatMap(answer(given), (answered) => {
      if ("success" in answered) return Effect.succeed(answered.success)
      if ("refused" in answered) return Effect.fail(wrong(answered.refused))
      return Effect.fail(Either.getOrElse(decode(contract.error, answered.failure), wrong))
    })
  }
  return Object.assign(implemented, { args: contract.args, success: contract.success, error: contract.error })
}

/**
 * The job that is the export `name` of a module, made by {@link implement}, as this contract describes it: the same that the
 * module has, or what its function has of it. Nothing is loaded here. A module with other schemas fails the job with
 * `JobRefused`, as far as the values do not match.
 *
 * @param url the module's absolute URL: `new URL("./images.js", import.meta.url)`
 * @param name the export
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import * as Executor from "effect-asyncio/services/Executor"
 * import * as TypedJob from "effect-asyncio/services/TypedJob"
 *
 * class TooOld extends Schema.TaggedError<TooOld>()("TooOld", { limit: Schema.Date }) {}
 *
 * const contract = TypedJob.contract({ args: [Schema.Date], success: Schema.Option(Schema.Number), error: TooOld })
 *
 * // in reports.ts: export const count = TypedJob.implement(contract, (since) => …)
 * const count = TypedJob.fromModule(new URL("./reports.js", import.meta.url), "count", contract)
 *
 * // Effect<Option<number>, ExecutorError, Executor>
 * export const program = TypedJob.run(count, new Date(0)).pipe(
 *   Effect.catchTag("TooOld", ({ limit }) => TypedJob.run(count, limit)),
 *   Effect.catchTag("TooOld", Effect.die),
 *   Effect.provide(Executor.layerThreads({ maxWorkers: 2 }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromModule = <Args extends ReadonlyArray<any>, A, E>(
  url: URL | string,
  name: string,
  contract: Contract<Args, A, E>
): TypedJob<Args, A, E> => ({ contract, job: Job.fromModule(url, name) })

// run

const requestOf = <Args extends ReadonlyArray<any>>(
  { contract, job }: TypedJob<Args, any, any>,
  args: Args
): Either.Either<Request, NotSerializable> =>
  Either.mapBoth(encode(contract.args, args), {
    onLeft: (detail) => new NotSerializable({ job: job.name, part: "arguments", detail }),
    onRight: (args) => ({ [mark]: 1, args })
  })

const resultOf = <A, E>(
  { contract, job }: TypedJob<any, A, E>,
  value: unknown
): Either.Either<A, E | ExecutorError> => {
  const refuse = (reason: string) => Either.left(new JobRefused({ job: job.name, reason }))
  if (!isOurs(value) || "args" in value) {
    return refuse("its export is no typed job of this version; expected one that TypedJob.implement made")
  }
  const answer = value as Answer
  if ("refused" in answer) return refuse(answer.refused)
  if ("failure" in answer) {
    const error = decode(contract.error, answer.failure)
    return Either.isRight(error)
      ? Either.left(error.right)
      : refuse(`its error does not match the schema here: ${error.left}`)
  }
  const success = decode(contract.success, answer.success)
  return Either.isRight(success)
    ? Either.right(success.right)
    : refuse(`its result does not match the schema here: ${success.left}`)
}

/**
 * Runs a typed job with these arguments on the executor of the context: threads, processes or a cluster. Fails with the errors
 * of its contract, with `NotSerializable` for arguments that their schemas do not encode, with `JobRefused` if the schemas of
 * the module do not match, and as `Executor.run` does.
 *
 * @since 0.1.0
 * @category effects
 */
export const run = <Args extends ReadonlyArray<any>, A, E>(
  job: TypedJob<Args, A, E>,
  ...args: Args
): Effect.Effect<A, E | ExecutorError, Executor> =>
  Effect.flatMap(Executor, (executor) =>
    Effect.flatMap(requestOf(job, args), (request) =>
      Effect.flatMap(executor.run(job.job, [request]), (value) => resultOf(job, value))
    )
  )

/**
 * Runs a typed job of one argument once for each input, as `MapJobs.each` does. An error of the contract is an answer:
 * `retries` do not repeat it.
 *
 * @since 0.1.0
 * @category streams
 */
export const each = <Input, A, E, E2 = never, R = never>(
  job: TypedJob<[Input], A, E>,
  source: Iterable<Input> | Stream.Stream<Input, E2, R>,
  options?: MapJobs.EachOptions
): Stream.Stream<Item<Input, A, E>, E2, Executor | R> =>
  Stream.suspend(() => {
    const given = new WeakMap<
      Request,
      { readonly input: Input; readonly problem: NotSerializable | undefined }
    >()
    const toRequest = (input: Input): Request => {
      const encoded = requestOf<[Input]>(job, [input])
      // One that cannot be encoded goes all the same, without arguments: it keeps its place.
      const request = Either.getOrElse(encoded, (): Request => ({ [mark]: 1, args: undefined }))
      given.set(request, { input, problem: Option.getOrUndefined(Either.getLeft(encoded)) })
      return request
    }
    const requests =
      Symbol.iterator in source
        ? {
            *[Symbol.iterator]() {
              for (const input of source) yield toRequest(input)
            }
          }
        : Stream.map(source, toRequest)
    return Stream.map(MapJobs.each<unknown, unknown, E2, R>(job.job, requests, options), (item) => {
      const { input, problem } = given.get(item.input as Request)!
      const result =
        problem === undefined
          ? Either.flatMap(item.result, (value) => resultOf(job, value))
          : Either.left<E | ExecutorError>(problem)
      return { ...item, input, result }
    })
  })

/**
 * Maps a typed job of one argument over inputs, on all threads. The first failure ends the stream and cancels the running jobs.
 *
 * @example
 * ```ts
 * import { Schema, Stream } from "effect"
 * import * as TypedJob from "effect-asyncio/services/TypedJob"
 *
 * const contract = TypedJob.contract({ args: [Schema.Date], success: Schema.Number })
 * const count = TypedJob.fromModule(new URL("./reports.js", import.meta.url), "count", contract)
 *
 * export const program = TypedJob.map(count, [new Date(0), new Date(1)]).pipe(Stream.runSum)
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const map = <Input, A, E, E2 = never, R = never>(
  job: TypedJob<[Input], A, E>,
  inputs: Iterable<Input> | Stream.Stream<Input, E2, R>,
  options?: MapJobs.EachOptions
): Stream.Stream<A, E | ExecutorError | E2, Executor | R> =>
  Stream.mapEffect(each(job, inputs, options), ({ result }) => result)
