import { accessSync, constants } from "node:fs"
import { dirname } from "node:path"
import {
  Chunk,
  Context,
  Data,
  type Duration,
  Effect,
  Either,
  Exit,
  Layer,
  Option,
  Schema,
  Stream
} from "effect"
import { codes } from "../host/ExitCodes.js"
import * as OwnFiles from "../host/OwnFiles.js"
import * as Sleep from "../task/Sleep.js"
import { checkedDuration } from "../text/Numbers.js"
import { driven, ending, gate } from "./internal/driven.js"

/**
 * A checkpoint cannot be used; names its file.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointError extends Data.TaggedError("CheckpointError")<{
  readonly path: string
  readonly detail: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `cannot use the checkpoint ${this.path}: ${this.detail}`
  }
}

/**
 * The progress of work on an input: the input's name, and a place in it as JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checkpoint {
  readonly input: string
  readonly position: unknown
}

/**
 * Keeps checkpoints in files.
 *
 * @since 0.1.0
 * @category services
 */
export class Checkpoints extends Context.Tag("effect-asyncio/services/Checkpoints")<
  Checkpoints,
  {
    /**
     * Reads the file; `None` when it does not exist. Fails when it is not a regular file or a link to one, has more than
     * 1 MiB, or is not a checkpoint, and when its folder cannot be written to.
     */
    readonly read: (path: string) => Effect.Effect<Option.Option<Checkpoint>, CheckpointError>
    /**
     * Replaces the file in one step: a process that is killed meanwhile leaves the old or the new one. A link at the path
     * is replaced, not the file that it leads to.
     */
    readonly write: (path: string, checkpoint: Checkpoint) => Effect.Effect<void, CheckpointError>
  }
>() {}

const reasons: Readonly<Record<string, string>> = { ENOENT: "the folder does not exist" }

const failure =
  (path: string) =>
  (error: unknown): CheckpointError => {
    if (error instanceof CheckpointError) return error
    const { code } = error as NodeJS.ErrnoException
    return new CheckpointError({ path, detail: reasons[code ?? ""] ?? OwnFiles.describe(error) })
  }

const limit = 1024 * 1024

const Content = Schema.parseJson(
  Schema.Struct({
    schema: Schema.Literal(1),
    input: Schema.String,
    position: Schema.Unknown.pipe(Schema.filter((position) => position !== undefined))
  })
)

const decode = Schema.decodeUnknownEither(Content)

const find = (path: string): Option.Option<Checkpoint> => {
  let bytes: Buffer
  try {
    bytes = OwnFiles.readNamed(path, limit)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
    return Option.none()
  }
  return Either.match(decode(bytes.toString("utf8")), {
    onLeft: () => {
      throw new CheckpointError({
        path,
        detail: "it is not a checkpoint; name another file, or remove it to start over"
      })
    },
    onRight: ({ input, position }) => Option.some({ input, position })
  })
}

/**
 * Keeps them in files, each written beside its path under a name that cannot be guessed, then renamed.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Checkpoints> = Layer.succeed(Checkpoints, {
  read: (path) =>
    Effect.try({
      try: () => {
        const found = find(path)
        accessSync(dirname(path), constants.W_OK | constants.X_OK)
        return found
      },
      catch: failure(path)
    }),
  write: (path, { input, position }) =>
    Effect.try({
      try: () =>
        OwnFiles.replaceFile(path, Buffer.from(`${JSON.stringify({ schema: 1, input, position })}\n`)),
      catch: failure(path)
    })
})

/**
 * Keeps them in this map, as JSON keeps them; `"broken"` is a file that is not a checkpoint.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (files: Map<string, Checkpoint | "broken"> = new Map()): Layer.Layer<Checkpoints> =>
  Layer.succeed(Checkpoints, {
    read: (path) => {
      const found = files.get(path)
      return found === "broken"
        ? Effect.fail(new CheckpointError({ path, detail: "it is not a checkpoint" }))
        : Effect.succeed(Option.fromNullable(found))
    },
    write: (path, checkpoint) =>
      Effect.sync(() => void files.set(path, JSON.parse(JSON.stringify(checkpoint)) as Checkpoint))
  })

/**
 * Settings of {@link checkpointed}.
 *
 * @since 0.1.0
 * @category options
 */
export interface CheckpointOptions<in A, out P> {
  /** The file that the checkpoint is kept in. */
  readonly path: string
  /** The name of the input: a checkpoint of another input is refused. */
  readonly input: string
  /** Where to resume after an element, as JSON. Undefined: the position does not change. */
  readonly position: (element: A) => P | undefined
  /** Checks a position that was read; the left side is the problem. By default it is not checked. */
  readonly decode?: ((position: unknown) => Either.Either<P, string>) | undefined
  /** Least time between two checkpoints; default 1 second. */
  readonly every?: Duration.DurationInput | undefined
}

/**
 * Makes a stream that resumes where an earlier run of it ended, even by `kill -9`: at least once. An element counts as
 * done when the consumer requests the next; its position is in the checkpoint `every` later at the latest, and at the
 * stream's end. Elements done since the last checkpoint are done again.
 *
 * `make` takes the position to resume from, undefined for the beginning. Fails with {@link CheckpointError} when the
 * file cannot be read or written, is not a checkpoint, or is one of another input.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as Checkpoints from "effect-asyncio/services/Checkpoints"
 *
 * const pages = Checkpoints.checkpointed(
 *   { path: "pages.checkpoint", input: "pages", position: (page: number) => page },
 *   (last) => Stream.range((last ?? 0) + 1, 100)
 * )
 * export const program = Stream.runForEach(pages, (page) => Effect.log(page)).pipe(
 *   Effect.provide(Checkpoints.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category streams
 */
export const checkpointed = <A, E, R, P>(
  { decode, every = "1 second", input, path, position }: CheckpointOptions<A, P>,
  make: (from: P | undefined) => Stream.Stream<A, E, R>
): Stream.Stream<A, E | CheckpointError, R | Checkpoints> =>
  Stream.suspend(() => {
    checkedDuration("every", every)
    let given: Chunk.Chunk<A> = Chunk.empty()
    let asked = false
    let handed: Chunk.Chunk<A> = Chunk.empty() // what the consumer processes
    let done: P | undefined
    let saved: P | undefined
    let over: Exit.Exit<void, E | CheckpointError> | undefined
    const hungry = gate(() => asked && given.length === 0)
    const some = gate(() => given.length > 0 || over !== undefined)
    const end = (exit: Exit.Exit<void, E | CheckpointError>) =>
      Effect.sync(() => {
        over ??= exit
        some.check()
      })
    const save = Effect.flatMap(Checkpoints, (checkpoints) =>
      Effect.suspend(() => {
        const now = done
        if (now === undefined || now === saved) return Effect.void
        return Effect.map(checkpoints.write(path, { input, position: now }), () => {
          saved = now
          return undefined
        })
      })
    )
    const begin = Effect.flatMap(Checkpoints, (checkpoints) =>
      Effect.flatMap(checkpoints.read(path), (found) => {
        if (Option.isNone(found)) return Effect.succeed(undefined)
        const other = found.value.input === input ? undefined : `${found.value.input}, not ${input}`
        const from: Either.Either<P, string> =
          other !== undefined
            ? Either.left(`it is of another input, ${other}`)
            : (decode?.(found.value.position) ?? Either.right(found.value.position as P))
        return Effect.mapError(from, (detail) => new CheckpointError({ path, detail }))
      })
    )
    const feed = Effect.flatMap(begin, (from) =>
      Stream.runForEachChunk(make(from), (chunk) => {
        given = chunk
        asked = false
        some.check()
        return hungry.wait
      })
    ).pipe(Effect.onExit(end))
    const saving = Effect.forever(Effect.zipRight(Sleep.sleep(every), save)).pipe(
      Effect.onExit((exit) => (Exit.isInterrupted(exit) ? Effect.void : end(exit)))
    )
    const next = Effect.suspend(() => {
      for (const element of handed) done = position(element) ?? done
      handed = Chunk.empty()
      asked = true
      hungry.check()
      return Effect.zipRight(
        some.wait,
        Effect.suspend(() => {
          if (over !== undefined && Exit.isFailure(over)) return ending(over)
          if (given.length === 0) return ending(over)
          handed = given
          given = Chunk.empty()
          return Effect.succeedSome(handed)
        })
      )
    })
    const all = driven<A, E | CheckpointError, R | Checkpoints>([feed, saving], next)
    // At the end a checkpoint that cannot be written is a failure; a consumer that left early would not see it.
    return Stream.ensuring(Stream.concat(all, Stream.execute(save)), Effect.ignore(save))
  })
