import { describe, expect, it } from "@effect/vitest"
import {
  Clock,
  Context,
  DefaultServices,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  Option,
  Queue,
  Runtime,
  RuntimeFlags,
  Scope,
  Supervisor
} from "effect"
import * as FiberRuntime from "../../../../src/services/task/internal/fiberRuntime.js"
import { forkTask } from "../../../../src/services/task/internal/forkTask.js"
import { currentTask } from "../../../../src/services/task/internal/task.js"
import * as RequestFiber from "../../../../src/services/task/RequestFiber.js"
import * as WorkerFibers from "../../../../src/services/task/WorkerFibers.js"
import * as Timers from "../../../../src/services/time/Timers.js"
import { suspended, until } from "../../../support/Waits.js"

// What fiberRuntime.ts assumes of Effect's inside, one test each. A test that fails here says which assumption a new
// version of Effect has broken, and what of ours then breaks; nothing else need be read first.

const self = Effect.withFiberRuntime<FiberRuntime.AnyFiber>((fiber) =>
  Effect.succeed(fiber as unknown as FiberRuntime.AnyFiber)
)

const broken = (assumption: string, consequence: string) =>
  `Effect has changed: ${assumption}. ${consequence}`

describe("the contract with Effect: effects as values", () => {
  it("Effect.sync is one primitive with its function in its first place", () => {
    const says = broken(
      "Effect.sync(f) is no longer a primitive 'Sync' with f in effect_instruction_i0",
      "WorkerFibers, Timers and MapConcurrent take the slow path for plain functions; mend thunkOf"
    )
    const f = () => 1
    expect(FiberRuntime.thunkOf(Effect.sync(f)), says).toBe(f)
    expect(Object.keys(Effect.sync(f)).includes("effect_instruction_i1"), says).toBe(true)
    expect((Effect.sync(f) as any).effect_instruction_i1, says).toBeUndefined()
  })

  it("no other effect is taken for a plain function", () => {
    const says =
      "thunkOf takes an effect for a plain function that is more than that: it would be run wrongly"
    const one = Effect.succeed(1)
    const others = [
      one,
      Effect.fail(1),
      Effect.map(one, (n) => n),
      Effect.suspend(() => one),
      Effect.async(() => undefined),
      Effect.yieldNow(),
      Effect.never,
      Effect.fiberId,
      Effect.gen(function* () {
        return yield* one
      }),
      Effect.context<never>(),
      Option.some(1),
      Context.GenericTag<number>("a")
    ]
    for (const other of others)
      expect(FiberRuntime.thunkOf(other as Effect.Effect<unknown>), says).toBeUndefined()
  })

  it("an Exit is a primitive of its own, and no other effect is", () => {
    const says = broken(
      "an Exit is no longer a primitive 'Success' or 'Failure'",
      "WorkerFibers interprets what has ended already; mend isExit"
    )
    for (const exit of [Exit.void, Exit.fail(1), Effect.succeed(1), Effect.die(1)])
      expect(FiberRuntime.isExit(exit), says).toBe(true)
    for (const other of [Effect.sync(() => 1), Effect.never, Option.some(1)])
      expect(FiberRuntime.isExit(other as Effect.Effect<unknown>), says).toBe(false)
  })

  it.effect(
    "the fast path is taken: WorkerFibers runs plain functions without an operation of the fiber",
    () =>
      Effect.gen(function* () {
        let pulled = 0
        const counts: Array<number> = []
        yield* WorkerFibers.run({
          concurrency: 1,
          pull: () =>
            pulled++ < 3
              ? Effect.sync(() => void counts.push(FiberRuntime.currentFiber()!.currentOpCount))
              : undefined,
          settle: () => undefined
        })
        expect(
          new Set(counts).size,
          "a plain function has cost its worker an operation: the fast path of WorkerFibers is not taken"
        ).toBe(1)
      })
  )

  it.live("the fast path is taken: Timers runs plain functions without an operation of the fiber", () =>
    Effect.gen(function* () {
      const timers = yield* Timers.make()
      const counts: Array<number> = []
      const call = Effect.sync(() => void counts.push(FiberRuntime.currentFiber()!.currentOpCount))
      for (let i = 0; i < 3; i++) yield* timers.callLater(1, call)
      yield* (yield* timers.callLater(2, Effect.void)).await
      expect(
        new Set(counts).size,
        "a plain function has cost its fiber an operation: the fast path of Timers is not taken"
      ).toBe(1)
    }).pipe(Effect.scoped)
  )

  it("an Effect of any copy is known by its registered symbol", () => {
    const says = broken(
      `Effect.EffectTypeId is no longer Symbol.for("effect/Effect")`,
      "jobs on threads that return an Effect are not run; mend isEffect"
    )
    expect(FiberRuntime.isEffect(Effect.void), says).toBe(true)
    expect(Effect.EffectTypeId, says).toBe(Symbol.for("effect/Effect"))
    for (const other of [{}, null, 1, Promise.resolve()]) expect(FiberRuntime.isEffect(other)).toBe(false)
  })
})

describe("the contract with Effect: the fiber that runs", () => {
  it.effect("carries out a fork at once, with the flags given; the child begins on the next turn", () =>
    Effect.gen(function* () {
      const says = broken(
        "Effect.forkDaemon is no longer one primitive that returns the child from effect_instruction_i0(parent, status)",
        "TaskGroup.start cannot start a task; fork with the operator in forkNow's place"
      )
      const fiber = yield* self
      let began = false
      const child = FiberRuntime.forkNow(
        Effect.forkDaemon(
          Effect.map(Effect.checkInterruptible(Effect.succeed), (interruptible) => {
            began = true
            return interruptible
          })
        ),
        fiber,
        RuntimeFlags.enable(FiberRuntime.flagsOf(fiber), RuntimeFlags.Interruption)
      )
      expect(began, says).toBe(false)
      expect(yield* Fiber.join(child), says).toBe(true)
    }).pipe(Effect.uninterruptible)
  )

  it.effect("is where Fiber.getCurrentFiber finds it, and nowhere outside", () =>
    Effect.gen(function* () {
      const says = broken(
        "the running fiber is no longer kept in globalThis",
        "timers asked for by plain code get the service's FiberRefs instead of the asker's; mend currentFiber"
      )
      expect(FiberRuntime.currentFiber() === (yield* self), says).toBe(true)
      expect(FiberRuntime.currentFiber() === Option.getOrUndefined(Fiber.getCurrentFiber()), says).toBe(true)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      const outside = yield* Effect.promise(
        () => new Promise((resolve) => setImmediate(() => resolve(FiberRuntime.currentFiber())))
      )
      expect(outside, says).toBeUndefined()
    })
  )

  it.effect("keeps its FiberRefs in one collection, which is another as soon as one is set", () =>
    Effect.gen(function* () {
      const says = broken(
        "a fiber's FiberRefs are no longer one collection that is replaced when a FiberRef is set",
        "items of a worker fiber see each other's FiberRefs; mend refsOf"
      )
      const fiber = yield* self
      const ref = FiberRef.unsafeMake(0)
      const refs = FiberRuntime.refsOf(fiber)
      yield* Effect.sync(() => undefined)
      expect(FiberRuntime.refsOf(fiber) === refs, says).toBe(true)
      yield* FiberRef.set(ref, 1)
      expect(FiberRuntime.refsOf(fiber) === refs, says).toBe(false)
    })
  )

  it.effect("takes back its FiberRefs, those unset before included, and the services read from them", () =>
    Effect.gen(function* () {
      const says = broken(
        "FiberRuntime.setFiberRefs no longer replaces them all",
        "what one item sets is seen by the next; mend setRefs"
      )
      const fiber = yield* self
      const ref = FiberRef.unsafeMake(0)
      const refs = FiberRuntime.refsOf(fiber)
      yield* FiberRef.set(ref, 1)
      const before = fiber.currentDefaultServices
      const clock = Clock.make()
      yield* FiberRef.update(DefaultServices.currentServices, Context.add(Clock.Clock, clock))
      expect(fiber.currentDefaultServices === before, says).toBe(false)
      FiberRuntime.setRefs(fiber, refs)
      expect(yield* FiberRef.get(ref), says).toBe(0)
      expect(fiber.currentDefaultServices === before, says).toBe(true)
    })
  )

  it.effect("has its runtime flags in a field, and obeys changes of it", () =>
    Effect.gen(function* () {
      const says = broken(
        "a fiber's runtime flags are no longer the field currentRuntimeFlags",
        "an item that changes them changes them for the next; mend flagsOf and setFlags"
      )
      const fiber = yield* self
      const flags = FiberRuntime.flagsOf(fiber)
      expect(RuntimeFlags.interruptible(flags), says).toBe(
        RuntimeFlags.interruptible(yield* fiber.runtimeFlags)
      )
      FiberRuntime.setFlags(fiber, RuntimeFlags.disable(flags, RuntimeFlags.Interruption))
      expect(RuntimeFlags.interruptible(yield* Effect.getRuntimeFlags), says).toBe(false)
      FiberRuntime.setFlags(fiber, flags)
      expect(RuntimeFlags.interruptible(yield* Effect.getRuntimeFlags), says).toBe(true)
    })
  )

  it.effect("returns null without children, else interrupts them and awaits their clean-up", () =>
    Effect.gen(function* () {
      const says = broken(
        "interruptAllChildren no longer gives null, or the wait for the children it has interrupted",
        "children outlive the item that forked them; mend interruptChildren"
      )
      let cleaned = false
      const inner = yield* Effect.forkDaemon(
        Effect.gen(function* () {
          const fiber = yield* self
          expect(FiberRuntime.interruptChildren(fiber), says).toBeNull()
          const started = yield* Deferred.make<void>()
          const child = yield* Effect.fork(
            Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.ensuring(
                Effect.zipRight(
                  Effect.yieldNow(),
                  Effect.sync(() => (cleaned = true))
                )
              )
            )
          )
          yield* Deferred.await(started)
          expect(Array.from(FiberRuntime.childrenOf(fiber)), says).toEqual([child])
          yield* FiberRuntime.interruptChildren(fiber)!
          expect(cleaned, says).toBe(true)
          expect(FiberRuntime.interruptChildren(fiber), says).toBeNull()
        })
      )
      yield* Fiber.join(inner)
    })
  )

  it.effect("has an interruption among its messages until it takes it, and is then interrupted", () =>
    Effect.gen(function* () {
      const says = broken(
        "a message to a running fiber no longer waits in _queue until its next operation",
        "an interruption that comes too late for one item meets the next; mend hasMessages and isInterrupted"
      )
      let found: unknown
      const fiber = yield* Effect.forkDaemon(
        Effect.uninterruptible(
          Effect.gen(function* () {
            const fiber = yield* self
            const before = [FiberRuntime.hasMessages(fiber), FiberRuntime.isInterrupted(fiber)]
            const asked = yield* Effect.sync(() => {
              fiber.unsafeInterruptAsFork(FiberId.none)
              return [FiberRuntime.hasMessages(fiber), FiberRuntime.isInterrupted(fiber)]
            })
            yield* Effect.yieldNow()
            found = [before, asked, [FiberRuntime.hasMessages(fiber), FiberRuntime.isInterrupted(fiber)]]
          })
        )
      )
      yield* Fiber.await(fiber)
      expect(found, says).toEqual([
        [false, false],
        [true, false],
        [false, true]
      ])
    })
  )

  it.effect("counts its operations in a field, and continues from a value that is set there", () =>
    Effect.gen(function* () {
      const says = broken(
        "a fiber's operations are no longer counted in currentOpCount",
        "thousands of timers that are due at once begin out of order; mend resetOpCount"
      )
      const fiber = yield* self
      for (let i = 0; i < 50; i++) yield* Effect.void
      expect(fiber.currentOpCount, says).toBeGreaterThan(50)
      FiberRuntime.resetOpCount(fiber)
      expect(fiber.currentOpCount, says).toBe(0)
      yield* Effect.void
      expect(fiber.currentOpCount, says).toBeLessThan(20)
    })
  )
})

describe("the contract with Effect: a fiber from outside", () => {
  it.effect(
    "has one observer that takes the exit from the start, its supervisor's, and one more for each await",
    () =>
      Effect.gen(function* () {
        const says = broken(
          "the observers of a fiber are no longer the supervisor's with one argument, its parent's with none, and one with an argument for each that awaits it",
          "failures of fibers are reported although they are awaited, or not at all; mend exitObserversOf"
        )
        const latch = yield* Deferred.make<void>()
        const child = (yield* Effect.fork(Deferred.await(latch))) as unknown as FiberRuntime.AnyFiber
        yield* suspended(child)
        expect(FiberRuntime.exitObserversOf(child), says).toBe(1)
        const all = FiberRuntime.observersOf(child)
        const awaiting = yield* Effect.fork(Fiber.await(child))
        yield* until(() => FiberRuntime.observersOf(child) > all)
        expect(FiberRuntime.exitObserversOf(child), says).toBe(2)
        yield* Fiber.interrupt(awaiting)
        expect(FiberRuntime.exitObserversOf(child), says).toBe(1)
        const seen: Array<unknown> = []
        child.addObserver((exit) => seen.push(exit))
        expect(FiberRuntime.observersOf(child), says).toBe(all + 1)
        yield* Deferred.succeed(latch, undefined)
        yield* Fiber.join(child)
        expect(seen, says).toHaveLength(1)
      })
  )

  it("has no observer that takes the exit when it is a root", () => {
    const says = broken(
      "Runtime.runFork observes its fiber",
      "deadlocks are explained wrongly; mend exitObserversOf and waitOf"
    )
    const fiber = Runtime.runFork(Runtime.defaultRuntime)(Effect.never)
    expect(FiberRuntime.exitObserversOf(fiber as unknown as FiberRuntime.AnyFiber), says).toBe(0)
    fiber.unsafeInterruptAsFork(FiberId.none)
  })

  it.effect("ends its supervisor's observer last, with the others still there to be counted", () =>
    Effect.gen(function* () {
      const says = broken(
        "a supervisor's onEnd is no longer called after the other observers and before they are forgotten",
        "Unobserved cannot tell whether a fiber is awaited; mend Unobserved"
      )
      const order: Array<string> = []
      let count = -1
      class Watching extends Supervisor.AbstractSupervisor<void> {
        readonly value = Effect.void
        override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: FiberRuntime.AnyFiber) {
          order.push("supervisor")
          count = FiberRuntime.exitObserversOf(fiber)
        }
      }
      yield* Effect.supervised(
        Effect.gen(function* () {
          const child = yield* Effect.forkDaemon(Effect.yieldNow())
          child.addObserver((_exit) => order.push("observer"))
          yield* Fiber.await(child)
        }),
        new Watching()
      )
      expect(order, says).toEqual(["observer", "supervisor"])
      expect(count, says).toBe(3)
    })
  )

  it.effect(
    "says what it waits for: the mark that Effect.async was given, and the id of what made a Deferred",
    () =>
      Effect.gen(function* () {
        const says = broken(
          "_asyncBlockingOn no longer holds the mark of what a fiber waits for",
          "the virtual clock drops its sleepers and never wakes them, and deadlocks are not explained; mend blockedOn"
        )
        const mark = FiberId.runtime(-1, 0)
        const waiting = yield* Effect.fork(Effect.async<never>(() => undefined, mark))
        yield* until(() => FiberRuntime.waitsAt(waiting as unknown as FiberRuntime.AnyFiber, mark)).pipe(
          Effect.timeoutFail({ duration: "1 second", onTimeout: () => says }),
          Effect.withClock(Clock.make())
        )
        yield* Fiber.interrupt(waiting)
        expect(FiberRuntime.waitsAt(waiting as unknown as FiberRuntime.AnyFiber, mark), says).toBe(false)
        const deferred = yield* Deferred.make<void>()
        const second = (yield* Effect.fork(Deferred.await(deferred))) as unknown as FiberRuntime.AnyFiber
        yield* suspended(second)
        expect(FiberRuntime.blockedOn(second), says).toEqual((yield* self).id())
        yield* Fiber.interrupt(second)
      })
  )

  it.effect("reads its exit from one field, and itself only for a late message", () =>
    Effect.gen(function* () {
      const says = broken(
        "join, await and poll no longer read _exitValue",
        "a failure is reported as unobserved although it was read; mend onExitRead"
      )
      const ways: ReadonlyArray<(fiber: Fiber.RuntimeFiber<number>) => Effect.Effect<unknown>> = [
        Fiber.join,
        Fiber.await,
        Fiber.poll,
        (fiber) => Effect.sync(() => fiber.unsafePoll())
      ]
      for (const way of ways) {
        const fiber = yield* Effect.fork(Effect.succeed(1))
        yield* Fiber.await(fiber)
        let reads = 0
        FiberRuntime.onExitRead(fiber, Exit.succeed(2), () => reads++)
        fiber.unsafeInterruptAsFork(FiberId.none)
        yield* Fiber.status(fiber) // a message that comes later still
        expect(reads, says).toBe(0)
        yield* way(fiber)
        expect(reads, says).toBeGreaterThan(0)
      }
    })
  )

  it.effect("has a parent that the supervisor receives; a root has none", () =>
    Effect.gen(function* () {
      const says = broken(
        "a supervisor's onStart no longer gets the parent of a forked fiber, and none for a root",
        "Unobserved reports fibers that their caller holds, or none; mend Unobserved"
      )
      const parents: Array<boolean> = []
      class Watching extends Supervisor.AbstractSupervisor<void> {
        readonly value = Effect.void
        override onStart<A, E, R>(
          _context: Context.Context<R>,
          _effect: Effect.Effect<A, E, R>,
          parent: Option.Option<FiberRuntime.AnyFiber>
        ) {
          parents.push(Option.isSome(parent))
        }
      }
      yield* Effect.supervised(
        Effect.gen(function* () {
          yield* Fiber.join(yield* Effect.fork(Effect.void))
          yield* Fiber.join(yield* Effect.forkDaemon(Effect.void))
          yield* Fiber.join(Runtime.runFork(yield* Effect.runtime<never>())(Effect.void))
        }),
        new Watching()
      )
      expect(parents, says).toEqual([true, true, false])
    })
  )
})

describe("the contract with Effect: time", () => {
  it.live("the live clock is the one of the live services", () =>
    Effect.gen(function* () {
      expect(
        (yield* Effect.clock) === Context.get(DefaultServices.liveServices, Clock.Clock),
        broken("the live clock is not that of DefaultServices.liveServices", "Timers reads it the slow way")
      ).toBe(true)
    })
  )

  it.live(
    "Effect.never keeps its process alive with one interval of the longest time, set on its fiber",
    () =>
      Effect.gen(function* () {
        const says = broken(
          "Effect.never no longer sets one interval of 2^31-1 ms while its fiber runs (or Node no longer reports timers to hooks)",
          "the virtual clock stands still beside Effect.never, and its deadlocks are not found; mend watchForever"
        )
        const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length
        const close = FiberRuntime.watchForever()
        const before = timers()
        const fiber = (yield* Effect.fork(Effect.never)) as unknown as FiberRuntime.AnyFiber
        yield* suspended(fiber)
        expect(FiberRuntime.isForever(fiber), says).toBe(true)
        expect(timers(), says).toBe(before)
        yield* Fiber.interrupt(fiber)
        expect(FiberRuntime.isForever(fiber), says).toBe(false)
        const other = (yield* Effect.fork(Effect.sleep("1 hour"))) as unknown as FiberRuntime.AnyFiber
        yield* suspended(other)
        expect(FiberRuntime.isForever(other), says).toBe(false)
        expect(timers(), says).toBe(before + 1)
        yield* Fiber.interrupt(other)
        close()
        const unseen = (yield* Effect.fork(Effect.never)) as unknown as FiberRuntime.AnyFiber
        yield* suspended(unseen)
        expect([FiberRuntime.isForever(unseen), timers()], says).toEqual([false, before + 1])
        yield* Fiber.interrupt(unseen)
      }),
    // The runner's own timers come and go.
    { retry: 4 }
  )

  it.effect("a queue's taker waits at no mark of another fiber", () =>
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<number>()
      const taker = (yield* Effect.fork(Queue.take(queue))) as unknown as FiberRuntime.AnyFiber
      yield* suspended(taker)
      expect(
        FiberRuntime.blockedOn(taker),
        broken(
          "a queue's taker no longer waits at its own id",
          "deadlocks are explained wrongly; mend waitOf"
        )
      ).toEqual(taker.id())
      yield* Fiber.interrupt(taker)
    })
  )

  it.effect("a scope has its finalizers in a map, and runs later ones at once when it is closed", () =>
    Effect.gen(function* () {
      const says = broken(
        "a scope no longer keeps its finalizers in `state.finalizers`",
        "HttpServer does not close the scope of a request, or closes each by an effect; mend closedEmpty"
      )
      const ran: Array<string> = []
      const finalizer = (name: string) => Effect.sync(() => void ran.push(name))
      const empty = FiberRuntime.thunkOf(Scope.make())!()
      expect(FiberRuntime.closedEmpty(empty, Exit.void), says).toBe(true)
      yield* Scope.addFinalizer(empty, finalizer("late"))
      expect(ran, says).toEqual(["late"])
      const used = FiberRuntime.thunkOf(Scope.make())!()
      yield* Scope.addFinalizer(used, finalizer("own"))
      expect(FiberRuntime.closedEmpty(used, Exit.void), says).toBe(false)
      yield* Scope.close(used, Exit.void)
      expect(ran, says).toEqual(["late", "own"])
      expect(FiberRuntime.closedEmpty(used, Exit.void), says).toBe(true)
    })
  )
})

describe("the contract with Effect: makeChild", () => {
  it.live("is Effect.forkDaemon: supervised, a root, with the FiberRefs that a fork gives it", () =>
    Effect.gen(function* () {
      const says = broken(
        "a child fiber is made otherwise than by makeChild",
        "the tasks of a TaskGroup miss what other fibers have; mend makeChild, or let forkTask use forkNow always"
      )
      const plain = FiberRef.unsafeMake("initial")
      const forks = FiberRef.unsafeMake(0, { fork: (n) => n + 1 })
      const started: Array<string> = []
      class Watch extends Supervisor.AbstractSupervisor<void> {
        override value = Effect.void
        override onStart(_: unknown, __: unknown, parent: Option.Option<unknown>, fiber: unknown) {
          started.push(`${Option.isSome(parent)} ${Exit.isExit(fiber)}`)
        }
        override onEnd() {
          started.push("end")
        }
      }
      const seen = Effect.gen(function* () {
        const fiber = yield* self
        const roots = yield* Fiber.roots
        const { parent } = Option.getOrThrow(yield* FiberRef.get(currentTask))
        return [
          yield* FiberRef.get(plain),
          yield* FiberRef.get(forks),
          [...roots].some((one) => (one as unknown) === fiber),
          Option.isNone(parent),
          RuntimeFlags.interruption(FiberRuntime.flagsOf(fiber)),
          FiberRuntime.observersOf(fiber)
        ]
      })
      const task = Option.some({ id: 1, name: "one", group: "g", parent: Option.none() })
      const fork = Effect.withFiberRuntime<unknown>((fiber) =>
        Effect.flatten(Fiber.await(forkTask(seen, fiber as never, task)))
      )
      const both = (refs: Effect.Effect<void>) =>
        Effect.gen(function* () {
          yield* refs
          return [
            yield* fork,
            yield* Effect.flatten(
              Effect.flatMap(Effect.forkDaemon(Effect.locally(seen, currentTask, task)), (fiber) =>
                Fiber.await(fiber)
              )
            )
          ]
        }).pipe(Effect.uninterruptible, Effect.supervised(new Watch()))
      const [ours, stock] = yield* both(FiberRef.set(plain, "set"))
      // A fork in an uninterruptible region is uninterruptible; a task is not.
      expect(ours, says).toEqual(["set", 0, true, true, true, 3])
      expect(stock, says).toEqual(["set", 0, true, true, false, 3])
      expect(started, says).toEqual(["true false", "end", "true false", "end"])
      const [changed, forked] = yield* both(FiberRef.set(forks, 5))
      expect(changed, says).toEqual(["set", 6, true, true, true, 3])
      expect(forked, says).toEqual(["set", 6, true, true, false, 3])
    })
  )
})

describe("the contract with Effect: startRoot", () => {
  it.live(
    "is Runtime.runFork: supervised, a root, with the FiberRefs that a fork gives it, begun at once",
    () =>
      Effect.gen(function* () {
        const says = broken(
          "a root fiber is made otherwise than by startRoot",
          "the requests of a server miss what other fibers have; mend startRoot, or let RequestFiber use Runtime.runFork"
        )
        const plain = FiberRef.unsafeMake("initial")
        const forks = FiberRef.unsafeMake(0, { fork: (n) => n + 1 })
        const Mine = Context.GenericTag<string>("Mine")
        const log: Array<string> = []
        class Watch extends Supervisor.AbstractSupervisor<void> {
          override value = Effect.void
          override onStart(context: Context.Context<never>, _: unknown, parent: Option.Option<unknown>) {
            log.push(`${Option.isSome(parent)} ${Context.unsafeGet(context, Mine)}`)
          }
          override onEnd(exit: Exit.Exit<unknown, unknown>) {
            log.push(exit._tag)
          }
        }
        const seen = Effect.gen(function* () {
          const fiber = yield* self
          const roots = yield* Fiber.roots
          log.push("runs")
          return [
            yield* FiberRef.get(plain),
            yield* FiberRef.get(forks),
            [...roots].some((one) => (one as unknown) === fiber),
            RuntimeFlags.interruption(FiberRuntime.flagsOf(fiber)),
            FiberRuntime.observersOf(fiber),
            yield* FiberRef.get(FiberRef.interruptedCause)
          ]
        })
        const context = Context.make(Mine, "mine") as Context.Context<never>
        const both = Effect.gen(function* () {
          const runtime = Runtime.disableRuntimeFlag(
            yield* Effect.runtime<never>(),
            RuntimeFlags.Interruption
          )
          const stock = Runtime.runFork(Runtime.make({ ...runtime, context }))(seen)
          const ours = RequestFiber.unsafeForker(runtime, yield* self)(seen, context)
          return [ours.unsafePoll(), stock.unsafePoll()]
        })
        for (const change of [FiberRef.set(plain, "set"), FiberRef.set(forks, 5)]) {
          const [ours, stock] = yield* Effect.zipRight(change, both).pipe(Effect.supervised(new Watch()))
          expect(ours, says).not.toBeNull()
          expect(ours, says).toEqual(stock)
          expect(log.splice(0), says).toEqual([
            "false mine",
            "runs",
            "Success",
            "false mine",
            "runs",
            "Success"
          ])
        }
        expect(
          Exit.isSuccess(
            RequestFiber.unsafeForker(yield* Effect.runtime<never>(), yield* self)(
              seen,
              context
            ).unsafePoll()!
          ),
          says
        ).toBe(true)
      })
  )
})
