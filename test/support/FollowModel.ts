import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Context, Effect, Either, Fiber, FastCheck as fc, Layer, Stream } from "effect"
import * as FollowRecords from "../../src/services/record/FollowRecords.js"
import * as ResumePoint from "../../src/services/record/ResumePoint.js"
import * as Tail from "../../src/services/record/Tail.js"

// A log with its writers and rotations beside a follower that is killed and started again. All of it runs in one thread
// with one clock, so that a writer knows whether the follower may have stopped reading its file.

/** What happens to the log, or to its follower. */
export type Op =
  | { readonly op: "write"; readonly lines: number; readonly long: boolean }
  | { readonly op: "half" | "late" | "lateHalf" | "create" | "pause" | "go" }
  | { readonly op: "stop" }
  | { readonly op: "rotate"; readonly create: boolean; readonly reopen: boolean }
  | { readonly op: "truncate" | "copytruncate" | "remove"; readonly settle: boolean }
  | { readonly op: "start"; readonly lag: number }
  | { readonly op: "kill"; readonly lag: number }
  | { readonly op: "wait"; readonly ms: number }

export interface Case {
  readonly dated: boolean
  readonly there: boolean
  readonly ops: ReadonlyArray<Op>
}

const of = <O extends Op>(
  op: O["op"],
  rest: { readonly [K in Exclude<keyof O, "op">]: fc.Arbitrary<O[K]> }
) => fc.record({ op: fc.constant(op), ...rest } as never) as unknown as fc.Arbitrary<Op>

const bool = fc.boolean()

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: of("write", { lines: fc.integer({ min: 1, max: 4 }), long: fc.boolean() } as never)
  },
  { weight: 2, arbitrary: of("half", {} as never) },
  { weight: 5, arbitrary: of("rotate", { create: bool, reopen: bool } as never) },
  { weight: 2, arbitrary: of("create", {} as never) },
  { weight: 3, arbitrary: of("late", {} as never) },
  { weight: 1, arbitrary: of("lateHalf", {} as never) },
  { weight: 1, arbitrary: of("truncate", { settle: bool } as never) },
  { weight: 1, arbitrary: of("copytruncate", { settle: bool } as never) },
  { weight: 1, arbitrary: of("remove", { settle: bool } as never) },
  { weight: 2, arbitrary: of("kill", { lag: fc.integer({ min: 0, max: 6 }) } as never) },
  { weight: 1, arbitrary: of("stop", {} as never) },
  { weight: 1, arbitrary: of("start", { lag: fc.integer({ min: 0, max: 6 }) } as never) },
  { weight: 1, arbitrary: of("pause", {} as never) },
  { weight: 1, arbitrary: of("go", {} as never) },
  { weight: 5, arbitrary: of("wait", { ms: fc.constantFrom(0, 0, 1, 3, 8, 50) } as never) }
)

/** Without steps that destroy content or kill: then each line is read exactly once, in the order of the files. */
const gentle = new Set<Op["op"]>([
  "write",
  "half",
  "rotate",
  "create",
  "late",
  "lateHalf",
  "pause",
  "go",
  "wait"
])

const ops = fc.array(op, { minLength: 3, maxLength: 30 })

export const cases: fc.Arbitrary<Case> = fc.record({
  dated: bool,
  there: bool,
  ops: fc.oneof(
    ops,
    fc.array(
      op.filter((one) => gentle.has(one.op)),
      { minLength: 3, maxLength: 30 }
    )
  )
})

const interval = 2
const rotateWait = 40
const deadline = 2500

/** What one file holds from its beginning or its last truncation on. */
interface Content {
  readonly id: number
  readonly lines: Array<string>
  half: string
  rotated: boolean
  destroyed: boolean
  /** It went before the follower can have seen it. */
  unseen: boolean
}

interface Writer {
  readonly fd: number
  content: Content
  /** When it last wrote, or lost its name. */
  last: number
}

const sleep = (ms: number) =>
  new Promise<void>((resolve) => (ms === 0 ? setImmediate(resolve) : setTimeout(resolve, ms)))

const now = () => performance.now()

/** Runs a case; the answer is what is wrong. */
export const run = async ({ dated, ops, there }: Case): Promise<ReadonlyArray<string>> => {
  const folder = fs.mkdtempSync(join(tmpdir(), "aio-follow-model-"))
  const path = join(folder, "app.log")
  const contents: Array<Content> = []
  const writers: Array<Writer> = []
  let current: Writer | undefined // under the name
  let writer: Writer | undefined // what the program writes to
  let dates = 0
  const wrong: Array<string> = []

  const received: Array<string> = []
  const gaps: Array<string> = []
  let waiting = false
  const places: Array<{ readonly json: string; readonly text: string }> = []
  let paused: Promise<void> | undefined
  let go: () => void = () => undefined
  let fiber: Fiber.RuntimeFiber<void, unknown> | undefined
  let begun = false // the follower has found out where to go on
  const watched = Layer.map(Tail.layerWith({ interval }), (context) =>
    Context.make(Tail.Follow, {
      open: (path, options) =>
        Stream.tap(Context.get(context, Tail.Follow).open(path, options), () =>
          Effect.sync(() => {
            begun = true
          })
        )
    })
  )
  let kills = 0
  let least = 0 // the checkpoint does not go back
  let checkpoint: (typeof places)[number] | undefined

  const start = () => {
    const from =
      checkpoint && Either.getOrThrow(ResumePoint.followPlace("lines")(JSON.parse(checkpoint.json)))
    begun = false
    let index = from?.index ?? 0
    const records = FollowRecords.followed(path, {
      format: "lines",
      from,
      rotateWait,
      onGap: (gap) => Effect.sync(() => void gaps.push(gap.message)),
      onWaiting: () =>
        Effect.sync(() => {
          waiting = true
          begun = true
        })
    })
    fiber = Effect.runFork(
      Stream.runForEach(records, (record) =>
        Effect.promise(async () => {
          while (paused !== undefined) await paused
          if (record.index !== ++index) wrong.push(`record ${record.index} came as number ${index}`)
          received.push(record.text)
          places.push({ json: JSON.stringify(ResumePoint.behind(record)), text: record.text })
        })
      ).pipe(Effect.provide(watched))
    )
    fiber.addObserver((exit) => {
      if (
        exit._tag === "Failure" &&
        exit.cause._tag !== "Interrupt" &&
        !`${exit.cause}`.includes("interrupted")
      )
        wrong.push(`the follower failed: ${exit.cause}`)
    })
  }
  const stop = async () => {
    const stopped = fiber
    fiber = undefined
    const was = paused
    go()
    if (stopped !== undefined) await Effect.runPromise(Fiber.interrupt(stopped))
    if (was !== undefined) pause()
  }
  const pause = () => {
    paused ??= new Promise((resolve) => {
      go = () => {
        paused = undefined
        resolve()
      }
    })
  }
  const restart = async (lag: number) => {
    least = Math.max(least, places.length - 1 - lag)
    checkpoint = places[least]
    kills++
    // What the checkpoint is in may be gone; then what came between is lost with it.
    const at = contents.find(
      ({ half, lines }) => lines.includes(checkpoint!.text) || half === checkpoint!.text
    )
    // A copy that came within one tick of the clock may have been read.
    const isOurs = writers.some(({ fd }) => checkpoint!.json.includes(`"inode":"${fs.fstatSync(fd).ino}"`))
    const isGone = isOurs && (at === undefined || at.destroyed)
    if (isGone) for (const content of contents) if (content !== current?.content) content.destroyed = true
    const before = gaps.length
    start()
    // Reading begins at the file that has the name when the follower reports it.
    for (const end = now() + deadline; isGone && now() < end && gaps.length === before; ) await sleep(1)
    if (isGone && gaps.length === before) wrong.push("no gap where the checkpoint's file is gone")
  }

  const created = (): Writer => {
    const fd = fs.openSync(path, "a")
    const content = {
      id: contents.length,
      lines: [],
      half: "",
      rotated: false,
      destroyed: false,
      unseen: false
    }
    contents.push(content)
    const made = { fd, content, last: now() }
    writers.push(made)
    current = made
    writer ??= made
    return made
  }
  const line = ({ id, lines }: Content, long: boolean) =>
    `${id}.${lines.length}${long ? `:${"x".repeat(3000)}` : ""}`
  const halfOf = (content: Content) => `${content.id}.${content.lines.length}-`
  const write = (to: Writer, count: number, long: boolean) => {
    const { content } = to
    for (let i = 0; i < count; i++) {
      const whole = content.half === "" ? line(content, long) : `${content.half}end`
      fs.writeSync(to.fd, `${whole.slice(content.half.length)}\n`)
      content.half = ""
      content.lines.push(whole)
    }
    to.last = now()
  }
  const writeHalf = (to: Writer) => {
    if (to.content.half !== "") return
    to.content.half = halfOf(to.content)
    fs.writeSync(to.fd, to.content.half)
    to.last = now()
  }
  const isLate = (one: Writer) => now() - one.last >= rotateWait - 2
  const rotate = (create: boolean, reopen: boolean) => {
    if (current === undefined) return
    const old = current
    if (dated) fs.renameSync(path, `${path}-2026${String(1000 + dates++)}`)
    else {
      const number = (n: number) => (n === 0 ? path : `${path}.${n}`)
      let last = 0
      while (fs.existsSync(number(last))) last++
      for (let n = last; n > 0; n--) fs.renameSync(number(n - 1), number(n))
    }
    old.content.rotated = true
    old.last = now()
    current = undefined
    if (reopen) writer = undefined
    if (create || reopen) created()
  }
  const emptied = (one: Writer) => {
    const { content } = one
    content.destroyed = true
    one.content = {
      id: contents.length,
      lines: [],
      half: "",
      rotated: false,
      destroyed: false,
      unseen: false
    }
    contents.push(one.content)
  }
  // Until the follower has what is in the current file, so that it must notice what happens next.
  const settled = async (isWanted: boolean) => {
    // Content that goes while a follower looks for its place may take what came between along.
    for (const end = now() + deadline; fiber !== undefined && !begun && now() < end; ) await sleep(1)
    const content = current?.content
    if (content === undefined) return
    if (!isWanted || fiber === undefined || content.lines.length === 0) {
      content.unseen = true
      return
    }
    if (paused !== undefined) {
      content.unseen = true // how far the follower has come is not known
      return sleep(20)
    }
    for (const end = now() + deadline; now() < end; await sleep(1)) {
      if (content.lines.every((one) => received.includes(one))) return
    }
  }

  try {
    if (there) write(created(), 2, false)
    start()
    // What is renamed before it has looked at all is not its own.
    while (there ? received.length < 2 : !waiting) await sleep(1)
    for (const one of ops) {
      switch (one.op) {
        case "write": {
          if (writer === undefined) writer = current ?? created()
          if (writer.content.rotated && isLate(writer)) writer = current ?? created()
          write(writer, one.lines, one.long)
          break
        }
        case "half": {
          if (writer === undefined) writer = current ?? created()
          if (writer.content.rotated && isLate(writer)) writer = current ?? created()
          writeHalf(writer)
          break
        }
        case "late":
        case "lateHalf": {
          const old = writers
            .filter((all) => all.content.rotated && !all.content.destroyed && !isLate(all))
            .at(-1)
          if (old === undefined) break
          if (one.op === "late") write(old, 1, false)
          else writeHalf(old)
          break
        }
        case "create":
          if (current === undefined) {
            writer = undefined
            created()
          }
          break
        case "rotate":
          rotate(one.create, one.reopen)
          break
        case "truncate":
        case "copytruncate":
          if (current === undefined) break
          await settled(one.settle)
          if (one.op === "copytruncate") fs.copyFileSync(path, `${path}-2026${String(5000 + dates++)}`)
          fs.ftruncateSync(current.fd)
          emptied(current)
          break
        case "remove":
          if (current === undefined) break
          await settled(one.settle)
          fs.rmSync(path)
          // A follower that has it open reads it to its end.
          if (fiber === undefined || current.content.unseen) current.content.destroyed = true
          else current.content.rotated = true
          current.last = now()
          current = undefined
          writer = undefined
          created()
          break
        case "kill":
        case "start":
        case "stop": {
          if (places.length === 0) break
          if (one.op !== "start") {
            // What has no name any more goes with the follower that has it open.
            await stop()
            for (const { fd, content } of writers) if (fs.fstatSync(fd).nlink === 0) content.destroyed = true
          }
          if (one.op !== "stop" && fiber === undefined) await restart(one.lag)
          break
        }
        case "pause":
          pause()
          break
        case "go":
          go()
          break
        case "wait":
          await sleep(one.ms)
      }
    }
    go()
    if (fiber === undefined) await restart(0)
    if (current === undefined) created() // half a line is waited for until another file has the name
    const expected = () =>
      contents
        .filter(({ destroyed }) => !destroyed)
        .flatMap(({ half, lines, rotated }) => (rotated && half !== "" ? [...lines, half] : lines))
    const missing = () => {
      const got = new Set(received)
      return expected().filter((one) => !got.has(one))
    }
    // Lines that are lost without a report.
    const silent = () => {
      if (gaps.length > 0) return []
      const got = new Set(received)
      return contents
        .filter(({ destroyed, unseen }) => destroyed && !unseen)
        .flatMap(({ lines }) => lines.filter((one) => !got.has(one)))
    }
    const isDone = () => wrong.length > 0 || missing().length + silent().length === 0
    for (const end = now() + deadline; now() < end && !isDone(); ) await sleep(1)
    await sleep(2 * interval)

    const name = (text: string) => text.replace(/:x+$/, ":…")
    const lost = missing()
    if (lost.length > 0) wrong.push(`lost: ${lost.map(name).join(" ")}`)
    const destroyed = contents.filter((content) => content.destroyed)
    const known = new Set(contents.flatMap(({ lines }) => lines))
    // A line may have been half written when its file was truncated.
    const halves = new Set(
      contents.flatMap(({ destroyed, half, lines, rotated }) => [
        ...(rotated || destroyed ? [half] : []),
        ...(destroyed ? lines.map((one) => one.replace(/end$/, "")) : [])
      ])
    )
    const cut = received.filter((one) => !known.has(one) && !halves.has(one))
    if (cut.length > 0) wrong.push(`cut: ${cut.map(name).join(" ")}`)
    for (const { lines } of contents) {
      const first = lines.map((one) => received.indexOf(one)).filter((at) => at >= 0)
      if (first.some((at, i) => i > 0 && at < first[i - 1]!)) wrong.push(`out of order: ${lines.map(name)}`)
    }
    if (silent().length > 0) wrong.push(`lost without a word: ${silent().map(name).join(" ")}`)
    if (destroyed.length === 0) {
      if (gaps.length > 0) wrong.push(`gaps: ${gaps.join("; ")}`)
      if (kills === 0 && received.join() !== expected().join()) {
        wrong.push(`not exactly once and in order: ${received.map(name).join(" ")}`)
      }
    }
    return wrong
  } finally {
    go()
    await stop()
    for (const { fd } of writers) fs.closeSync(fd)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
