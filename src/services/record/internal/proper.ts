import { Chunk, Option, Stream } from "effect"
import { codes } from "../../host/ExitCodes.js"
import * as Records from "../Records.js"

/** The records before the first that has a problem, then its failure. */
export const proper = <E, R>(
  all: Stream.Stream<Records.Record, E, R>
): Stream.Stream<Records.Record, E | Records.RecordFailed, R> =>
  Stream.suspend(() => {
    let bad: Records.Record | undefined
    const good = Stream.mapChunks(
      Stream.takeUntil(all, ({ problem }) => problem !== undefined),
      (chunk) => {
        const last = Option.getOrUndefined(Chunk.last(chunk))
        if (last?.problem === undefined) return chunk
        bad = last
        return Chunk.dropRight(chunk, 1)
      }
    )
    const failure = Stream.suspend(() =>
      bad === undefined
        ? Stream.empty
        : Stream.fail(new Records.RecordFailed({ record: bad, detail: bad.problem!, exitCode: codes.failed }))
    )
    return Stream.concat(good, failure)
  })
