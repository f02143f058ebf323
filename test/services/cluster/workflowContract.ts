import * as PersistedQueue from "@effect/experimental/PersistedQueue"
import { describe, expect, it } from "@effect/vitest"
import * as Activity from "@effect/workflow/Activity"
import * as DurableClock from "@effect/workflow/DurableClock"
import * as DurableDeferred from "@effect/workflow/DurableDeferred"
import * as DurableQueue from "@effect/workflow/DurableQueue"
import * as Workflow from "@effect/workflow/Workflow"
import * as WorkflowEngine from "@effect/workflow/WorkflowEngine"
import {
  Cause,
  Clock,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Schedule,
  Schema,
  Scope,
  TestClock,
  TestServices
} from "effect"
import * as DurableWorkflows from "../../../src/services/cluster/DurableWorkflows.js"
import * as Store from "../../../src/services/cluster/Store.js"
import { suspended } from "../../support/Waits.js"

// What holds for workflows on SQLite and on PostgreSQL alike.

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}

/** What steps have done, in order. */
const notes = () => {
  const noted: Array<string> = []
  const step = (name: string, body: Effect.Effect<unknown> = Effect.void) =>
    Activity.make({
      name,
      execute: Effect.zipRight(
        Effect.sync(() => noted.push(name)),
        body
      )
    })
  return { noted, step }
}

const Order = Workflow.make({
  name: "order",
  payload: { id: Schema.String, at: Schema.Date },
  success: Schema.Struct({ id: Schema.String, at: Schema.Date }),
  error: OutOfStock,
  idempotencyKey: ({ id }) => id
})
const order = { id: "1", at: new Date(1e12) }

type Engine = WorkflowEngine.WorkflowEngine

/** A process with these workflows: it ends with the scope. */
const serving = <E, R>(
  workflows: Layer.Layer<never, E, R>,
  options: DurableWorkflows.Options = {}
): Layer.Layer<Engine, any, Store.Store | Exclude<R, Engine>> =>
  Layer.fresh(
    Layer.provideMerge(
      workflows,
      DurableWorkflows.layer({ poll: "20 millis", drain: "1 second", ...options })
    )
  ) as never

/** Runs in a process with these workflows, that ends afterwards. */
const within =
  <E, R>(workflows: Layer.Layer<never, E, R>, options?: DurableWorkflows.Options) =>
  <A, E2, R2>(body: Effect.Effect<A, E2, R2>) =>
    Effect.scoped(
      Effect.flatMap(Layer.build(serving(workflows, options)), (context) => Effect.provide(body, context))
    ) as Effect.Effect<A, E2, Exclude<R2, Engine | Scope.Scope> | Store.Store>

const sleep = (ms: number) => TestServices.provideLive(Effect.sleep(ms))
const untilState = (state: DurableWorkflows.Execution["state"], n = 1) =>
  Effect.repeat(Effect.zipRight(sleep(5), DurableWorkflows.list({ state })), {
    until: ({ length }) => length >= n,
    times: 4000
  })

/** Lets the process have a turn: to resume what does not exist wakes its loop. */
const nudge = Effect.flatMap(WorkflowEngine.WorkflowEngine, ({ resume }) =>
  Effect.zipRight(resume(Order, "nothing"), sleep(2))
)

/** Lets time pass, until the process has shown a beat of it; one is due each 3 seconds. */
const pass = (ms: number) =>
  Effect.gen(function* () {
    yield* TestClock.adjust(ms)
    const since = (yield* Clock.currentTimeMillis) - 3000
    const { use } = yield* Store.Store
    const beats = use((sql) => sql`SELECT id FROM aio_workflow_workers WHERE beat > ${since}`)
    yield* Effect.repeat(Effect.zipRight(nudge, beats), { until: ({ length }) => length > 0, times: 4000 })
  })

export const workflowContract = (name: string, fresh: () => Layer.Layer<Store.Store, any>) => {
  const test = (text: string, body: Effect.Effect<void, unknown, Store.Store | Scope.Scope>) =>
    it.scopedLive(text, () => Effect.provide(body, fresh()), 20_000)

  describe(name, () => {
    test(
      "executes a payload once, and gives its result to all that execute it, in later processes too",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const live = Order.toLayer(({ at, id }) => Effect.as(step("pay"), { id, at }))
        const later = { ...order, at: new Date(0) }
        const both = Effect.all([Order.execute(order), Order.execute(later)], { concurrency: "unbounded" })
        const [one, other] = yield* within(live)(both)
        expect([order, later]).toContainEqual(one)
        expect(other).toEqual(one)
        expect(yield* within(live)(Order.execute(order))).toEqual(one)
        expect(noted).toEqual(["pay"])
        expect(yield* DurableWorkflows.list()).toMatchObject([
          { workflow: "order", state: "done", steps: 1, isInterrupted: false }
        ])
      })
    )

    test(
      "stores errors and defects of steps and workflows by their schemas",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const Failing = Workflow.make({
          name: "failing",
          payload: { how: Schema.String },
          success: Schema.Void,
          error: OutOfStock,
          idempotencyKey: ({ how }) => how
        })
        const live = Failing.toLayer(({ how }) =>
          Effect.gen(function* () {
            yield* Activity.make({
              name: "take",
              error: OutOfStock,
              execute: Effect.suspend(() => {
                noted.push(how)
                if (how === "fails") return new OutOfStock({ item: "tea" })
                return how === "dies" ? Effect.die(new TypeError("broken")) : Effect.void
              })
            })
            yield* step("pack")
          })
        )
        // The second process has the results from the store alone.
        for (const _ of [1, 2]) {
          const exits = yield* within(live)(
            Effect.forEach(["succeeds", "fails", "dies"], (how) => Effect.exit(Failing.execute({ how })))
          )
          expect(exits[0]).toEqual(Exit.void)
          expect(exits[1]).toEqual(Exit.fail(new OutOfStock({ item: "tea" })))
          const defect = Cause.squash((exits[2] as Exit.Failure<void, never>).cause) as Error
          expect([defect.name, defect.message]).toEqual(["TypeError", "broken"])
        }
        expect(noted).toEqual(["succeeds", "pack", "fails", "dies"])
      })
    )

    test(
      "records each attempt of a step that is retried, in replays too",
      Effect.gen(function* () {
        const attempts: Array<number> = []
        const Retried = Workflow.make({
          name: "retried",
          payload: {},
          success: Schema.Number,
          error: OutOfStock,
          idempotencyKey: () => ""
        })
        const take = Activity.make({
          name: "take",
          success: Schema.Number,
          error: OutOfStock,
          execute: Effect.gen(function* () {
            const attempt = yield* Activity.CurrentAttempt
            attempts.push(attempt)
            return attempt < 3 ? yield* new OutOfStock({ item: "tea" }) : attempt
          })
        })
        const pause = DurableClock.sleep({ name: "pause", duration: 1, inMemoryThreshold: Duration.zero })
        const live = Retried.toLayer(() => Effect.zipLeft(Activity.retry(take, { times: 5 }), pause))
        expect(yield* within(live)(Retried.execute(undefined))).toBe(3)
        expect(attempts).toEqual([1, 2, 3])
      })
    )

    const Approval = Workflow.make({
      name: "approval",
      payload: { id: Schema.String },
      success: Schema.Number,
      idempotencyKey: ({ id }) => id
    })
    const approved = DurableDeferred.make("approved", { success: Schema.NumberFromString })
    const tokenOf = (id: string) =>
      Effect.map(Approval.executionId({ id }), (executionId) =>
        DurableDeferred.tokenFromExecutionId(approved, { workflow: Approval, executionId })
      )
    const approve = (id: string, value: number) =>
      Effect.flatMap(tokenOf(id), (token) => DurableDeferred.succeed(approved, { token, value }))

    test(
      "continues when another process completes its deferred, and holds no place while it waits",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const live = Approval.toLayer(({ id }) =>
          Effect.gen(function* () {
            yield* step(`ask ${id}`)
            const value = yield* DurableDeferred.await(approved)
            yield* step(`do ${id}`)
            return value
          })
        )
        const ids = ["a", "b", "c"]
        // One place for three executions.
        const body = Effect.gen(function* () {
          const fibers = yield* Effect.forEach(ids, (id) => Effect.fork(Approval.execute({ id })))
          const waiting = yield* untilState("suspended", 3)
          expect(yield* Approval.poll(waiting[0]!.executionId)).toEqual(new Workflow.Suspended({}))
          for (const [i, id] of ids.entries())
            yield* Effect.scoped(
              Effect.provide(approve(id, i), Layer.fresh(DurableWorkflows.layerClient({ poll: "20 millis" })))
            )
          // The first exit stands.
          yield* approve("a", 7)
          return yield* Fiber.join(Fiber.all(fibers))
        })
        expect(yield* within(live, { concurrency: 1 })(body)).toEqual([0, 1, 2])
        expect([...noted].sort()).toEqual(["ask a", "ask b", "ask c", "do a", "do b", "do c"])
      })
    )

    test(
      "has a deferred that was completed before its execution began, and a client that executes",
      Effect.gen(function* () {
        const live = Approval.toLayer(() => DurableDeferred.await(approved))
        const client = Effect.provide(
          Effect.all([approve("a", 5), approve("a", 6), Approval.execute({ id: "a" })]),
          Layer.fresh(DurableWorkflows.layerClient({ poll: "20 millis" }))
        )
        const executed = yield* Effect.fork(Effect.scoped(client))
        expect((yield* within(live)(Fiber.join(executed)))[2]).toBe(5)
      })
    )

    /** Runs until `when`, then ends the process without waiting for its steps. */
    const cutOff = <E, R>(
      live: Layer.Layer<never, E, R>,
      start: Effect.Effect<unknown, any, any>,
      when: Effect.Effect<unknown, any, any>
    ) =>
      within(live, { drain: 0 })(Effect.zipRight(Effect.fork(start), when)) as Effect.Effect<
        unknown,
        never,
        Store.Store
      >

    test(
      "runs a step again that was cut off with its process, counts its starts, and runs no finished one again",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const starts: Array<number> = []
        const undone: Array<unknown> = []
        const begun = yield* Deferred.make<void>()
        const liveWith = (second: Effect.Effect<void>) =>
          Order.toLayer(({ at, id }) =>
            Effect.gen(function* () {
              yield* Order.withCompensation(step("one"), (_, cause) => Effect.sync(() => undone.push(cause)))
              yield* step(
                "two",
                Effect.flatMap(DurableWorkflows.CurrentStart, (start) => {
                  starts.push(start)
                  return second
                })
              )
              yield* step("three")
              return { id, at }
            })
          )
        const hanging = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
        yield* cutOff(liveWith(hanging), Order.execute(order), Deferred.await(begun))
        expect(yield* DurableWorkflows.list()).toMatchObject([{ state: "ready", steps: 1 }])
        expect(yield* within(liveWith(Effect.void))(Order.execute(order))).toEqual(order)
        expect(noted).toEqual(["one", "two", "two", "three"])
        expect(starts).toEqual([1, 2])
        expect(undone).toEqual([])
      })
    )

    test(
      "lets a step finish when its process ends, starts no other one, and runs no compensation",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const begun = yield* Deferred.make<void>()
        const latch = yield* Deferred.make<void>()
        const live = Order.toLayer(({ at, id }) =>
          Effect.gen(function* () {
            const first = Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(latch))
            yield* Order.withCompensation(step("one", first), () => step("undo one"))
            yield* step("two")
            return { id, at }
          })
        )
        const scope = yield* Scope.make()
        const engine = yield* Scope.extend(Layer.build(serving(live, { drain: "1 hour" })), scope)
        yield* Effect.provide(Order.execute(order, { discard: true }), engine)
        yield* Deferred.await(begun)
        const ends = yield* Effect.fork(Scope.close(scope, Exit.void))
        // It waits for the step now.
        yield* suspended(ends)
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(ends)
        expect(yield* DurableWorkflows.list()).toMatchObject([{ state: "ready", steps: 1 }])
        expect(yield* within(live)(Order.execute(order))).toEqual(order)
        expect(noted).toEqual(["one", "two"])
      })
    )

    test(
      "drops the result of a process that was silent while another one took over",
      Effect.gen(function* () {
        const latch = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const { use } = yield* Store.Store
        const liveOf = (name: string, wait: Effect.Effect<unknown>) =>
          Approval.toLayer(() =>
            Effect.gen(function* () {
              const value = yield* Activity.make({
                name: "decide",
                success: Schema.Number,
                execute: Effect.as(wait, name === "old" ? 1 : 2)
              })
              yield* Activity.make({ name: "note", execute: Effect.sync(() => noted.push(name)) })
              return value
            })
          )
        const noted: Array<string> = []
        const result = yield* within(
          liveOf("old", Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(latch))),
          { concurrency: 1 }
        )(
          Effect.gen(function* () {
            const executed = yield* Effect.fork(Approval.execute({ id: "a" }))
            yield* Deferred.await(begun)
            yield* use((sql) => sql`UPDATE aio_workflows SET state = 'ready', owner = NULL`)
            const other = Effect.zipRight(untilState("done"), Effect.void)
            yield* Effect.scoped(within(liveOf("new", Effect.void))(other))
            yield* Deferred.succeed(latch, undefined)
            return yield* Fiber.join(executed)
          })
        )
        expect([result, noted]).toEqual([2, ["new"]])
      })
    )

    test(
      "interrupts: a step that runs finishes, no other one starts, and compensations run, their steps once",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const begun = yield* Deferred.make<void>()
        const latch = yield* Deferred.make<void>()
        const live = Approval.toLayer(() =>
          Effect.gen(function* () {
            yield* Approval.withCompensation(step("one"), () => step("undo one"))
            yield* Approval.withCompensation(
              step("two", Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(latch))),
              (_, cause) => (Cause.isInterruptedOnly(cause) ? step("undo two") : Effect.void)
            )
            yield* step("three")
            return 1
          })
        )
        const body = Effect.gen(function* () {
          const executionId = yield* Approval.execute({ id: "a" }, { discard: true })
          yield* Deferred.await(begun)
          yield* Approval.interrupt(executionId)
          yield* Deferred.succeed(latch, undefined)
          const exit = yield* Effect.exit(Approval.execute({ id: "a" }))
          expect(Exit.isInterrupted(exit)).toBe(true)
          // It is over: nothing changes it any more.
          yield* Approval.interrupt(executionId)
          yield* Approval.resume(executionId)
          const result = yield* Approval.poll(executionId)
          expect(result?._tag === "Complete" && Exit.isInterrupted(result.exit)).toBe(true)
        })
        yield* within(live)(body)
        expect(noted).toEqual(["one", "two", "undo two", "undo one"])
        expect(yield* DurableWorkflows.list()).toMatchObject([{ state: "done", isInterrupted: true }])
      })
    )

    test(
      "interrupts an execution that waits, and the child that it waits for",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const Parent = Workflow.make({ name: "parent", payload: {}, idempotencyKey: () => "" })
        const live = Layer.merge(
          Parent.toLayer(() =>
            Effect.asVoid(
              Parent.withCompensation(step("one"), () => step("undo one")).pipe(
                Effect.zipRight(Approval.execute({ id: "child" }))
              )
            )
          ),
          Approval.toLayer(() =>
            Effect.zipRight(
              Approval.withCompensation(step("child"), () => step("undo child")),
              DurableDeferred.await(approved)
            )
          )
        )
        const body = Effect.gen(function* () {
          const executionId = yield* Parent.execute(undefined, { discard: true })
          yield* untilState("suspended", 2)
          yield* Parent.interrupt(executionId)
          expect(Exit.isInterrupted(yield* Effect.exit(Parent.execute(undefined)))).toBe(true)
          expect(Exit.isInterrupted(yield* Effect.exit(Approval.execute({ id: "child" })))).toBe(true)
        })
        yield* within(live)(body)
        expect([...noted].sort()).toEqual(["child", "one", "undo child", "undo one"])
      })
    )

    test(
      "undoes the finished steps of a workflow that fails, the last one first, and waits for events meanwhile",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const executed = yield* Order.executionId(order)
        const token = DurableDeferred.tokenFromExecutionId(approved, {
          workflow: Order,
          executionId: executed
        })
        const live = Order.toLayer(() =>
          Effect.gen(function* () {
            yield* Order.withCompensation(step("one"), () => step("undo one"))
            yield* Order.withCompensation(step("two"), () =>
              Effect.zipRight(Effect.orDie(DurableDeferred.await(approved)), step("undo two"))
            )
            return yield* new OutOfStock({ item: "tea" })
          })
        )
        const body = Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.exit(Order.execute(order)))
          yield* untilState("suspended")
          yield* DurableDeferred.succeed(approved, { token, value: 1 })
          return yield* Fiber.join(fiber)
        })
        expect(yield* within(live)(body)).toEqual(Exit.fail(new OutOfStock({ item: "tea" })))
        expect([...noted].sort()).toEqual(["one", "two", "undo one", "undo two"])
      })
    )

    test(
      "gives two parents the result of one child, and its typed error",
      Effect.gen(function* () {
        const { noted, step } = notes()
        const Parent = Workflow.make({
          name: "parent",
          payload: { id: Schema.String, item: Schema.String },
          success: Schema.String,
          idempotencyKey: ({ id, item }) => `${id} ${item}`
        })
        const Child = Workflow.make({
          name: "child",
          payload: { item: Schema.String },
          success: Schema.Date,
          error: OutOfStock,
          idempotencyKey: ({ item }) => item
        })
        const live = Layer.merge(
          Parent.toLayer(({ item }) =>
            Child.execute({ item }).pipe(
              Effect.map((date) => date.toISOString()),
              Effect.catchTag("OutOfStock", ({ item }) => Effect.succeed(`no ${item}`))
            )
          ),
          Child.toLayer(({ item }) =>
            Effect.zipRight(
              step(item),
              item === "tea" ? new OutOfStock({ item }) : Effect.succeed(new Date(0))
            )
          )
        )
        const all = Effect.forEach(
          [
            { id: "1", item: "tea" },
            { id: "2", item: "tea" },
            { id: "1", item: "milk" },
            { id: "2", item: "milk" }
          ],
          (payload) => Parent.execute(payload),
          { concurrency: "unbounded" }
        )
        const milk = new Date(0).toISOString()
        expect(yield* within(live)(all)).toEqual(["no tea", "no tea", milk, milk])
        expect([...noted].sort()).toEqual(["milk", "tea"])
      })
    )

    test(
      "records the winner of a race, and no interruption of a process that ends meanwhile",
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const race = (first: Effect.Effect<number>) =>
          Approval.toLayer(() =>
            Effect.orDie(
              Activity.raceAll("race", [
                Activity.make({ name: "slow", success: Schema.Number, execute: Effect.never }),
                Activity.make({ name: "quick", success: Schema.Number, execute: first })
              ])
            )
          )
        const hanging = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
        yield* cutOff(race(hanging), Approval.execute({ id: "a" }), Deferred.await(begun))
        expect(yield* within(race(Effect.succeed(3)))(Approval.execute({ id: "a" }))).toBe(3)
        expect(yield* within(race(Effect.succeed(4)))(Approval.execute({ id: "a" }))).toBe(3)
      })
    )

    test(
      "suspends on a failure, a defect or a changed payload as asked, with the reason, until it is resumed",
      Effect.gen(function* () {
        const make = <A extends Schema.Struct.Fields>(name: string, payload: A) =>
          Workflow.make({ name, payload, success: Schema.Number, idempotencyKey: () => "1" })
        const Retried = make("retried", {}).annotate(Workflow.SuspendOnFailure, true)
        const Uncaptured = make("uncaptured", {}).annotate(Workflow.CaptureDefects, false)
        const Changed = make("changed", { id: Schema.Number })
        const old = make("changed", { id: Schema.String })
        const { noted, step } = notes()
        const livesWith = (second: Effect.Effect<number>) =>
          Layer.mergeAll(
            Retried.toLayer(() => Effect.zipRight(step("retried"), second)),
            Uncaptured.toLayer(() => Effect.zipRight(step("uncaptured"), second))
          )
        const reason = (result: Workflow.Result<number, never> | undefined) =>
          result?._tag === "Suspended" && result.cause !== undefined
            ? (Cause.squash(result.cause) as Error).message
            : undefined
        const ids = { retried: "", uncaptured: "", changed: "" }
        const first = Layer.merge(
          livesWith(Effect.die(new Error("not today"))),
          Changed.toLayer(({ id }) => Effect.succeed(id))
        )
        yield* within(first)(
          Effect.gen(function* () {
            ids.retried = yield* Retried.execute(undefined, { discard: true })
            ids.uncaptured = yield* Uncaptured.execute(undefined, { discard: true })
            ids.changed = yield* old.execute({ id: "five" }, { discard: true })
            yield* untilState("suspended", 3)
            expect(reason(yield* Retried.poll(ids.retried))).toBe("not today")
            expect(reason(yield* Uncaptured.poll(ids.uncaptured))).toBe("not today")
            expect(reason(yield* Changed.poll(ids.changed))).toMatch(
              /^the payload on record does not have the type of the workflow now: id: Expected number/
            )
          })
        )
        const second = Layer.merge(
          livesWith(Effect.succeed(1)),
          old.toLayer(({ id }) => Effect.succeed(id.length))
        )
        yield* within(second)(
          Effect.gen(function* () {
            yield* Retried.resume(ids.retried)
            yield* Uncaptured.resume(ids.uncaptured)
            yield* old.resume(ids.changed)
            const all = [
              Retried.execute(undefined),
              Uncaptured.execute(undefined),
              old.execute({ id: "five" })
            ]
            expect(yield* Effect.all(all)).toEqual([1, 1, 4])
          })
        )
        expect([...noted].sort()).toEqual(["retried", "uncaptured"])
      })
    )

    test(
      "refuses what it cannot record: more than 1 MiB, and what JSON changes",
      Effect.gen(function* () {
        const large = "x".repeat(1024 ** 2)
        const Anything = Workflow.make({
          name: "anything",
          payload: { id: Schema.String, value: Schema.Unknown },
          success: Schema.Unknown,
          idempotencyKey: ({ id }) => id
        })
        const Dated = Workflow.make({
          name: "dated",
          payload: { at: Schema.DateFromSelf },
          idempotencyKey: () => ""
        })
        const live = Anything.toLayer(({ id, value }) => {
          const given = id.endsWith("large") ? large : value
          return id.startsWith("step")
            ? Activity.make({ name: "step", success: Schema.Unknown, execute: Effect.succeed(given) })
            : Effect.succeed(given)
        })
        const message = (executed: Effect.Effect<unknown, never, Engine>) =>
          Effect.map(
            Effect.exit(executed),
            (exit) => Exit.isFailure(exit) && (Cause.squash(exit.cause) as Error).message
          )
        const tooLarge = /takes 1\.0 MiB, and at most 1\.0 MiB goes into the store; put it into Storage/
        const body = Effect.gen(function* () {
          const of = (id: string, value: unknown = undefined) => message(Anything.execute({ id, value }))
          const payload = /^the payload of the workflow 'anything' cannot be recorded: /
          expect(yield* of("payload", large)).toMatch(payload)
          expect(yield* of("payload", large)).toMatch(tooLarge)
          expect(yield* of("bigint", 1n)).toMatch(payload)
          expect(yield* message(Dated.execute({ at: new Date(0) }))).toMatch(
            /'dated'.*after JSON, at: Expected/
          )
          expect(yield* of("large")).toMatch(/^the result of the workflow 'anything'/)
          expect(yield* of("large")).toMatch(tooLarge)
          expect(yield* of("step large")).toMatch(/^the result of the step 'step'/)
          const done = Effect.flatMap(tokenOf("a"), (token) =>
            DurableDeferred.failCause(approved, { token, cause: Cause.die(large) })
          )
          expect(yield* message(done)).toMatch(/^the exit of 'approved'/)
          expect(yield* Anything.execute({ id: "well", value: large.slice(100) })).toBe(large.slice(100))
        })
        yield* within(live)(body)
      })
    )

    test(
      "keeps what is done for its time, and then removes it, with events for which nothing waits",
      Effect.gen(function* () {
        const { use } = yield* Store.Store
        const { noted, step } = notes()
        const live = Approval.toLayer(() => Effect.zipLeft(DurableDeferred.await(approved), step("do")))
        const executed = Effect.zipRight(approve("a", 1), Approval.execute({ id: "a" }))
        yield* within(live)(Effect.zipRight(approve("nobody", 1), executed))
        yield* within(live, { keep: "1 hour" })(executed)
        expect(noted).toEqual(["do"])
        const count = use(
          (sql) => sql<{ n: number }>`SELECT
          (SELECT count(*) FROM aio_workflows) + (SELECT count(*) FROM aio_workflow_events) AS n`
        )
        expect(Number((yield* count)[0]!.n)).toBe(3)
        yield* within(live, { keep: 0 })(
          Effect.repeat(Effect.zipRight(sleep(5), count), {
            until: ([row]) => Number(row!.n) === 0,
            times: 1000
          })
        )
        expect(Number((yield* count)[0]!.n)).toBe(0)
        yield* within(live)(executed)
        expect(noted).toEqual(["do", "do"])
      })
    )

    test(
      "suspends an execution whose process has died ten times in a row, and tries it again when it is resumed",
      Effect.gen(function* () {
        const { use } = yield* Store.Store
        const live = Approval.toLayer(() => Effect.succeed(1))
        const executionId = yield* within(Layer.empty)(Approval.execute({ id: "a" }, { discard: true }))
        yield* use((sql) => sql`UPDATE aio_workflows SET state = 'running', owner = 'gone', cuts = 9`)
        yield* within(live)(
          Effect.gen(function* () {
            yield* untilState("suspended")
            const result = yield* Approval.poll(executionId)
            expect(result?._tag === "Suspended" && String(Cause.squash(result.cause!))).toContain(
              "the process that ran it died each time"
            )
            yield* Approval.resume(executionId)
            expect(yield* Approval.execute({ id: "a" })).toBe(1)
          })
        )
      })
    )

    test(
      "asks a store again that fails for a while, and reports one that fails for good",
      Effect.gen(function* () {
        const store = yield* Store.Store
        const { noted, step } = notes()
        let asked = 0
        let isBroken = false
        const error = (isTransient: boolean) =>
          new Store.StoreError({ store: "s", reason: "it is broken", exitCode: 1, isTransient })
        const failing = ((query: never) =>
          Effect.suspend(() => {
            if (isBroken) return Effect.fail(error(false))
            return ++asked % 7 === 0 ? Effect.fail(error(true)) : store.use(query)
          })) as never
        const transaction: Store.Store["Type"]["transaction"] = (queries) =>
          (failing as Store.Store["Type"]["use"])((sql) => sql.withTransaction(queries(sql)))
        const live = Approval.toLayer(() =>
          Effect.as(Effect.zipRight(step("one"), Effect.zipRight(step("two"), step("three"))), 1)
        )
        const body = Effect.gen(function* () {
          expect(yield* Approval.execute({ id: "a" })).toBe(1)
          const waits = yield* Effect.fork(Effect.exit(Approval.execute({ id: "b" })))
          yield* Fiber.interrupt(waits)
          isBroken = true
          const exit = yield* Effect.exit(Approval.execute({ id: "c" }))
          expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(error(false))
        })
        yield* within(live)(body).pipe(
          Effect.provideService(Store.Store, { ...store, use: failing, transaction })
        )
        expect(noted.slice(0, 3)).toEqual(["one", "two", "three"])
      })
    )

    it.scoped(
      "sleeps by the clock over the end of its process: not before its time, then within the poll interval",
      () =>
        Effect.gen(function* () {
          const { noted, step } = notes()
          const Sleepy = Workflow.make({
            name: "sleepy",
            payload: { name: Schema.String, duration: Schema.DurationFromMillis },
            idempotencyKey: ({ name }) => name
          })
          const live = Sleepy.toLayer(({ duration, name }) =>
            Effect.zipRight(DurableClock.sleep({ name: "pause", duration }), Effect.asVoid(step(name)))
          )
          const process = within(live, { poll: "1 second", drain: 0 })
          yield* process(
            Effect.gen(function* () {
              yield* Sleepy.execute({ name: "long", duration: Duration.seconds(200) }, { discard: true })
              yield* untilState("suspended")
              // Up to a minute a sleep is a step of the process.
              yield* Sleepy.execute({ name: "short", duration: Duration.seconds(50) }, { discard: true })
              yield* untilState("running")
              const { use } = yield* Store.Store
              yield* Effect.repeat(
                Effect.zipRight(
                  sleep(2),
                  use((sql) => sql`SELECT id FROM aio_workflow_steps`)
                ),
                {
                  until: ({ length }) => length === 1,
                  times: 4000
                }
              )
              yield* pass(21_000)
            })
          )
          expect(noted).toEqual([])
          yield* process(
            Effect.gen(function* () {
              yield* untilState("running")
              yield* pass(27_000)
              expect(noted).toEqual([])
              yield* TestClock.adjust(2_000)
              yield* untilState("done")
              expect(noted).toEqual(["short"])
            })
          )
          // Nothing serves the store meanwhile.
          yield* TestClock.adjust("1 minute")
          yield* process(
            Effect.gen(function* () {
              yield* pass(87_000)
              yield* TestClock.adjust(2_999)
              // Another one runs from its beginning to its end now.
              yield* Sleepy.execute({ name: "none", duration: Duration.zero })
              expect(noted).toEqual(["short", "none"])
              expect(yield* DurableWorkflows.list({ state: "suspended" })).toHaveLength(1)
              yield* TestClock.adjust(1)
              yield* Effect.zipRight(nudge, untilState("done", 3))
              expect(noted).toEqual(["short", "none", "long"])
            })
          )
        }).pipe(Effect.provide(fresh()))
    )

    it.scoped(
      "takes over from a process of another machine whose beat stands still for 15 seconds, not before",
      () =>
        Effect.gen(function* () {
          const { use } = yield* Store.Store
          const executionId = yield* within(Layer.empty)(Approval.execute({ id: "a" }, { discard: true }))
          yield* use((sql) => sql`UPDATE aio_workflows SET state = 'running', owner = 'other'`)
          const other = { id: "other", place: "elsewhere", process: "1:1", beat: 7 }
          yield* use((sql) => sql`INSERT INTO aio_workflow_workers ${sql.insert(other)}`)
          const beats = (n: number) => Effect.repeatN(pass(3_000), n - 1)
          yield* within(
            Approval.toLayer(() => Effect.succeed(1)),
            { poll: "1 second" }
          )(
            Effect.gen(function* () {
              yield* beats(5)
              expect(yield* DurableWorkflows.list({ state: "running" })).toHaveLength(1)
              // A beat begins the time anew.
              yield* use((sql) => sql`UPDATE aio_workflow_workers SET beat = 8 WHERE id = 'other'`)
              yield* beats(5)
              expect(yield* DurableWorkflows.list({ state: "running" })).toHaveLength(1)
              yield* Effect.repeat(
                Effect.zipRight(pass(3_000), DurableWorkflows.list({ state: "running" })),
                {
                  until: ({ length }) => length === 0,
                  times: 4
                }
              )
              yield* Effect.zipRight(nudge, untilState("done"))
              const result = yield* Approval.poll(executionId)
              expect(result).toEqual(new Workflow.Complete({ exit: Exit.succeed(1) }))
            })
          )
        }).pipe(Effect.provide(fresh()))
    )

    test(
      "has DurableQueue, whose workers complete what executions wait for",
      Effect.gen(function* () {
        const Lengths = DurableQueue.make({
          name: "lengths",
          payload: { text: Schema.String },
          success: Schema.Number,
          idempotencyKey: ({ text }) => text
        })
        const live = Layer.merge(
          Approval.toLayer(({ id }) => DurableQueue.process(Lengths, { text: id })),
          DurableQueue.worker(Lengths, ({ text }) => Effect.succeed(text.length))
        ).pipe(Layer.provide(PersistedQueue.layer), Layer.provide(PersistedQueue.layerStoreMemory))
        expect(yield* within(live)(Approval.execute({ id: "four" }))).toBe(4)
      })
    )

    test(
      "follows the schedule for suspended executions, which may end",
      Effect.gen(function* () {
        const Short = Workflow.make({
          name: "short",
          payload: {},
          suspendedRetrySchedule: Schedule.intersect(Schedule.recurs(1), Schedule.spaced("10 millis")),
          idempotencyKey: () => ""
        })
        const live = Short.toLayer(() => Effect.asVoid(Effect.orDie(DurableDeferred.await(approved))))
        const exit = yield* within(live)(Effect.exit(Short.execute(undefined)))
        expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toContain(
          "suspendedRetrySchedule exhausted"
        )
      })
    )

    test(
      "refuses two workflows of one name, and a workflow that a client registers",
      Effect.gen(function* () {
        const live = () => Approval.toLayer(() => Effect.succeed(1))
        const message = (layer: Layer.Layer<never, any, Store.Store>) =>
          Effect.map(Effect.exit(Effect.scoped(Layer.build(layer))), (exit) =>
            Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
          )
        const twice = Layer.provide(Layer.merge(live(), live()), DurableWorkflows.layer())
        expect(yield* message(twice)).toContain("there are two workflows 'approval'; give each another name")
        const client = Layer.provide(live(), DurableWorkflows.layerClient())
        expect(yield* message(client)).toContain("cannot be registered with layerClient, which runs nothing")
      })
    )
  })
}
