import type { CrashReason } from "../ExecutorError.js"
import * as Protocol from "./protocol.js"
import { type Outcome, type Task, type Thrown, whyUnread } from "./task.js"
import type { Unit, UnitOptions } from "./units.js"

// The executor's side: which job runs where and when, and how it ends. Plain code with callbacks, because every job
// passes through here. (With piscina a caller can neither ask a job to end nor know which thread runs it, and each of
// its messages waits for the answer to the previous one; here a thread has its next tiny jobs at hand, and they can be
// taken back. `npm run bench -- executor` measures both.)
//
// The file stays whole: queue, members and works are one state machine. Each work is in exactly one place (the queue,
// a member's flight, or done), and every function here moves works between these places.

/** How the work on a job, or on one item of a chunk, has ended. */
export type Ended =
  | Outcome
  | {
      readonly _tag: "Crashed"
      readonly reason: CrashReason
      readonly detail: string
      readonly stack?: string
    }
  | { readonly _tag: "TimedOut" }

/** What to run, and the callbacks of its end. */
export interface Request {
  readonly name: string
  readonly task: Task
  /** The arguments; of a chunk, the inputs. */
  readonly args: ReadonlyArray<unknown>
  readonly chunk: boolean
  readonly transfer: ReadonlyArray<any>
  readonly context: Protocol.Order["context"]
  /** Milliseconds that the job, or each item of the chunk, may run. */
  readonly timeout: number | undefined
  readonly onOutput: (stream: "stdout" | "stderr", text: string) => void
  readonly onLog: (entry: Protocol.LogEntry) => void
  /** Called once for each item that is not cancelled; a job that is not a chunk has one item, 0. */
  readonly onEnd: (item: number, ended: Ended, ms: number) => void
  /** Called once, at the end: all items have ended, or the request was cancelled and no longer runs. */
  readonly onDone: () => void
  /** The request could not be sent, or not be read by a thread: items from `from` on did not run. No `onDone` follows. */
  readonly onRefused: (from: number, refusal: Refusal) => void
}

/** Why arguments did not reach a thread: what sending threw, or why they cannot be read there. */
export type Refusal = { readonly unsent: unknown } | { readonly unread: string }

export interface Handle {
  /** A queued job never runs; a running job is asked to end, then terminated. `onDone` follows. */
  readonly cancel: () => void
}

export interface Pool {
  /** Jobs that are queued or running. */
  readonly unfinished: () => number
  readonly submit: (request: Request) => Handle
  /** Accepts no more jobs; running jobs have the grace period to end. Resolves when no thread is left. */
  readonly close: () => Promise<void>
}

export interface Options {
  /** Starts a thread; may throw. */
  readonly make: (options: Omit<UnitOptions, "entry">) => Unit
  readonly maxWorkers: number
  readonly minWorkers: number
  /** Milliseconds. */
  readonly idleTimeout: number
  readonly maxMemory: number | undefined
  readonly recycleAfter: number
  readonly initializer: Task | undefined
  /** Milliseconds. */
  readonly grace: number
  /** Output of a thread that runs no job. */
  readonly onStray: (stream: "stdout" | "stderr", text: string) => void
}

interface Work {
  readonly id: number
  readonly request: Request
  /** The first item of the order; a chunk continues after the item that crashed its thread. */
  from: number
  state: "waiting" | "sent" | "done"
  member: Member | undefined
  place: number
  /** The number of its message to the thread. */
  message: number
  /** `performance.now` at the last report before it was sent, or at the start of its latest item. */
  since: number
  cancelled: boolean
  /** Items that timed out. */
  late: Set<number> | undefined
  /** Items of the order, counted from `from`, that were reported in messages of their own. */
  apart: Set<number> | undefined
  /** Why one of these messages could not be read. */
  unread: string | undefined
  timer: NodeJS.Timeout | undefined
  killer: NodeJS.Timeout | undefined
}

interface Member {
  readonly unit: Unit
  state: "starting" | "ready" | "ending"
  /** Orders that it was sent and that were not taken back. */
  readonly flight: Map<number, Work>
  /** Free places; the place of an order that was taken back is free once the thread has skipped the order. */
  readonly places: Array<number>
  /** Places of orders that were taken back, by their messages. */
  readonly revoked: Map<number, number>
  /** The tasks that it has received. */
  readonly defined: Set<number>
  filling: boolean
  done: number
  heard: number
  idle: NodeJS.Timeout | undefined
  held: boolean
  thrown: Thrown | undefined
}

const longestTimer = 2 ** 31 - 1
const timerFor = (callback: () => void, ms: number) => setTimeout(callback, Math.min(ms, longestTimer))
/** Jobs shorter than this, in ms, are sent ahead to a thread that is busy. */
const tiny = 0.25
/** Milliseconds without a report after which a thread loses the orders that it has not begun. */
const stuck = 2
/** Tasks that threads remember; up to twice as many if each call makes a new source. */
const remembered = 1000

export const make = (options: Options): Pool => {
  const { grace, maxWorkers, recycleAfter } = options
  const members = new Set<Member>()
  // First in, first out; works that were taken back come first.
  let queue: Array<Work> = []
  let head = 0
  let front: Array<Work> = []
  let waiting = 0
  let ids = 0
  let average = Number.POSITIVE_INFINITY
  let closed = false
  let whenEmpty: (() => void) | undefined

  let tasks = new Map<string, number>()
  let taskCount = 0
  let base = 0
  const numberOf = (task: Task): number => {
    const key = task._tag === "Source" ? task.source : `${task.url}#${task.name}`
    const known = tasks.get(key)
    if (known !== undefined) return known
    if (tasks.size >= remembered) {
      base = taskCount - remembered
      tasks = new Map()
    }
    tasks.set(key, taskCount)
    return taskCount++
  }

  const hold = (member: Member) => {
    const on = member.flight.size > 0 || (member.state === "starting" && waiting > 0)
    if (on === member.held) return
    member.held = on
    member.unit.hold(on)
  }

  const next = (): Work | undefined => {
    for (let work = front.shift(); work !== undefined; work = front.shift()) {
      if (work.state === "waiting") return work
    }
    while (head < queue.length) {
      const work = queue[head++]!
      if (head > 1024 && head * 2 > queue.length) {
        queue = queue.slice(head)
        head = 0
      }
      if (work.state === "waiting") return work
    }
    queue = []
    head = 0
    return undefined
  }
  const putBack = (works: ReadonlyArray<Work>) => {
    for (const work of works) {
      clear(work)
      work.state = "waiting"
      work.member = undefined
      waiting++
    }
    front = [...front, ...works].sort((a, b) => a.id - b.id)
  }

  const clear = (work: Work) => {
    clearTimeout(work.timer)
    clearTimeout(work.killer)
    work.timer = undefined
    work.killer = undefined
  }
  const finish = (work: Work) => {
    if (work.state === "done") return
    if (work.state === "waiting") waiting--
    work.state = "done"
    clear(work)
    work.request.onDone()
  }
  const end = (work: Work, item: number, ended: Ended, ms: number) => {
    if (work.cancelled) return
    work.request.onEnd(item, work.late?.has(item) === true ? { _tag: "TimedOut" } : ended, ms)
  }
  const lengthOf = ({ request }: Work) => (request.chunk ? request.args.length : 1)
  /** Ends all items that have not ended yet this way. */
  const fail = (work: Work, ended: Ended) => {
    for (let item = work.from; item < lengthOf(work); item++) end(work, item, ended, 0)
    finish(work)
  }
  const closedEnd: Ended = { _tag: "Crashed", reason: "closed", detail: "the executor was closed" }

  /** Takes an order back that has not begun; its place stays taken until the thread reports that it skipped it. */
  const revoke = (member: Member, work: Work): boolean => {
    const { control } = member.unit
    if (control === undefined) return false
    const place = Protocol.words.places + work.place
    const before = Atomics.compareExchange(control.words, place, Protocol.offered, Protocol.revoked)
    if (before !== Protocol.offered) return false
    member.flight.delete(work.id)
    member.revoked.set(work.message, work.place)
    return true
  }
  /** Takes back the last orders, at most `most`: the first ones are the next to begin. */
  const takeBack = (member: Member, most: number): number => {
    const back = [...member.flight.values()].slice(-most).filter((work) => revoke(member, work))
    putBack(back)
    return back.length
  }

  const kill = (member: Member) => {
    if (member.state === "ending") return
    member.state = "ending"
    clearTimeout(member.idle)
    member.unit.kill()
  }

  /** The running item, counted as in the request. */
  const reached = (work: Work, { unit }: Member): number =>
    work.from +
    (unit.control === undefined
      ? (work.apart?.size ?? 0)
      : Math.max(0, Atomics.load(unit.control.words, Protocol.words.item)))

  /** Asks the running job (or one item) to end, and terminates its thread if it still runs after the grace period. */
  const stop = (work: Work, item: number) => {
    const { member } = work
    if (member === undefined) return
    if (grace > 0) member.unit.ask(work.id, item === -1 ? -1 : item - work.from)
    clearTimeout(work.killer)
    const check = () => {
      work.killer = undefined
      // In a chunk the item that was asked may have ended; the next item must not be terminated for it.
      if (item === -1 || !work.request.chunk || reached(work, member) === item) kill(member)
    }
    if (grace > 0) work.killer = timerFor(check, grace)
    else check()
  }

  // A timeout counts from when the thread began the item: read from its memory whenever the time could be over.
  const watch = (work: Work, member: Member, timeout: number) => {
    const { control } = member.unit
    let began = process.hrtime.bigint()
    let seen = work.from
    const look = () => {
      if (work.state !== "sent" || work.member !== member || work.cancelled) return
      const item = reached(work, member)
      const now = process.hrtime.bigint()
      let spent = 0
      if (control === undefined) {
        if (item !== seen) began = now
        seen = item
        spent = Number(now - began) / 1e6
      } else if (Atomics.load(control.words, Protocol.words.running) === work.id) {
        spent = Number(now - Atomics.load(control.begun, 0)) / 1e6
      }
      if (spent >= timeout && work.late?.has(item) !== true) {
        work.late ??= new Set()
        work.late.add(item)
        stop(work, item)
      }
      if (work.state !== "sent" || work.member !== member) return
      work.timer = timerFor(look, spent >= timeout ? timeout : Math.max(1, timeout - spent))
    }
    work.timer = timerFor(look, timeout)
  }

  const send = (member: Member, work: Work) => {
    const { request } = work
    const task = numberOf(request.task)
    const place = member.places.pop()!
    const { control } = member.unit
    if (control !== undefined) {
      Atomics.store(control.words, Protocol.words.places + place, Protocol.offered)
    }
    if (!member.defined.has(task)) {
      // A message of its own: the order may be unreadable, and later orders need the task.
      member.unit.send({ define: task, task: request.task, name: request.name, base }, [])
      member.defined.add(task)
    }
    try {
      work.message = member.unit.send(
        {
          id: work.id,
          place,
          task,
          args: work.from === 0 ? request.args : request.args.slice(work.from),
          chunk: request.chunk,
          context: request.context
        },
        request.transfer
      )
    } catch (error) {
      member.places.push(place)
      work.state = "done"
      request.onRefused(work.from, { unsent: error })
      return
    }
    clearTimeout(member.idle)
    work.state = "sent"
    work.member = member
    work.place = place
    work.apart = undefined
    work.unread = undefined
    if (member.flight.size === 0) member.heard = performance.now()
    work.since = member.heard
    member.flight.set(work.id, work)
    hold(member)
    if (request.timeout !== undefined) watch(work, member, request.timeout)
  }

  /**
   * A thread for the next job: an idle one, else, if jobs are tiny, one with few jobs at hand. That one is filled up,
   * because only the first of several messages has to wake a thread: one message at a time takes twice as long.
   */
  const pick = (): Member | undefined => {
    let best: Member | undefined
    const most = average < tiny && members.size >= maxWorkers ? Protocol.depth : 1
    for (const member of members) {
      const { size } = member.flight
      if (size <= Protocol.depth / 2) member.filling = true
      else if (size >= Protocol.depth) member.filling = false
      if (member.state !== "ready" || size >= most || member.places.length === 0 || !member.filling) continue
      if (size > 0 && (member.unit.control === undefined || member.done + size >= recycleAfter)) continue
      if (best === undefined || size < best.flight.size) best = member
    }
    return best
  }

  const dispatch = () => {
    while (waiting > 0) {
      const member = pick()
      const work = member && next()
      if (work === undefined) break
      // Transferred buffers are gone from here, so the order could not be taken back: send it to an idle thread only.
      if (member!.flight.size > 0 && work.request.transfer.length > 0) {
        front.unshift(work)
        break
      }
      waiting--
      send(member!, work)
    }
    if (waiting === 0 || closed) return
    let starting = 0
    for (const member of members) {
      if (member.state !== "starting") continue
      starting++
      hold(member)
    }
    for (; starting < waiting && members.size < maxWorkers; starting++) start()
  }

  /** The queue is empty and this thread idle: it takes half of the orders that another has at hand. */
  const share = (idle: Member) => {
    let busiest: Member | undefined
    for (const member of members) {
      if (member !== idle && member.flight.size > (busiest?.flight.size ?? 1)) busiest = member
    }
    if (busiest !== undefined && takeBack(busiest, busiest.flight.size >> 1) > 0) dispatch()
  }

  const freed = (member: Member) => {
    const spent = member.flight.size === 0 && (closed || member.done >= recycleAfter)
    if (spent) kill(member)
    const now = performance.now()
    member.heard = now
    for (const other of members) {
      if (other !== member && other.flight.size > 1 && now - other.heard > stuck) {
        takeBack(other, Protocol.depth)
      }
    }
    dispatch()
    if (member.state !== "ready" || member.flight.size > 0) return
    if (waiting === 0) share(member)
    if (member.flight.size > 0) return
    hold(member)
    if (members.size > options.minWorkers && options.idleTimeout < longestTimer) {
      clearTimeout(member.idle)
      member.idle = setTimeout(() => kill(member), options.idleTimeout).unref()
    }
  }

  const unreadable = (detail: string): Ended => ({ _tag: "Uncloneable", detail })

  /** Results of a chunk that were not reported one by one. */
  const collect = (work: Work, settled: number, plain: ReadonlyArray<unknown>, times: Float64Array) => {
    for (let i = 0; i < settled; i++) {
      const value = plain[i]
      const isPlain = typeof value !== "object" || value === null
      if (isPlain) end(work, work.from + i, { _tag: "Returned", value }, times[i]!)
      else if (work.apart?.has(i) !== true) end(work, work.from + i, unreadable(work.unread ?? ""), times[i]!)
    }
  }
  /** The same, of a thread that ended in the middle of the chunk. */
  const collectLog = (work: Work, settled: number, { log, times, words }: Protocol.Control) => {
    const text = log.toString("utf8", 0, Atomics.load(words, Protocol.words.logged))
    const logged: ReadonlyArray<unknown> = JSON.parse(`[${text.slice(0, -1)}]`)
    const isUndefined = (value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
    const plain = logged.map((value) => (isUndefined(value) ? undefined : value))
    collect(work, settled, plain, times)
  }

  const onSettled = (member: Member, work: Work) => {
    member.flight.delete(work.id)
    member.places.push(work.place)
    member.done++
    finish(work)
    freed(member)
  }

  const measure = (ms: number) => {
    average = Number.isFinite(average) ? average * 0.9 + ms * 0.1 : ms
  }

  /** Milliseconds that the order, or its current item, has run; 0 if it has not begun. */
  const ran = (work: Work, { unit: { control } }: Member): number => {
    if (control === undefined) return performance.now() - work.since
    if (Atomics.load(control.words, Protocol.words.running) !== work.id) return 0
    return Number(process.hrtime.bigint() - Atomics.load(control.begun, 0)) / 1e6
  }

  // Only results can be unreadable, and reports come in the order of the orders: it is a result of the first order that
  // has not ended. In a chunk the other results show which item is missing.
  const onUnread = (member: Member, error: unknown) => {
    for (const work of member.flight.values()) {
      const detail = whyUnread(error)
      if (!work.request.chunk) {
        end(work, 0, unreadable(detail), performance.now() - Math.max(work.since, member.heard))
        return onSettled(member, work)
      }
      work.unread = detail
      if (member.unit.control !== undefined) return
      const item = work.apart?.size ?? 0
      return onItem(work, item, unreadable(detail), performance.now() - work.since)
    }
  }

  const onItem = (work: Work, item: number, ended: Ended, ms: number) => {
    work.apart ??= new Set()
    work.apart.add(item)
    work.since = performance.now()
    end(work, work.from + item, ended, ms)
  }

  /** A thread could not read this message; only orders can be unreadable. */
  const onOrderUnread = (member: Member, message: number, detail: string) => {
    const back = member.revoked.get(message)
    if (back !== undefined) {
      member.revoked.delete(message)
      member.places.push(back)
      return dispatch()
    }
    for (const work of member.flight.values()) {
      if (work.message !== message) continue
      member.flight.delete(work.id)
      member.places.push(work.place)
      clear(work)
      if (work.cancelled) finish(work)
      else {
        work.state = "done"
        work.request.onRefused(work.from, { unread: detail })
      }
      return freed(member)
    }
  }

  const onReport = (member: Member, report: Protocol.Report) => {
    if ("id" in report) {
      if ("skipped" in report) {
        member.places.push(report.skipped)
        for (const [message, place] of member.revoked) {
          if (place === report.skipped) member.revoked.delete(message)
        }
        return dispatch()
      }
      const work = member.flight.get(report.id)
      if (work === undefined) {
        if ("stream" in report) options.onStray(report.stream, report.text)
        return
      }
      if ("stream" in report) return work.request.onOutput(report.stream, report.text)
      if ("log" in report) return work.request.onLog(report.log)
      if ("item" in report) return onItem(work, report.item, report.outcome, report.ms)
      if ("plain" in report) {
        measure(report.ms)
        collect(work, report.times.length, report.plain, report.times)
        return onSettled(member, work)
      }
      measure(report.ms)
      const outcome: Outcome =
        "outcome" in report ? report.outcome : { _tag: "Returned", value: report.value }
      end(work, 0, outcome, report.ms)
      return onSettled(member, work)
    }
    if ("ready" in report) {
      if (member.state !== "starting") return
      member.state = "ready"
      return freed(member)
    }
    if ("unread" in report) return onOrderUnread(member, report.unread, report.detail)
    if ("broken" in report || "uncaught" in report) {
      member.thrown = "broken" in report ? report.broken : report.uncaught
    }
  }

  type Gone = Parameters<UnitOptions["gone"]>[0]
  const crashOf = (gone: Gone, thrown: Thrown | undefined): Extract<Ended, { _tag: "Crashed" }> => {
    const crashed = (reason: CrashReason, detail: string, stack?: string) =>
      ({ _tag: "Crashed", reason, detail, ...(stack === undefined ? {} : { stack }) }) as const
    if (gone.memory) return crashed("memory", "its heap was full")
    if (thrown !== undefined) {
      const { message, name, stack } = thrown
      return crashed("uncaught", `uncaught ${name === "" ? message : `${name}: ${message}`}`, stack)
    }
    return gone.signal === null
      ? crashed("exit", `it called process.exit(${gone.code})`)
      : crashed("signal", `it was ended by ${gone.signal}`)
  }

  const onGone = (member: Member, gone: Gone) => {
    members.delete(member)
    clearTimeout(member.idle)
    const crash = crashOf(gone, member.thrown ?? gone.thrown)
    const flight = [...member.flight.values()]
    const back = flight.filter((work) => revoke(member, work))
    putBack(back)
    for (const work of flight) {
      if (back.includes(work)) continue
      clear(work)
      if (work.cancelled) {
        finish(work)
        continue
      }
      const { control } = member.unit
      let settled = 0
      if (work.request.chunk) {
        if (control === undefined) settled = work.apart?.size ?? 0
        else if (Atomics.load(control.words, Protocol.words.running) === work.id) {
          settled = Atomics.load(control.words, Protocol.words.settled)
          collectLog(work, settled, control)
        }
      }
      if (closed) {
        work.from += settled
        fail(work, closedEnd)
        continue
      }
      const left = lengthOf(work) - work.from - settled
      if (left > 0) end(work, work.from + settled, crash, ran(work, member))
      if (left > 1) {
        work.from += settled + 1
        putBack([work])
      } else finish(work)
    }
    // A thread that cannot start fails the job that has waited longest, so that no job waits for ever.
    if (member.state === "starting" && !closed) noThread(crash)
    if (closed) failWaiting()
    else {
      dispatch()
      warm()
    }
    if (members.size === 0) whenEmpty?.()
  }

  const noThread = (crash: Extract<Ended, { _tag: "Crashed" }>) => {
    const work = next()
    if (work === undefined) return
    fail(work, { ...crash, reason: "start", detail: `none could be started: ${crash.detail}` })
  }

  const start = () => {
    let unit: Unit
    try {
      unit = options.make({
        maxMemory: options.maxMemory,
        initializer: options.initializer,
        report: (report) => onReport(member, report),
        unread: (error) => onUnread(member, error),
        gone: (gone) => onGone(member, gone)
      })
    } catch (error) {
      return noThread({ _tag: "Crashed", reason: "start", detail: (error as Error).message })
    }
    const member: Member = {
      unit,
      state: "starting",
      flight: new Map(),
      places: Array.from({ length: Protocol.depth }, (_, i) => i),
      revoked: new Map(),
      defined: new Set(),
      filling: true,
      done: 0,
      heard: 0,
      idle: undefined,
      held: true,
      thrown: undefined
    }
    members.add(member)
    hold(member)
  }

  let used = false
  /** Keeps `minWorkers` threads from the first job on. */
  const warm = () => {
    // Without a waiting job, a thread that cannot start is not tried again and again.
    if (!used || closed) return
    for (const member of members) if (member.state === "starting") return
    while (members.size < Math.min(options.minWorkers, maxWorkers)) start()
  }

  const failWaiting = () => {
    for (let work = next(); work !== undefined; work = next()) fail(work, closedEnd)
  }

  return {
    unfinished: () => {
      let count = waiting
      for (const member of members) count += member.flight.size
      return count
    },
    submit: (request) => {
      ids = ids >= longestTimer ? 1 : ids + 1
      const work: Work = {
        id: ids,
        request,
        from: 0,
        state: "waiting",
        member: undefined,
        place: 0,
        message: 0,
        since: 0,
        cancelled: false,
        late: undefined,
        apart: undefined,
        unread: undefined,
        timer: undefined,
        killer: undefined
      }
      waiting++
      if (closed) fail(work, closedEnd)
      else {
        queue.push(work)
        dispatch()
        if (!used) {
          used = true
          warm()
        }
      }
      return {
        cancel: () => {
          if (work.cancelled || work.state === "done") return
          work.cancelled = true
          if (work.state === "waiting") return finish(work)
          const member = work.member!
          if (revoke(member, work)) {
            finish(work)
            return freed(member)
          }
          stop(work, -1)
        }
      }
    },
    close: () => {
      closed = true
      for (const member of members) {
        takeBack(member, Protocol.depth)
        if (member.flight.size === 0) kill(member)
      }
      failWaiting()
      if (members.size === 0) return Promise.resolve()
      const all = setTimeout(() => members.forEach(kill), Math.min(grace, longestTimer))
      return new Promise((resolve) => {
        whenEmpty = () => {
          clearTimeout(all)
          resolve()
        }
      })
    }
  }
}
