// An ordered map of an immediately ready function over so many elements, eight at a time; prints milliseconds.
import { Chunk, Effect, Stream } from "effect"
import pMap, { pMapIterable } from "p-map"
import * as MapConcurrent from "../../dist/services/stream/MapConcurrent.js"

const [name, all] = [process.argv[2], Number(process.argv[3])]
let count = Math.ceil(all / 20) // to warm up
const concurrency = 8
const sum = (stream) =>
  Effect.map(
    Stream.runFoldWhile(
      Stream.chunks(stream),
      0,
      () => true,
      (total, chunk) => Chunk.reduce(chunk, total, (a, b) => a + b)
    ),
    (total) => total
  )
const source = () => Stream.range(0, count - 1)
const ready = (n) => Effect.sync(() => n + 1)

const contenders = {
  ours: () => Effect.runPromise(sum(MapConcurrent.mapConcurrent(source(), ready, { concurrency }))),
  unordered: () =>
    Effect.runPromise(sum(MapConcurrent.mapConcurrent(source(), ready, { concurrency, unordered: true }))),
  effect: () => Effect.runPromise(sum(Stream.mapEffect(source(), ready, { concurrency }))),
  pMap: async () => {
    let total = 0
    function* numbers() {
      for (let n = 0; n < count; n++) yield n
    }
    for await (const n of pMapIterable(numbers(), async (n) => n + 1, { concurrency })) total += n
    return total
  },
  pMapArray: async () => {
    const all = await pMap(
      Array.from({ length: count }, (_, n) => n),
      async (n) => n + 1,
      { concurrency }
    )
    return all.reduce((a, b) => a + b, 0)
  }
}

await contenders[name]()
count = all
const begun = performance.now()
const total = await contenders[name]()
const took = performance.now() - begun
if (total !== (count * (count + 1)) / 2) throw new Error(`wrong sum ${total}`)
console.log(took)
