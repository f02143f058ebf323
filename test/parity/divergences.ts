/** A case in which CPython and this project are known to do different things, and mean to. */
export interface Divergence {
  readonly case: string
  /** What each does, and why it is so here. */
  readonly reason: string
  /** What CPython prints. */
  readonly python: ReadonlyArray<string>
  /** What the counterpart prints. */
  readonly here: ReadonlyArray<string>
}

/** All of them. A test holds each side to its list, and fails when the two have become the same. */
export const divergences: ReadonlyArray<Divergence> = [
  // tasks and groups
  {
    case: "cancel-requests",
    reason:
      "Task.cancel is a request that takes effect when the canceller next waits. Here cancel returns when the " +
      "clean-up is over, so that the caller may rely on the resources being free.",
    python: ["cancel returns", "work cleans up"],
    here: ["work cleans up", "cancel returns"]
  },
  {
    case: "cancel-twice",
    reason:
      "A second Task.cancel raises CancelledError anew, in the middle of the clean-up, and so breaks it off. Here a " +
      "finalizer is not interruptible and runs to its end, however many requests arrive.",
    python: ["clean-up begins", "cancel again", "over"],
    here: ["clean-up begins", "cancel again", "clean-up ends", "over"]
  },
  {
    case: "cancel-swallowed",
    reason:
      "A coroutine may catch CancelledError and go on as if nothing had been asked. An interrupted effect can clean " +
      "up and cannot refuse: a group that cancels knows that its tasks end. What must not be stopped says so " +
      "beforehand, by Effect.uninterruptible or TaskGroup.shield.",
    python: ["work is asked to stop", "work goes on", "succeeded"],
    here: ["work is asked to stop", "cancelled"]
  },
  {
    case: "unobserved-failure",
    reason:
      "CPython reports a failure that was not retrieved when the task is collected as garbage, here at once, elsewhere " +
      "any time or never. A group reports it when it closes: by then it cannot be retrieved any more, and the " +
      "moment is the same every time.",
    python: ["reported: lost", "main goes on", "over"],
    here: ["main goes on", "reported: lost", "over"]
  },
  {
    case: "gather-continue",
    reason:
      'gather fails at once and leaves the others running, without waiting for them. Under "continue" they run ' +
      "on too, but the failure comes when all are done: no task outlives the call that started it.",
    python: ["b ends", "failed: early", "a ends", "c ends"],
    here: ["b ends", "a ends", "c ends", "failed: early"]
  },
  {
    case: "gather-cancelled-cleanup",
    reason:
      "A cancelled gather is over as soon as the first child has cleaned up. Here it waits for all of them, for the " +
      "same reason.",
    python: ["a has cleaned up", "gather is cancelled", "b has cleaned up"],
    here: ["a has cleaned up", "b has cleaned up", "gather is cancelled"]
  },
  {
    case: "group-cancelled-body",
    reason:
      "A cancelled TaskGroup of asyncio cancels its tasks when its body has cleaned up: until then they go on. Here the " +
      "interruption reaches the body and the tasks together, as in Effect.all and trio, so that a clean-up that takes " +
      "long does not keep them at work. A task that the clean-up needs is shielded.",
    python: ["task ends", "body has cleaned up", "group cancelled"],
    here: ["task cancelled", "body has cleaned up", "group cancelled"]
  },
  {
    case: "group-cancelled-failures",
    reason:
      "A cancelled TaskGroup of asyncio whose tasks fail as they clean up raises their failures, and is no longer " +
      "cancelled. Here it stays cancelled, as its caller asked, and the failures are reported.",
    python: ["group failed: clean-up broke"],
    here: ["reported: clean-up broke", "group cancelled"]
  },
  {
    case: "group-body-and-task-fail",
    reason:
      "asyncio and trio raise an exception group with the body's error and the failure of a task's clean-up. Here the " +
      "group fails with the body's error, which is typed, and the clean-up's failure is reported.",
    python: ["failed: body work"],
    here: ["failed: body", "reported: work"]
  },
  {
    case: "group-two-fail",
    reason:
      "asyncio cancels the siblings of a failed task on the next turn, so a task that is due in the same turn still " +
      "fails. Here they are cancelled at once: the second one does not run. The failure is the first one.",
    python: ["failed: a b"],
    here: ["failed: a"]
  },
  {
    case: "wait-empty",
    reason:
      "asyncio refuses to wait for no tasks. Here the answer is two empty lists: a list that is computed may be empty.",
    python: ["refused"],
    here: ["0 0"]
  },
  // what is never awaited, and loops
  {
    case: "await-never-when",
    reason:
      "CPython warns when it frees the coroutine, which its reference counts make the next line. JavaScript does not " +
      "tell when a value is dropped, so Tracked.tracking reports at its end, always the same and complete.",
    python: ["never ran: work", "main goes on"],
    here: ["main goes on", "never ran: work"]
  },
  {
    case: "generator-break",
    reason:
      "Python leaves an asynchronous generator suspended when its loop is left by break, and finalises it later, in a " +
      "task of the loop's own, unless contextlib.aclosing is around it. Here the clean-up is over before " +
      "the consumer goes on, always (the case generator-aclosing is the same on both sides).",
    python: ["got 0", "got 1", "after the loop", "finalised"],
    here: ["got 0", "got 1", "finalised", "after the loop"]
  },
  // time
  {
    case: "timeout-at-deadline",
    reason:
      "CPython asks for the timeout's timer before the body asks for its own, and lets the first one win. Here a body " +
      "that completes exactly at its deadline has made it: what was asked for is there.",
    python: ["timed out"],
    here: ["made it"]
  },
  {
    case: "timeout-late-failure",
    reason:
      "What the clean-up of a late body raises wins over asyncio's TimeoutError. Effect.timeout drops it; " +
      "Deadline.timeout has both in the cause.",
    python: ["clean-up broke"],
    here: ["timed out"]
  },
  {
    case: "wait-for-zero",
    reason:
      "wait_for with a timeout of zero never starts its coroutine. Effect.timeout starts its effect, and interrupts it " +
      "on the next turn.",
    python: ["timed out"],
    here: ["work begins", "timed out"]
  },
  {
    case: "wait-for-late-result",
    reason:
      "A task that returns a result in spite of its cancellation returns it from wait_for. Effect.timeout has decided by " +
      "then: the result of work that could not be interrupted is dropped.",
    python: ["late result"],
    here: ["timed out"]
  },
  {
    case: "equal-deadlines",
    reason:
      "CPython keeps its timers in a binary heap that looks at their times alone, so those of one time come out in the " +
      "heap's own order; its documentation leaves it undefined. Here they fire in the order of request.",
    python: ["0", "2", "5", "1", "3", "4"],
    here: ["0", "1", "2", "3", "4", "5"]
  },
  {
    case: "negative-delay-order",
    reason:
      "CPython runs what call_soon asked for first, then the timers that are overdue, the most overdue first. Here a " +
      "delay of zero or less is callSoon, so what is due at once runs in the order of request.",
    python: ["soon", "minus one", "zero"],
    here: ["zero", "minus one", "soon"]
  },
  {
    case: "schedule-cancelled-late",
    reason:
      "TimerHandle.cancelled says whether cancel was called, be it after the callback has run. Here to cancel what has " +
      "run does nothing, and it does not count as cancelled.",
    python: ["runs", "cancelled True"],
    here: ["runs", "cancelled False"]
  },
  // threads, processes, connections
  {
    case: "executor-running",
    reason:
      "A Python thread cannot be stopped: cancelling its future ends only the waiting, the job runs on and its thread " +
      "is taken until then. A worker thread can be terminated: the job ends, and the next one has a new thread.",
    python: ["job cancelled", "job ran to its end", "next job"],
    here: ["job cancelled", "next job"]
  },
  {
    case: "subprocess-cancel",
    reason:
      "Cancelling communicate() leaves the child running; to kill it is up to the caller. Here the child belongs to the " +
      "run that started it and its process group is gone when that is cancelled.",
    python: ["cancelled", "still there"],
    here: ["cancelled", "gone"]
  },
  {
    case: "subprocess-signal",
    reason:
      "asyncio writes death by a signal as a negative exit code. Here it is the code that shells report, 128 and the " +
      "signal's number, since it may become our own; the signal's name stands beside it.",
    python: ["-15"],
    here: ["143"]
  },
  {
    case: "server-disconnect",
    reason:
      "A stream handler hears that its client has gone only when it next reads or writes. Here the request is a fiber " +
      "that is cancelled with its client: a result that will not be read is not computed.",
    python: ["handler runs", "client has gone", "handler ran to its end"],
    here: ["handler runs", "client has gone", "handler cancelled"]
  }
]
