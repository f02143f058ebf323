import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import {
  Arbitrary,
  Duration,
  Effect,
  Either,
  Equal,
  FastCheck,
  HashSet,
  Layer,
  ManagedRuntime,
  Option,
  Schema,
  Stream
} from "effect"
import * as ClusterExecutor from "../../../src/services/cluster/ClusterExecutor.js"
import * as Runner from "../../../src/services/cluster/Runner.js"
import * as Executor from "../../../src/services/thread/Executor.js"
import type { ExecutorError } from "../../../src/services/thread/ExecutorError.js"
import * as InlineExecutor from "../../../src/services/thread/InlineExecutor.js"
import * as TypedJob from "../../../src/services/thread/TypedJob.js"
import * as Contracts from "../../fixtures/typed/contracts.js"

// The same program on threads, in processes and on a runner of a cluster.

const url = new URL("../../fixtures/typed/jobs.ts", import.meta.url)
const code = fileURLToPath(new URL(".", url))
const folder = mkdtempSync(join(tmpdir(), "aio-typed-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const book = TypedJob.fromModule(url, "book", TypedJob.contract(Contracts.book))
const echo = TypedJob.fromModule(url, "echo", TypedJob.contract(Contracts.echo))

const { Booking, Full } = Contracts
const booking = (guest: string) =>
  new Booking({
    guest: Schema.decodeSync(Booking.fields.guest)(guest),
    from: new Date(0),
    note: Option.some("late"),
    rooms: Either.right(2),
    tags: HashSet.make("a", "b")
  })

let stores = 0
const cluster = Layer.suspend(() => {
  const store = join(folder, `${++stores}.sqlite`)
  return Layer.merge(
    ClusterExecutor.layer({ store, code }),
    Layer.provide(Runner.layer({ store, code }), Executor.layerThreads({ maxWorkers: 1 }))
  )
})
const layers = [
  ["threads", Executor.layerThreads({ maxWorkers: 1 })],
  ["processes", Executor.layerProcesses({ maxWorkers: 1 })],
  ["the caller's thread", InlineExecutor.layer],
  ["a cluster", cluster]
] as const

// One executor for all: each worker of its own would load TypeScript and the schemas anew.
describe.each(layers)("a typed job on %s", (_, layer) => {
  const runtime = ManagedRuntime.make(layer)
  afterAll(() => runtime.dispose())
  const test = (title: string, body: () => Effect.Effect<void, unknown, Executor.Executor>) =>
    it(title, () => runtime.runPromise(body()))

  test("arguments, results and errors arrive as their types", () =>
    Effect.gen(function* () {
      const ada = booking("ada")
      const found = Option.getOrThrow(yield* TypedJob.run(book, ada, Duration.seconds(1)))
      expect(found).toBeInstanceOf(Booking)
      expect(Equal.equals(found.tags, ada.tags)).toBe(true)
      expect({ ...found, tags: 0 }).toEqual({ ...ada, tags: 0 })
      expect(yield* TypedJob.run(book, booking("waits"), Duration.zero)).toEqual(Option.none())
      for (const guest of ["fails", "throws", "rejects"]) {
        const error = yield* Effect.flip(TypedJob.run(book, booking(guest), Duration.seconds(1)))
        expect(error).toBeInstanceOf(Full)
        expect(error).toMatchObject({ _tag: "Full", until: new Date(1000), free: 2n ** 70n })
        expect(error.message).toBe("full until 1970-01-01T00:00:01.000Z")
      }
    }))

  test("a failure that no schema describes is a JobFailed, and so is one beside a defect", () =>
    Effect.gen(function* () {
      const broken = yield* Effect.flip(TypedJob.run(book, booking("breaks"), Duration.zero))
      expect(broken).toMatchObject({
        _tag: "JobFailed",
        message: "job jobs.ts#book failed: RangeError: out of rooms"
      })
      const both = yield* Effect.flip(TypedJob.run(book, booking("dies"), Duration.zero))
      expect(both).toMatchObject({ _tag: "JobFailed" })
    }))

  test("schemas that do not match refuse the job, on either side", () =>
    Effect.gen(function* () {
      const refusal = <A, B>(job: TypedJob.TypedJob<[A], B>, arg: unknown = { guest: "ada" }) =>
        Effect.map(Effect.flip(TypedJob.run(job, arg as A)), ({ _tag, message }) => ({ _tag, message }))
      const before = TypedJob.contract(Contracts.echoBefore)
      expect(yield* refusal(TypedJob.fromModule(url, "echo", before))).toEqual({
        _tag: "JobRefused",
        message: "job jobs.ts#echo is refused: its module does not take these arguments: 0.from: is missing"
      })
      const other = TypedJob.contract({ args: [Booking], success: Schema.NumberFromString })
      expect(yield* refusal(TypedJob.fromModule(url, "echo", other), booking("ada"))).toMatchObject({
        _tag: "JobRefused",
        message: expect.stringContaining(
          "its result does not match the schema here: Expected string, actual {"
        )
      })
      const unkept = TypedJob.contract({ ...Contracts.book, error: Schema.Struct({ code: Schema.Number }) })
      const error = yield* Effect.flip(
        TypedJob.run(TypedJob.fromModule(url, "book", unkept), booking("fails"), Duration.zero)
      )
      expect(error).toMatchObject({
        _tag: "JobRefused",
        reason: "its error does not match the schema here: code: is missing"
      })
      expect(yield* Effect.flip(TypedJob.run(book, booking("lies"), Duration.zero))).toMatchObject({
        _tag: "JobRefused",
        reason: expect.stringContaining("its module's result is not what its schema describes: ")
      })
      expect(yield* refusal(TypedJob.fromModule(url, "plain", before))).toMatchObject({
        _tag: "JobRefused",
        message: expect.stringContaining("expected one that TypedJob.implement made")
      })
      const wrong = yield* refusal(echo, { ...booking("ada"), guest: "" })
      expect(wrong).toMatchObject({
        _tag: "NotSerializable",
        message: expect.stringContaining("arguments of job")
      })
    }))

  test("each has the end of each input in its place, and map fails with the first error", () =>
    Effect.gen(function* () {
      const wrong = { ...booking("ada"), guest: "" } as unknown as Contracts.Booking
      const inputs = [booking("ada"), wrong, booking("bob")]
      const items = yield* Stream.runCollect(TypedJob.each(echo, Stream.fromIterable(inputs), { chunk: 2 }))
      expect(
        [...items].map(({ index, input, result }) => [index, input === inputs[index], Either.isRight(result)])
      ).toEqual([
        [0, true, true],
        [1, true, false],
        [2, true, true]
      ])
      const names: Array<string> = []
      const mapped = TypedJob.map(echo, inputs).pipe(
        Stream.runForEach(({ guest }) => Effect.sync(() => names.push(guest)))
      )
      expect(yield* Effect.flip(mapped)).toMatchObject({ _tag: "NotSerializable", part: "arguments" })
      expect(names).toEqual(["ada"])
    }))
})

describe("a typed job", () => {
  it.live("every value of its schemas makes the way there and back", () =>
    Effect.gen(function* () {
      const executor = yield* Effect.context<Executor.Executor>()
      const property = FastCheck.asyncProperty(
        FastCheck.array(Arbitrary.make(Booking), { minLength: 1, maxLength: 20 }),
        (bookings) =>
          Effect.runPromise(
            Effect.map(Stream.runCollect(TypedJob.map(echo, bookings, { chunk: 8 })), (all) => {
              const same = Schema.equivalence(Booking)
              const back = [...all]
              expect(back).toHaveLength(bookings.length)
              for (const [i, one] of back.entries()) {
                expect(one).toBeInstanceOf(Booking)
                expect(same(one, bookings[i]!)).toBe(true)
              }
            }).pipe(Effect.provide(executor))
          )
      )
      yield* Effect.promise(() => FastCheck.assert(property, { numRuns: 50 }))
    }).pipe(Effect.provide(Executor.layerThreads({ maxWorkers: 1 })))
  )

  it.live("is a function of encoded values for callers without a contract", () =>
    Effect.gen(function* () {
      const half = TypedJob.implement(
        TypedJob.contract({ args: [Schema.NumberFromString], success: Schema.Date, error: Full }),
        (n) => (n < 0 ? Effect.fail(new Full({ until: new Date(0), free: 0n })) : new Date(n / 2))
      )
      expect(yield* half("4")).toBe("1970-01-01T00:00:00.002Z")
      expect(yield* Effect.flip(half("-1"))).toBeInstanceOf(Full)
      expect(yield* Effect.flip(half(4))).toMatchObject({
        name: "TypeError",
        message: "its module does not take these arguments: 0: Expected string, actual 4"
      })
    })
  )

  it("has the types of its contract", () => {
    const run = () => TypedJob.run(book, booking("ada"), Duration.zero)
    const typed: () => Effect.Effect<
      Option.Option<Contracts.Booking>,
      Contracts.Full | ExecutorError,
      Executor.Executor
    > = run
    const narrow = () => Effect.catchTag(run(), "Full", ({ free }) => Effect.succeed(free))
    const caught: () => Effect.Effect<
      Option.Option<Contracts.Booking> | bigint,
      ExecutorError,
      Executor.Executor
    > = narrow
    const without: Contracts.Full extends Effect.Effect.Error<ReturnType<typeof run>> ? true : false = true
    // @ts-expect-error a Date is no Booking
    const wrongArgument = () => TypedJob.run(book, new Date(), Duration.zero)
    // @ts-expect-error the second argument is missing
    const fewArguments = () => TypedJob.run(book, booking("ada"))
    // @ts-expect-error map is for jobs of one argument
    const twoArguments = () => TypedJob.map(book, [booking("ada")])
    // @ts-expect-error the function returns no Booking
    const wrongResult = () => TypedJob.implement(TypedJob.contract(Contracts.echo), () => 1)
    const all = () => TypedJob.map(echo, [booking("ada")])
    const stream: () => Stream.Stream<Contracts.Booking, ExecutorError, Executor.Executor> = all
    expect([typed, caught, without, wrongArgument, fewArguments, twoArguments, stream]).toHaveLength(7)
    expect([wrongResult]).toHaveLength(1)
  })
})
