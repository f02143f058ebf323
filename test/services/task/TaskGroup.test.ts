import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Fiber,
  FiberId,
  FiberRef,
  Function as Fn,
  Layer,
  Option,
  Scope,
  Supervisor,
  TestClock
} from "effect"
import * as Cancellation from "../../../src/services/task/Cancellation.js"
import * as EventLoop from "../../../src/services/task/EventLoop.js"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import { suspended, until } from "../../support/Waits.js"

// The messages that a group reports, and the option that collects them.
const reports = () => {
  const messages: Array<string> = []
  const report = (failure: TaskGroup.TaskFailed) => Effect.sync(() => void messages.push(failure.message))
  return { messages, report }
}

// An effect that signals its start and never ends, with an asynchronous clean-up.
const endless = Effect.map(Deferred.make<void>(), (begun) => {
  const self = {
    begun: Deferred.await(begun),
    cleaned: false,
    exit: undefined as Exit.Exit<never> | undefined,
    run: Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
      Effect.onExit((exit) =>
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => {
            self.cleaned = true
            self.exit = exit
          })
        )
      )
    )
  }
  return self
})

describe("TaskGroup", () => {
  describe("a task", () => {
    it.scoped("returns its result as often as it is requested, typed", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const task = yield* group.start("sum", Effect.succeed(3))
        const result: number = yield* task.result
        expect([result, yield* task.result, yield* task.await]).toEqual([3, 3, Exit.succeed(3)])
        expect(yield* task.status).toBe("succeeded")
      })
    )

    it.scoped("begins on the next turn, in order of starting", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const log: Array<string> = []
        const write = (line: string) => Effect.sync(() => void log.push(line))
        yield* group.start("one", write("one"))
        yield* group.start("two", write("two"))
        yield* write("starter")
        yield* group.join
        expect(log).toEqual(["starter", "one", "two"])
      })
    )

    it.scoped("passes through its states", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ onFailure: "collect" })
        const { run, begun } = yield* endless
        const cleaning = yield* Deferred.make<void>()
        const clean = yield* Deferred.make<void>()
        const cleanUp = Effect.zipRight(Deferred.succeed(cleaning, undefined), Deferred.await(clean))
        const task = yield* group.start("web", Effect.ensuring(run, cleanUp))
        expect(yield* task.status).toBe("pending")
        expect(yield* task.poll).toEqual(Option.none())
        yield* begun
        expect(yield* task.status).toBe("running")
        const cancel = yield* Effect.fork(task.cancel("enough"))
        yield* Deferred.await(cleaning)
        expect(yield* task.status).toBe("cancelling")
        yield* Deferred.succeed(clean, undefined)
        yield* Fiber.join(cancel)
        expect(yield* task.status).toBe("cancelled")
        const failing = yield* group.start("bad", Effect.fail("no"))
        expect(yield* failing.await).toEqual(Exit.fail("no"))
        expect(yield* failing.status).toBe("failed")
      })
    )

    it.scoped("never runs when it is cancelled before its first step", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        let ran = false
        const run = Effect.sync(() => {
          ran = true
        })
        const task = yield* group.start("late", run)
        yield* task.cancel("changed my mind")
        const guarded = yield* Effect.uninterruptible(group.start("late too", run))
        yield* guarded.cancel("that one too")
        expect([ran, yield* task.status, yield* guarded.status]).toEqual([false, "cancelled", "cancelled"])
      })
    )

    it.scoped("has the reason and the origin of its cancellation, in the handle and in the cause", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ name: "jobs" })
        const { run, begun } = yield* endless
        const task = yield* group.start("web", run)
        yield* begun
        expect(yield* task.cancellation).toEqual(Option.none())
        const boss = yield* group.start("boss", task.cancel("too slow"))
        yield* boss.result
        const cancellation = { reason: "too slow", origin: "boss" }
        expect(yield* task.cancellation).toEqual(Option.some(cancellation))
        expect(Cancellation.fromExit(yield* task.await)).toEqual([cancellation])
        const error = yield* Effect.flip(task.result)
        expect(error.message).toBe("task web was cancelled by boss: too slow")
        const others = [yield* group.start("a", Effect.never), yield* group.start("b", Effect.never)] as const
        yield* others[0].cancel("from outside")
        yield* others[1].cancel("on request", { origin: "SIGHUP" })
        expect(yield* others[0].cancellation).toEqual(Option.some({ reason: "from outside", origin: "jobs" }))
        expect(yield* others[1].cancellation).toEqual(Option.some({ reason: "on request", origin: "SIGHUP" }))
      })
    )

    it.scoped("is cleaned up when cancel returns, and keeps the first reason", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const state = yield* endless
        const task = yield* group.start("web", state.run)
        yield* state.begun
        yield* Effect.all([task.cancel("first"), task.cancel("second")], { concurrency: 2 })
        expect(state.cleaned).toBe(true)
        yield* task.cancel("too late")
        expect(Option.map(yield* task.cancellation, (c) => c.reason)).toEqual(Option.some("first"))
      })
    )

    it.scoped("that has finished was not cancelled, even by a later cancel", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const task = yield* group.start("done", Effect.succeed(1))
        yield* task.await
        yield* task.cancel("too late")
        expect([yield* task.result, yield* task.cancellation]).toEqual([1, Option.none()])
      })
    )

    it.scoped("outlives the interruption of a fiber that awaits it", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const gate = yield* Deferred.make<string>()
        const task = yield* group.start("slow", Deferred.await(gate))
        const waiter = yield* Effect.fork(task.result)
        yield* suspended(waiter)
        yield* Fiber.interrupt(waiter)
        yield* Deferred.succeed(gate, "done")
        expect(yield* task.result).toBe("done")
      })
    )

    it.scoped("can cancel itself, and dies rather than wait for itself", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ onFailure: "collect" })
        const own = yield* Deferred.make<TaskGroup.Task<void>>()
        const wait = <A, E>(use: (task: TaskGroup.Task<void>) => Effect.Effect<A, E>) =>
          Effect.asVoid(Effect.orDie(Effect.flatMap(Deferred.await(own), use)))
        const quits = yield* group.start(
          "quits",
          wait((task) => task.cancel("done here"))
        )
        yield* Deferred.succeed(own, quits)
        yield* quits.await
        expect(yield* quits.cancellation).toEqual(Option.some({ reason: "done here", origin: "quits" }))
        const again = yield* Deferred.make<TaskGroup.Task<void>>()
        const selfish = yield* group.start(
          "selfish",
          Effect.flatMap(Deferred.await(again), (task) => Effect.orDie(task.result))
        )
        yield* Deferred.succeed(again, selfish)
        const joins = yield* group.start("joins", Effect.orDie(group.join))
        const messages = (yield* Effect.all([selfish.await, joins.await])).map((exit) =>
          Exit.isFailure(exit) ? Cause.pretty(exit.cause).split("\n")[0] : ""
        )
        expect(messages[0]).toContain("task selfish cannot wait for itself")
        expect(messages[1]).toContain("task joins cannot wait for group group")
      })
    )

    it.effect("is known by name to its own fibers, to a supervisor and to the tasks it starts", () =>
      Effect.gen(function* () {
        const born: Array<string> = []
        class Names extends Supervisor.AbstractSupervisor<void> {
          readonly value = Effect.void
          override onStart(
            _context: unknown,
            _effect: unknown,
            _parent: unknown,
            fiber: Fiber.RuntimeFiber<unknown, unknown>
          ) {
            const task = fiber.getFiberRef(TaskGroup.currentTask)
            born.push(Option.match(task, { onNone: () => "-", onSome: (task) => task.name }))
          }
        }
        const name = Effect.map(FiberRef.get(TaskGroup.currentTask), Option.getOrUndefined)
        const inner = Effect.flatMap(Effect.fork(name), Fiber.join)
        const seen = yield* Effect.gen(function* () {
          const task = yield* TaskGroup.start(
            "outer",
            Effect.flatMap(TaskGroup.start("inner", inner), (task) => task.result)
          )
          return yield* task.result
        }).pipe(TaskGroup.scoped({ name: "jobs" }), Effect.supervised(new Names()))
        expect([seen?.name, seen?.group]).toEqual(["inner", "jobs"])
        const parent = Option.getOrThrow(seen!.parent)
        expect([parent.name, parent.parent]).toEqual(["outer", Option.none()])
        expect(born.slice(1)).toEqual(["outer", "inner", "inner"])
        expect(yield* name).toBeUndefined()
      })
    )
  })

  describe("tasks", () => {
    it.scoped("lists the living with name, age, status and parent", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ name: "jobs" })
        const { run, begun } = yield* endless
        yield* group.start("parent", Effect.zipRight(group.start("child", run), Effect.never))
        yield* begun
        yield* TestClock.adjust("3 seconds")
        yield* group.start("new", Effect.never)
        yield* Effect.flatMap(group.start("over", Effect.void), (task) => task.await)
        const list = (yield* group.tasks).map((task) => [
          task.name,
          Duration.toMillis(task.age),
          task.status,
          Option.getOrUndefined(Option.map(task.parent, (parent) => parent.name))
        ])
        expect(list).toEqual([
          ["parent", 3000, "running", undefined],
          ["child", 3000, "running", "parent"],
          ["new", 0, "running", undefined]
        ])
      })
    )
  })

  describe("onFailure", () => {
    it.scoped("cancel: the siblings are cancelled and cleaned up before the group fails", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const sibling = yield* endless
        const task = yield* group.start("sibling", sibling.run)
        yield* group.start("web", Effect.zipRight(sibling.begun, Effect.fail("refused")))
        const cause = yield* Effect.flip(Effect.sandbox(group.join))
        expect([cause, sibling.cleaned]).toEqual([Cause.fail("refused"), true])
        expect(Option.map(TaskGroup.failedTask(cause), ({ name }) => name)).toEqual(Option.some("web"))
        const reason = { reason: "sibling web failed", origin: "web" }
        expect(yield* task.cancellation).toEqual(Option.some(reason))
        expect(Cancellation.fromExit(sibling.exit!)).toEqual([reason])
      })
    )

    it.scoped(
      "cancel: a sibling that waits for the failing task is cancelled and does not fail in its turn",
      () =>
        Effect.gen(function* () {
          const group = yield* TaskGroup.make()
          const gate = yield* Deferred.make<void>()
          const db = yield* group.start("db", Effect.zipRight(Deferred.await(gate), Effect.fail("down")))
          const asks = yield* Deferred.make<void>()
          const web = yield* group.start("web", Effect.zipRight(Deferred.succeed(asks, undefined), db.result))
          yield* Deferred.await(asks)
          yield* Deferred.succeed(gate, undefined)
          yield* Effect.exit(group.join)
          expect([yield* db.status, yield* web.status]).toEqual(["failed", "cancelled"])
        })
    )

    it.scoped("cancel: a group that has failed refuses further tasks with the reason", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        yield* group.start("web", Effect.fail("refused"))
        yield* Effect.exit(group.join)
        const late = yield* group.start("late", Effect.succeed(1))
        expect([yield* late.status, yield* late.cancellation]).toEqual([
          "cancelled",
          Option.some({ reason: "sibling web failed", origin: "web" })
        ])
      })
    )

    it.scoped("continue: the siblings run on, then the group fails with the first failure", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ onFailure: "continue", report: () => Effect.void })
        const gate = yield* Deferred.make<string>()
        const sibling = yield* group.start("sibling", Deferred.await(gate))
        const first = yield* Deferred.make<void>()
        const late = yield* group.start("late", Effect.zipRight(Deferred.await(first), Effect.fail("later")))
        yield* group.start("web", Effect.ensuring(Effect.fail("refused"), Deferred.succeed(first, undefined)))
        const join = yield* Effect.fork(Effect.flip(group.join))
        yield* late.await
        expect([join.unsafePoll(), yield* sibling.status]).toEqual([null, "running"])
        yield* Deferred.succeed(gate, "done")
        expect(yield* Fiber.join(join)).toBe("refused")
        expect(yield* sibling.result).toBe("done")
      })
    )

    it.scoped("collect: the group never fails and every outcome is a value", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ onFailure: "collect" })
        const bad = yield* group.start("bad", Effect.fail("no"))
        const good = yield* group.start("good", Effect.as(bad.await, 1))
        yield* group.join
        expect([yield* bad.await, yield* good.await]).toEqual([Exit.fail("no"), Exit.succeed(1)])
      })
    )
  })

  describe("closing", () => {
    it.effect("cancels remaining tasks with a reason and returns after their clean-up", () =>
      Effect.gen(function* () {
        const left = yield* endless
        const task = yield* Effect.scoped(
          Effect.gen(function* () {
            const group = yield* TaskGroup.make({ name: "jobs" })
            const task = yield* group.start("left", left.run)
            yield* left.begun
            return task
          })
        )
        expect(left.cleaned).toBe(true)
        expect(yield* task.cancellation).toEqual(Option.some({ reason: "group jobs closed", origin: "jobs" }))
      })
    )

    it.effect("reports a failure that was not looked at, once", () =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        yield* Effect.scoped(
          Effect.gen(function* () {
            const group = yield* TaskGroup.make({ onFailure: "continue", report })
            yield* group.start("unseen", Effect.fail("lost"))
            const all = [
              yield* group.start("awaited", Effect.fail("seen")),
              yield* group.start("asked", Effect.fail("seen")),
              yield* group.start("polled", Effect.fail("seen"))
            ] as const
            for (const task of all)
              yield* Effect.repeat(Effect.zipRight(EventLoop.nextTurn, task.status), {
                until: (status) => status === "failed"
              })
            yield* all[0].await
            yield* Effect.flip(all[1].result)
            yield* all[2].poll
            const quiet = yield* group.start("cancelled", Effect.never)
            yield* quiet.cancel("a cancellation is no failure")
            expect(messages).toEqual([])
          })
        )
        expect(messages).toEqual(["task unseen failed: lost"])
      })
    )

    it.effect("counts the failure that join failed with as seen, and no other", () =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        const failing = Effect.gen(function* () {
          const first = yield* Deferred.make<void>()
          yield* TaskGroup.start(
            "first",
            Effect.ensuring(Effect.fail("one"), Deferred.succeed(first, undefined))
          )
          yield* TaskGroup.start("second", Effect.zipRight(Deferred.await(first), Effect.fail("two")))
        })
        yield* Effect.flip(TaskGroup.scoped(failing, { onFailure: "continue", report }))
        expect(messages).toEqual(["task second failed: two"])
      })
    )

    it.effect("reports a clean-up that failed", () =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        const { run, begun } = yield* endless
        yield* TaskGroup.scoped(
          Effect.gen(function* () {
            const dirty = yield* TaskGroup.start(
              "dirty",
              Effect.onInterrupt(run, () => Effect.die("no mop"))
            )
            yield* begun
            yield* dirty.cancel("stop")
            expect(yield* dirty.status).toBe("failed")
          }),
          { onFailure: "collect", report }
        )
        expect(messages).toEqual(["task dirty failed: no mop"])
      })
    )

    it.effect("refuses tasks afterwards", () =>
      Effect.gen(function* () {
        let ran = false
        const group = yield* Effect.scoped(TaskGroup.make({ name: "jobs" }))
        const late = yield* group.start(
          "late",
          Effect.sync(() => {
            ran = true
          })
        )
        const error = yield* Effect.flip(late.result)
        expect([ran, error.message]).toEqual([false, "task late was cancelled by jobs: group jobs closed"])
      })
    )
  })

  describe("scoped", () => {
    it.effect("waits for every task of its body", () =>
      Effect.gen(function* () {
        let done = false
        const gate = yield* Deferred.make<void>()
        const slow = Effect.zipRight(
          Deferred.await(gate),
          Effect.sync(() => (done = true))
        )
        const fiber = yield* Effect.fork(TaskGroup.scoped(Effect.as(TaskGroup.start("slow", slow), "body")))
        yield* suspended(fiber)
        expect(fiber.unsafePoll()).toBeNull()
        yield* Deferred.succeed(gate, undefined)
        expect([yield* Fiber.join(fiber), done]).toEqual(["body", true])
      })
    )

    it.effect("stops its body when a task fails, and not its caller", () =>
      Effect.gen(function* () {
        const body = yield* endless
        const error = yield* Effect.flip(
          TaskGroup.scoped(
            Effect.zipRight(
              TaskGroup.start("web", Effect.zipRight(body.begun, Effect.fail("refused"))),
              body.run
            )
          )
        )
        expect(error).toBe("refused")
        expect(Cancellation.fromExit(body.exit!)).toEqual([{ reason: "task web failed", origin: "web" }])
      })
    )

    it.effect("cancels the tasks when its body fails, or lets them run on, as onFailure defines", () =>
      Effect.gen(function* () {
        const statuses: Array<TaskGroup.Status> = []
        for (const onFailure of ["cancel", "continue", "collect"] as const) {
          const gate = yield* Deferred.make<void>()
          const handle = yield* Deferred.make<TaskGroup.Task<void>>()
          const failed = yield* Deferred.make<void>()
          const fiber = yield* Effect.gen(function* () {
            yield* Deferred.succeed(handle, yield* TaskGroup.start("task", Deferred.await(gate)))
            return yield* Effect.ensuring(Effect.fail("body"), Deferred.succeed(failed, undefined))
          }).pipe(TaskGroup.scoped({ onFailure }), Effect.fork)
          const task = yield* Deferred.await(handle)
          yield* Deferred.await(failed)
          if (onFailure !== "cancel") yield* Deferred.succeed(gate, undefined)
          expect(yield* Fiber.await(fiber)).toEqual(Exit.fail("body"))
          statuses.push(yield* task.status)
        }
        expect(statuses).toEqual(["cancelled", "succeeded", "succeeded"])
      })
    )

    it.effect("passes on the reason of its own interruption, and keeps no fiber", () =>
      Effect.gen(function* () {
        const task = yield* endless
        const body = yield* endless
        const fiber = yield* Effect.fork(
          TaskGroup.scoped(Effect.zipRight(TaskGroup.start("task", task.run), body.run), {
            onFailure: "collect"
          })
        )
        yield* Effect.zipRight(task.begun, body.begun)
        const stop = { reason: "SIGINT", origin: "terminal" }
        yield* Cancellation.cancel(fiber, stop)
        expect([task, body].map((one) => Cancellation.fromExit(one.exit!))).toEqual([[stop], [stop]])
      })
    )

    it.effect("loses neither failure when a task and the body both fail", () =>
      Effect.gen(function* () {
        const { begun, run } = yield* endless
        const body = Effect.onInterrupt(run, () => Effect.die("no mop"))
        const cause = yield* Effect.zipRight(
          TaskGroup.start("web", Effect.zipRight(begun, Effect.fail("refused"))),
          body
        ).pipe(TaskGroup.scoped(), Effect.sandbox, Effect.flip)
        expect([...Cause.failures(cause)]).toEqual(["refused"])
        expect(Array.from(Cause.defects(cause))).toEqual(["no mop"])
      })
    )

    it.effect("has a failure once when the body fails with that of its task", () =>
      Effect.gen(function* () {
        const cause = yield* Effect.flatMap(
          TaskGroup.start("web", Effect.fail("refused")),
          (task) => task.result
        ).pipe(TaskGroup.scoped({ onFailure: "continue" }), Effect.sandbox, Effect.flip)
        expect(Array.from(Cause.failures(cause))).toHaveLength(1)
      })
    )

    it.effect.each(["cancel", "continue", "collect"] as const)(
      "%s: what breaks in the clean-up of its body when it is interrupted is in the cause",
      (onFailure) =>
        Effect.gen(function* () {
          const { messages, report } = reports()
          const { begun, run } = yield* endless
          const task = yield* endless
          const gate = yield* Deferred.make<void>()
          const waits = yield* Deferred.make<void>()
          const late = Deferred.succeed(waits, undefined).pipe(
            Effect.zipRight(Deferred.await(gate)),
            Effect.zipRight(Effect.fail("late")),
            Effect.uninterruptible
          )
          const body = Effect.zipRight(
            TaskGroup.start(
              "task",
              Effect.onInterrupt(task.run, () => Effect.die("mop broke"))
            ),
            Effect.zipRight(
              task.begun,
              Effect.onInterrupt(run, () => Effect.die("no mop"))
            )
          )
          const fiber = yield* Effect.fork(TaskGroup.scoped(body, { onFailure, report }))
          yield* begun
          const exit = yield* Fiber.interrupt(fiber)
          expect(Exit.isInterrupted(exit)).toBe(true)
          expect(Exit.isFailure(exit) && [...Cause.defects(exit.cause)]).toEqual(["no mop"])
          expect(messages).toEqual(["task task failed: mop broke"])
          const typed = yield* Effect.fork(TaskGroup.scoped(late, { onFailure }))
          yield* Deferred.await(waits)
          yield* Fiber.interruptAsFork(typed, FiberId.none)
          yield* Deferred.succeed(gate, undefined)
          const failed = yield* Fiber.await(typed)
          expect(Exit.isFailure(failed) && [...Cause.failures(failed.cause)]).toEqual(["late"])
        })
    )

    it.effect("nests: cancelling an outer task cancels the group inside it", () =>
      Effect.gen(function* () {
        const inner = yield* endless
        yield* TaskGroup.scoped(
          Effect.gen(function* () {
            const outer = yield* TaskGroup.start(
              "outer",
              TaskGroup.scoped(TaskGroup.start("inner", inner.run), { name: "nested" })
            )
            yield* inner.begun
            yield* outer.cancel("enough", { origin: "user" })
          })
        )
        expect(Cancellation.fromExit(inner.exit!)).toEqual([{ reason: "enough", origin: "user" }])
      })
    )

    it.effect("nests: a group that fails fails only the task that it runs in", () =>
      Effect.gen(function* () {
        const outer = yield* TaskGroup.scoped(
          Effect.gen(function* () {
            const task = yield* TaskGroup.start(
              "outer",
              TaskGroup.scoped(TaskGroup.start("inner", Effect.fail("refused")))
            )
            return yield* Effect.flip(task.result)
          }),
          { onFailure: "collect" }
        )
        expect(outer).toBe("refused")
      })
    )

    it.scoped("leaves FiberRefs that its body sets as if there were no group", () =>
      Effect.gen(function* () {
        const ref = yield* FiberRef.make(0)
        const task = Effect.flatMap(TaskGroup.start("task", FiberRef.set(ref, 2)), (task) => task.result)
        yield* TaskGroup.scoped(Effect.zipRight(FiberRef.set(ref, 1), task))
        expect(yield* FiberRef.get(ref)).toBe(1)
      })
    )
  })

  describe("errors", () => {
    class NotFound extends Data.TaggedError("NotFound")<{ readonly file: string }> {}
    class Refused extends Data.TaggedError("Refused")<{ readonly port: number }> {}
    const read = Effect.fail(new NotFound({ file: "a" }))
    const listen = Effect.fail(new Refused({ port: 80 }))

    it.effect("of the tasks are the errors of scoped, typed, and catchTag takes them", () =>
      Effect.gen(function* () {
        const group = Effect.gen(function* () {
          yield* TaskGroup.start("reads", read)
          yield* TaskGroup.start("listens", listen)
          yield* TaskGroup.start("waits", Effect.never)
          yield* TaskGroup.join
        }).pipe(TaskGroup.scoped({ report: () => Effect.void }))
        expectTypeOf(group).toEqualTypeOf<Effect.Effect<void, NotFound | Refused>>()
        const file = group.pipe(
          Effect.catchTag("NotFound", (error) =>
            Effect.succeed([
              error.file,
              Option.map(TaskGroup.failedTask(error), (task) => task.name)
            ] as const)
          ),
          Effect.catchTag("Refused", () => Effect.die("the first failure wins"))
        )
        expectTypeOf<Effect.Effect.Error<typeof file>>().toEqualTypeOf<never>()
        expect(yield* file).toEqual(["a", Option.some("reads")])
      })
    )

    it("of the body are added, and those of an inner group stay in it", () => {
      const inner = TaskGroup.scoped(TaskGroup.start("inner", listen))
      const outer = Effect.zipRight(TaskGroup.start("outer", inner), read).pipe(TaskGroup.scoped())
      expectTypeOf(outer).toEqualTypeOf<Effect.Effect<never, NotFound | Refused>>()
      const caught = TaskGroup.start(
        "outer",
        Effect.catchAll(inner, () => read)
      ).pipe(TaskGroup.scoped())
      expectTypeOf(caught).toEqualTypeOf<
        Effect.Effect<TaskGroup.Task<TaskGroup.Task<never, Refused>, NotFound>, NotFound>
      >()
    })

    it("are none of a group that collects, and all of one whose mode is known at run time only", () => {
      const body = TaskGroup.start("reads", read)
      expectTypeOf(TaskGroup.scoped(body, { onFailure: "collect" })).toEqualTypeOf<
        Effect.Effect<TaskGroup.Task<never, NotFound>>
      >()
      const mode = "collect" as TaskGroup.OnFailure
      expectTypeOf(TaskGroup.scoped(body, { onFailure: mode })).toEqualTypeOf<
        Effect.Effect<TaskGroup.Task<never, NotFound>, NotFound>
      >()
    })

    it.scoped("of a group made by hand are its type argument; join fails with them", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make<NotFound>()
        expectTypeOf(group.join).toEqualTypeOf<Effect.Effect<void, NotFound>>()
        // A task of this group cannot fail with Refused.
        expectTypeOf<Effect.Effect<void, Refused>>().not.toExtend<Parameters<typeof group.start>[1]>()
        yield* group.start("reads", read)
        expect(yield* Effect.flip(group.join)).toBeInstanceOf(NotFound)
        const collecting = yield* TaskGroup.make<NotFound>({ onFailure: "collect" })
        expectTypeOf(collecting.join).toEqualTypeOf<Effect.Effect<void>>()
      })
    )

    it("of an application's group are those of its layer", () => {
      const program = Effect.zipRight(TaskGroup.start("reads", read), TaskGroup.join)
      expectTypeOf(program).toEqualTypeOf<
        Effect.Effect<void, never, TaskGroup.TaskGroup<NotFound> | TaskGroup.TaskGroup<never>>
      >()
      expectTypeOf(Effect.provide(program, TaskGroup.layer<NotFound>())).toEqualTypeOf<Effect.Effect<void>>()
      const narrow = Effect.provide(program, TaskGroup.layer<Refused>())
      expectTypeOf(narrow).not.toEqualTypeOf<Effect.Effect<void>>()
      expectTypeOf(Effect.flatMap(TaskGroup.current<NotFound>(), ({ join }) => join)).toEqualTypeOf<
        Effect.Effect<void, NotFound, TaskGroup.TaskGroup<NotFound>>
      >()
    })

    it.effect("a defect of a task is the group's defect, and its task is known", () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(TaskGroup.scoped(TaskGroup.start("bug", Effect.die("bug"))))
        expect(exit).toEqual(Exit.die("bug"))
        const task = Exit.isFailure(exit) ? TaskGroup.failedTask(exit.cause) : Option.none()
        expect(Option.map(task, ({ name }) => name)).toEqual(Option.some("bug"))
        expect([TaskGroup.failedTask(Cause.fail("other")), TaskGroup.failedTask("bug")]).toEqual([
          Option.none(),
          Option.none()
        ])
      })
    )

    it.effect("join of a body that runs on after a failure ends the body with the reason", () =>
      Effect.gen(function* () {
        let seen: ReadonlyArray<Cancellation.Cancellation> = []
        const exit = yield* TaskGroup.start("reads", read).pipe(
          Effect.zipRight(TaskGroup.join),
          Effect.onExit((exit) => Effect.sync(() => (seen = Cancellation.fromExit(exit)))),
          TaskGroup.scoped({ onFailure: "continue" }),
          Effect.exit
        )
        expect(exit).toEqual(Exit.fail(new NotFound({ file: "a" })))
        expect(seen).toEqual([{ reason: "task reads failed", origin: "reads" }])
      })
    )
  })

  describe("regions and order", () => {
    it.effect("a task can be cancelled though it was started in an uninterruptible region", () =>
      Effect.gen(function* () {
        const work = yield* endless
        const gate = yield* Deferred.make<void>()
        const exit = yield* Effect.gen(function* () {
          const task = yield* TaskGroup.start("work", work.run)
          yield* TaskGroup.start("fails", Effect.zipRight(Deferred.await(gate), Effect.fail("no")))
          yield* work.begun
          yield* Deferred.succeed(gate, undefined)
          return yield* task.await
        }).pipe(TaskGroup.scoped(), Effect.uninterruptible, Effect.exit)
        expect(exit).toEqual(Exit.fail("no"))
        expect(work.cleaned).toBe(true)
      })
    )

    it.effect.each(["cancel", "continue", "collect"] as const)(
      "%s: an interruption ends the tasks while the body still cleans up; a shielded one is waited for",
      (onFailure) =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const write = (line: string) => Effect.sync(() => void log.push(line))
          const { begun, run } = yield* endless
          const [plain, shielded] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const fiber = yield* Effect.gen(function* () {
            const task = yield* TaskGroup.start("plain", Effect.never)
            yield* task.onDone(() =>
              Effect.zipRight(write("plain has ended"), Deferred.succeed(plain, undefined))
            )
            yield* TaskGroup.start(
              "shielded",
              Effect.zipRight(Deferred.await(shielded), write("shielded has ended")),
              { shield: true }
            )
            return yield* run
          }).pipe(
            Effect.onInterrupt(() =>
              Deferred.await(plain).pipe(
                Effect.zipRight(TaskGroup.start("late", write("never"))),
                Effect.zipRight(write("body has cleaned up")),
                Effect.zipRight(Deferred.succeed(shielded, undefined))
              )
            ),
            TaskGroup.scoped({ onFailure }),
            Effect.fork
          )
          yield* begun
          yield* Fiber.interrupt(fiber)
          expect(log).toEqual(["plain has ended", "body has cleaned up", "shielded has ended"])
        })
    )
  })

  describe("a report that fails itself", () => {
    const lost = (exit: Exit.Exit<unknown, unknown>) =>
      Exit.isFailure(exit)
        ? Array.from(Cause.defects(exit.cause), (defect) => String((defect as Error).message))
        : []
    const failures = ["task a failed: one", "task b failed: two"]

    it.effect.each([
      ["dies", () => Effect.die(new Error("report"))],
      [
        "throws",
        (): Effect.Effect<void> => {
          throw new Error("report")
        }
      ]
    ] as const)("that %s: the group dies of all that was to be reported, when it closes", ([, report]) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(
          TaskGroup.scoped(
            Effect.zipRight(
              TaskGroup.start("a", Effect.fail("one")),
              TaskGroup.start("b", Effect.fail("two"))
            ),
            { onFailure: "collect", report }
          )
        )
        expect(lost(exit).sort()).toEqual(["report", "report", ...failures])
      })
    )

    it.effect("of a done callback, of one that is registered late too", () =>
      Effect.gen(function* () {
        const report = () => Effect.die(new Error("report"))
        let task: TaskGroup.Task<void> | undefined
        const exit = yield* Effect.exit(
          TaskGroup.scoped(
            Effect.gen(function* () {
              task = yield* TaskGroup.start("a", Effect.void)
              yield* task.onDone(() => Effect.fail("callback"))
            }),
            { report }
          )
        )
        const expected = ["report", "task a (done callback) failed: callback"]
        expect(lost(exit).sort()).toEqual(expected)
        const late = yield* Effect.exit(task!.onDone(() => Effect.fail("callback")))
        expect(lost(late).sort()).toEqual(expected)
        expect(yield* Effect.exit(task!.onDone(() => Effect.void))).toEqual(Exit.void)
      })
    )
  })

  describe("layer", () => {
    it.effect("is a group that lives as long as the layer", () =>
      Effect.gen(function* () {
        const state = yield* endless
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(TaskGroup.layer({ name: "app" }), scope)
        yield* Effect.provide(TaskGroup.start("server", state.run), context)
        yield* state.begun
        expect(yield* Effect.provide(TaskGroup.tasks, context)).toHaveLength(1)
        yield* Scope.close(scope, Exit.void)
        expect(Cancellation.fromExit(state.exit!)).toEqual([{ reason: "group app closed", origin: "app" }])
      })
    )
  })

  describe("concurrency", () => {
    it.scoped("makes starts wait in order", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ concurrency: 2 })
        const gates = yield* Effect.forEach([0, 1, 2, 3, 4], () => Deferred.make<void>())
        const begun: Array<number> = []
        let [running, most] = [0, 0]
        const begins = (i: number) =>
          Effect.sync(() => {
            begun.push(i)
            most = Math.max(most, ++running)
          })
        const starter = yield* Effect.forEach(
          gates,
          (gate, i) =>
            group.start(
              `task ${i}`,
              Effect.zipRight(begins(i), Deferred.await(gate)).pipe(
                Effect.ensuring(Effect.sync(() => running--))
              )
            ),
          { concurrency: "unbounded", discard: true }
        ).pipe(Effect.fork)
        yield* Effect.zipRight(
          until(() => begun.length >= 2),
          suspended(starter)
        )
        expect(begun).toEqual([0, 1])
        yield* Deferred.succeed(gates[1]!, undefined)
        yield* until(() => begun.length >= 3)
        expect(begun).toEqual([0, 1, 2])
        expect(yield* group.tasks).toHaveLength(2)
        yield* Effect.forEach(gates, (gate) => Deferred.succeed(gate, undefined))
        yield* Fiber.join(starter)
        yield* group.join
        expect([begun, most]).toEqual([[0, 1, 2, 3, 4], 2])
      })
    )

    it.scoped("passes the turn on when a start in line is interrupted, even in the moment of its turn", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ concurrency: 1 })
        const gate = yield* Deferred.make<void>()
        // Called in the same turn as the slot is handed on, before `ready` can run.
        let atEnd: () => void = Fn.constVoid
        class AtEnd extends Supervisor.AbstractSupervisor<void> {
          readonly value = Effect.void
          override onEnd() {
            atEnd()
          }
        }
        yield* Effect.supervised(group.start("holder", Deferred.await(gate)), new AtEnd())
        const gone = yield* Effect.fork(group.start("gone", Effect.void))
        const ready = yield* Effect.fork(group.start("ready", Effect.void))
        const next = yield* Effect.fork(group.start("next", Effect.succeed("next")))
        atEnd = () => ready.unsafeInterruptAsFork(FiberId.none)
        for (const one of [gone, ready, next]) yield* suspended(one)
        yield* Fiber.interrupt(gone)
        yield* Deferred.succeed(gate, undefined)
        expect(Exit.isInterrupted(yield* Fiber.await(ready))).toBe(true)
        expect(yield* Effect.flatMap(Fiber.join(next), (task) => task.result)).toBe("next")
      })
    )

    it.scoped("starts the highest priority first, and equal ones in order", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ concurrency: 1 })
        const gate = yield* Deferred.make<void>()
        yield* group.start("holder", Deferred.await(gate))
        const begun: Array<string> = []
        const starts: Array<Fiber.Fiber<unknown>> = []
        for (const [name, priority] of [
          ["a", 0],
          ["b", 2],
          ["c", undefined],
          ["gone", 3],
          ["d", 2],
          ["e", -1.5]
        ] as const) {
          const write = Effect.sync(() => void begun.push(name))
          starts.push(yield* Effect.fork(group.start(name, write, { priority })))
          yield* Effect.yieldNow()
        }
        yield* Fiber.interrupt(starts[3]!)
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.forEach(starts.toSpliced(3, 1), Fiber.join)
        yield* group.join
        expect(begun).toEqual(["b", "d", "a", "c", "e"])
      })
    )

    it.scoped("refuses a waiting start when the group fails", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ concurrency: 1 })
        const gate = yield* Deferred.make<void>()
        yield* group.start("holder", Effect.zipRight(Deferred.await(gate), Effect.fail("bad")))
        let ran = false
        const line = yield* Effect.fork(
          group.start(
            "line",
            Effect.sync(() => {
              ran = true
            })
          )
        )
        yield* suspended(line)
        yield* Deferred.succeed(gate, undefined)
        const task = yield* Fiber.join(line)
        expect([yield* task.status, ran]).toEqual(["cancelled", false])
        yield* Effect.exit(group.join)
      })
    )
  })

  describe("shield", () => {
    it.scoped("runs on when its caller is cancelled, and returns its result to another caller", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const gate = yield* Deferred.make<void>()
        let [begun, committed] = [0, 0]
        const commit = Effect.zipRight(
          Effect.suspend(() => {
            begun++
            return Deferred.await(gate)
          }),
          Effect.sync(() => ++committed)
        )
        const gone = yield* Effect.fork(group.shield("commit", commit))
        const stays = yield* Effect.fork(group.shield("commit too", commit))
        yield* until(() => begun === 2)
        yield* Fiber.interrupt(gone)
        yield* Deferred.succeed(gate, undefined)
        yield* group.join
        expect([committed, yield* Fiber.join(stays)]).toEqual([2, 2])
      })
    )

    it.effect("is waited for by a failing and by a closing group; only its handle cancels it", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const closing = yield* Deferred.make<void>()
        const fiber = yield* Effect.gen(function* () {
          const group = yield* TaskGroup.make({ report: () => Effect.void })
          const shielded = yield* group.start("shielded", Deferred.await(gate), { shield: true })
          const doomed = yield* group.start("doomed", Effect.never, { shield: true })
          const plain = yield* group.start("plain", Effect.never)
          yield* group.start("bad", Effect.fail("bad"))
          yield* plain.await // cancelled by the failure, of which the others have been notified too
          yield* group.cancel("all out")
          expect(yield* group.tasks).toHaveLength(2)
          yield* doomed.cancel("you in person")
          yield* Effect.addFinalizer(() => Deferred.succeed(closing, undefined))
          return shielded
        }).pipe(Effect.scoped, Effect.fork)
        yield* Effect.zipRight(Deferred.await(closing), suspended(fiber))
        expect(fiber.unsafePoll()).toBeNull()
        yield* Deferred.succeed(gate, undefined)
        const shielded = yield* Fiber.join(fiber)
        expect(yield* shielded.status).toBe("succeeded")
      })
    )
  })

  describe("cancel of a group", () => {
    it.scoped("cancels all that lives and leaves the group open", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make({ name: "jobs" })
        const states = yield* Effect.all([endless, endless])
        for (const state of states) yield* group.start("task", state.run)
        yield* Effect.forEach(states, (state) => state.begun)
        yield* group.cancel("new settings")
        expect(states.map((state) => Cancellation.fromExit(state.exit!))).toEqual(
          states.map(() => [{ reason: "new settings", origin: "jobs" }])
        )
        const next = yield* group.start("next", Effect.succeed(1))
        expect(yield* next.result).toBe(1)
      })
    )
  })

  describe("onDone", () => {
    it.scoped("runs the callbacks in order of registration, on a turn of their own", () =>
      Effect.gen(function* () {
        const group = yield* TaskGroup.make()
        const log: Array<string> = []
        const write = (line: string) => Effect.sync(() => void log.push(line))
        const task = yield* group.start("job", Effect.succeed(1))
        yield* task.onDone((done) => Effect.flatMap(Effect.orDie(done.result), (n) => write(`one ${n}`)))
        yield* task.onDone(() => write("two"))
        yield* group.join
        yield* task.onDone(() => write("late"))
        yield* write("after the late one was registered")
        yield* group.join
        expect(log).toEqual(["one 1", "two", "after the late one was registered", "late"])
      })
    )

    it.scoped("reports a callback that fails and runs the next", () =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        const group = yield* TaskGroup.make({ report })
        let ran = false
        const task = yield* group.start("job", Effect.void)
        yield* task.onDone(() => Effect.fail("oops"))
        yield* task.onDone((): Effect.Effect<void> => {
          throw new Error("thrown")
        })
        yield* task.onDone(() => Effect.sync(() => (ran = true)))
        yield* group.join
        expect(messages).toEqual([
          "task job (done callback) failed: oops",
          "task job (done callback) failed: thrown"
        ])
        expect(ran).toBe(true)
      })
    )

    it.effect("is waited for by the closing group; being called is not looking at the failure", () =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        const log: Array<string> = []
        const called = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const closing = yield* Effect.fork(
          Effect.scoped(
            Effect.gen(function* () {
              const group = yield* TaskGroup.make({ onFailure: "collect", report })
              const task = yield* group.start("job", Effect.fail("lost"))
              yield* task.onDone((done) =>
                Effect.zipRight(Deferred.succeed(called, undefined), Deferred.await(gate)).pipe(
                  Effect.zipRight(done.status),
                  Effect.andThen((status) => Effect.sync(() => void log.push(status)))
                )
              )
              yield* Deferred.await(called)
              return group
            })
          )
        )
        yield* Deferred.await(called)
        yield* suspended(closing)
        expect([closing.unsafePoll(), log]).toEqual([null, []])
        yield* Deferred.succeed(gate, undefined)
        const group = yield* Fiber.join(closing)
        expect([log, messages]).toEqual([["failed"], ["task job failed: lost"]])
        const refused = yield* group.start("late", Effect.void)
        yield* refused.onDone(() => Effect.map(EventLoop.nextTurn, () => void log.push("late")))
        expect(log).toEqual(["failed", "late"])
      })
    )
  })

  // The law: whatever the tasks do and however the group is made, nothing of it runs once its scope is closed. Each task
  // waits for a latch before its end and for another in its clean-up; they are opened in any order, the first few of them
  // before the body ends.
  it.effect.prop(
    "no fiber outlives the scope, and every failure is seen or reported",
    {
      ends: FastCheck.array(FastCheck.constantFrom("succeeds" as const, "fails" as const, "hangs" as const), {
        maxLength: 6
      }),
      order: FastCheck.array(FastCheck.nat(), { minLength: 12, maxLength: 12 }),
      inBody: FastCheck.nat(12),
      onFailure: FastCheck.constantFrom("cancel" as const, "continue" as const, "collect" as const)
    },
    ({ ends, order, inBody, onFailure }) =>
      Effect.gen(function* () {
        const { messages, report } = reports()
        let running = 0
        let failed = 0
        const outcomes = {
          hangs: Effect.never,
          succeeds: Effect.void,
          fails: Effect.suspend(() => Effect.fail(++failed))
        }
        const latches = ends.flatMap(() => [Effect.unsafeMakeLatch(), Effect.unsafeMakeLatch()])
        const opening = latches.map((_, i) => i).toSorted((a, b) => order[a]! - order[b]!)
        const closing = yield* Effect.fork(
          Effect.scoped(
            Effect.gen(function* () {
              const group = yield* TaskGroup.make({ onFailure, report })
              for (const [i, end] of ends.entries()) {
                const task = Effect.acquireUseRelease(
                  Effect.sync(() => running++),
                  () => Effect.zipRight(latches[2 * i]!.await, outcomes[end]),
                  () => Effect.map(latches[2 * i + 1]!.await, () => void running--)
                )
                yield* group.start("task", task)
              }
              for (const i of opening.slice(0, inBody))
                yield* Effect.zipRight(EventLoop.nextTurn, latches[i]!.open)
            })
          )
        )
        for (const i of opening.slice(inBody)) yield* Effect.zipRight(suspended(closing), latches[i]!.open)
        yield* Fiber.join(closing)
        expect([running, messages.length]).toEqual([0, failed])
      }),
    { fastCheck: { numRuns: 30 } }
  )
})
