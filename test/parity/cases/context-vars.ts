import { Effect, FiberRef } from "effect"
import * as TaskGroup from "../../../src/services/task/TaskGroup.js"
import * as WaitTasks from "../../../src/services/task/WaitTasks.js"
import { say } from "../Case.js"

const request = FiberRef.unsafeMake("none")

const work = (name: string) =>
  Effect.gen(function* () {
    yield* say(name, "inherits", yield* FiberRef.get(request))
    yield* FiberRef.set(request, name)
    yield* Effect.sleep(10)
    yield* say(name, "has", yield* FiberRef.get(request))
  })

export default Effect.gen(function* () {
  yield* FiberRef.set(request, "main")
  const tasks = yield* Effect.forEach(["a", "b"], (name) => TaskGroup.start(name, work(name)))
  yield* WaitTasks.results(tasks)
  yield* say("main has", yield* FiberRef.get(request))
}).pipe(TaskGroup.scoped())
