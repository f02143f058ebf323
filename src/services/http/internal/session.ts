import * as Socket from "@effect/platform/Socket"
import { Context, Effect, Exit, Fiber, Runtime } from "effect"
import type { Resolved } from "./limits.js"
import type { Stats } from "./stats.js"

// A WebSocket as the platform's Socket, with backpressure both ways; over `ws` and in memory.

/** The callbacks of one end of a WebSocket. */
export interface Holder {
  readonly message: (message: string | Uint8Array) => void
  /** The bytes that waited for the far end are taken. */
  readonly drained: () => void
  /** No message follows. May be called again; the first call counts. */
  readonly closed: (code: number, reason: string) => void
}

/** One end of a WebSocket. */
export interface Wire {
  /** What stands for `Socket.WebSocket` in a handler's context. */
  readonly socket: globalThis.WebSocket
  readonly send: (message: string | Uint8Array) => void
  /** Bytes that were sent and that the far end has not taken. */
  readonly waiting: () => number
  /** A writer begins to wait for `drained`. */
  readonly blocked: () => void
  /** Throws on a code that may not be sent. */
  readonly close: (code: number, reason?: string) => void
  readonly pause: () => void
  readonly resume: () => void
}

type Message = string | Uint8Array
// biome-ignore lint/suspicious/noConfusingVoidType: the platform's type
type Handler<E, R> = (message: Message) => Effect.Effect<unknown, E, R> | void

/** The settings of {@link make}. */
export interface Settings {
  readonly limits: Resolved
  readonly stats: Stats
  /** Shakes hands; called once, by the first `run`. */
  readonly open: (holder: Holder) => Effect.Effect<Wire, Socket.SocketError>
}

const alreadyOpen = new Socket.SocketGenericError({ reason: "Open", cause: "the WebSocket is already open" })

/**
 * The socket of an upgraded request. `run` opens it. Up to `messagesWaiting` handlers of messages run at the same time, in
 * the order of arrival; beyond that reading pauses. A write waits while more than `backlog` bytes wait for the client, and
 * fails once the socket is closed.
 */
export const make = ({ limits, open, stats }: Settings): Socket.Socket => {
  const opened = Effect.unsafeMakeLatch(false)
  const writers = new Set<(resume: Effect.Effect<void, Socket.SocketError>) => void>()
  let wire: Wire | undefined
  let closed: Socket.SocketCloseError | undefined
  let used = false

  const wake = () => {
    const waiting = [...writers]
    writers.clear()
    for (const resume of waiting) resume(closed ?? Effect.void)
  }

  const converse = <E, R>(
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    handler: Handler<E, R>,
    onOpen: Effect.Effect<void> | undefined
  ): Effect.Effect<void, Socket.SocketError | E, R> => {
    const running = new Set<Fiber.RuntimeFiber<unknown, E>>()
    let inbox: Array<Message> = []
    let next = 0
    let paused = false
    let end: ((exit: Effect.Effect<void, Socket.SocketError | E>) => void) | undefined
    let ended: Effect.Effect<void, Socket.SocketError | E> | undefined
    let run: (effect: Effect.Effect<unknown, E, R>) => Fiber.RuntimeFiber<unknown, E>

    const finish = (exit: Effect.Effect<void, Socket.SocketError | E>) => {
      ended ??= exit
      end?.(ended)
    }
    const deliver = (message: Message) => {
      let result: ReturnType<Handler<E, R>>
      try {
        result = handler(message)
      } catch (error) {
        return finish(Effect.die(error))
      }
      if (!Effect.isEffect(result)) return
      const fiber = run(result)
      const exit = fiber.unsafePoll()
      if (exit !== null) {
        if (Exit.isFailure(exit)) finish(exit)
        return
      }
      running.add(fiber)
      fiber.addObserver((exit) => {
        running.delete(fiber)
        if (Exit.isFailure(exit)) finish(exit)
        else pump()
      })
    }
    const pump = () => {
      while (next < inbox.length && running.size < limits.messagesWaiting && ended === undefined) {
        deliver(inbox[next++]!)
      }
      if (next < inbox.length) return
      inbox = []
      next = 0
      if (paused && running.size < limits.messagesWaiting && ended === undefined) {
        paused = false
        wire?.resume()
      }
    }
    const holder: Holder = {
      message: (message) => {
        if (ended !== undefined) return
        inbox.push(message)
        pump()
        if (!paused && running.size >= limits.messagesWaiting) {
          paused = true
          stats.limits.messagesWaiting++
          wire?.pause()
        }
      },
      drained: wake,
      closed: (code, reason) => {
        if (closed !== undefined) return
        closed = new Socket.SocketCloseError({ reason: "Close", code, closeReason: reason })
        stats.openSockets--
        opened.unsafeOpen()
        wake()
        finish(Socket.defaultCloseCodeIsError(code) ? closed : Effect.void)
      }
    }
    const close = (code: number) =>
      Effect.suspend(() => {
        if (closed === undefined) wire?.close(code)
        return Fiber.interruptAll(running)
      })
    const conversation = Effect.async<void, Socket.SocketError | E>((resume) => {
      if (ended !== undefined) return resume(ended)
      end = resume
    })
    return Effect.gen(function* () {
      used = true
      wire = yield* open(holder)
      stats.sockets++
      stats.openSockets++
      run = Runtime.runFork(
        Runtime.make({
          context: Context.add(fiber.currentContext as Context.Context<R>, Socket.WebSocket, wire.socket),
          fiberRefs: fiber.getFiberRefs(),
          runtimeFlags: Runtime.defaultRuntimeFlags
        })
      )
      opened.unsafeOpen()
      yield* Effect.zipRight(onOpen ?? Effect.void, conversation).pipe(
        Effect.interruptible,
        Effect.onExit((exit) => close(Exit.isSuccess(exit) ? 1000 : Exit.isInterrupted(exit) ? 1001 : 1011))
      )
    }).pipe(Effect.uninterruptible)
  }

  const runRaw: Socket.Socket["runRaw"] = (handler, options) =>
    Effect.withFiberRuntime((fiber) => (used ? alreadyOpen : converse(fiber, handler, options?.onOpen)))

  const write = (chunk: Message | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> => {
    if (wire === undefined)
      return Effect.zipRight(
        opened.await,
        Effect.suspend(() => write(chunk))
      )
    if (closed !== undefined) return closed
    if (Socket.isCloseEvent(chunk)) {
      wire.close(chunk.code, chunk.reason)
      return Effect.void
    }
    wire.send(chunk)
    if (wire.waiting() <= limits.backlog) return Effect.void
    stats.limits.backlog++
    wire.blocked()
    return Effect.async((resume) => {
      writers.add(resume)
      return Effect.sync(() => void writers.delete(resume))
    })
  }
  const encoder = new TextEncoder()
  return Socket.Socket.of({
    [Socket.TypeId]: Socket.TypeId,
    run: (handler, options) =>
      runRaw((message) => handler(typeof message === "string" ? encoder.encode(message) : message), options),
    runRaw,
    writer: Effect.succeed((chunk) => Effect.suspend(() => write(chunk)))
  })
}
