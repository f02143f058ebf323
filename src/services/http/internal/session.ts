import * as Socket from "@effect/platform/Socket"
import { Cause, Context, Effect, Exit, Fiber, Runtime } from "effect"
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

type Failing<E> = Effect.Effect<void, Socket.SocketError | E>
type Forked = Fiber.RuntimeFiber<unknown, unknown>

const encoder = new TextEncoder()

/**
 * The socket of an upgraded request. `run` opens it. Up to `messagesWaiting` handlers of messages run at the same time, in
 * the order of arrival; beyond that reading pauses. A write waits while more than `backlog` bytes wait for the client, and
 * fails once the socket is closed. Thousands may be open and idle: what only messages need is made with the first one.
 */
class Session implements Socket.Socket, Holder {
  readonly [Socket.TypeId]: Socket.TypeId = Socket.TypeId
  private wire: Wire | undefined = undefined
  private closedWith: Socket.SocketCloseError | undefined = undefined
  private used = false
  private opened: Effect.Latch | undefined = undefined
  private writers: Set<(resume: Failing<never>) => void> | undefined = undefined

  // of the conversation
  private handler: Handler<unknown, never> | undefined = undefined
  private owner: Forked | undefined = undefined
  private fork: ((effect: Effect.Effect<unknown, unknown>) => Forked) | undefined = undefined
  private running: Set<Forked> | undefined = undefined
  private inbox: Array<Message> | undefined = undefined
  private next = 0
  private paused = false
  private resume: ((exit: Failing<unknown>) => void) | undefined = undefined
  private ended: Failing<unknown> | undefined = undefined

  constructor(private readonly settings: Settings) {}

  // Fields, because a caller may take them out of the socket.
  readonly runRaw: Socket.Socket["runRaw"] = (handler, options) =>
    Effect.withFiberRuntime((fiber) => {
      if (this.used) return alreadyOpen
      this.handler = handler as Handler<unknown, never>
      this.owner = fiber
      return this.converse(options?.onOpen) as Effect.Effect<void, any>
    })
  readonly run: Socket.Socket["run"] = (handler, options) =>
    this.runRaw(
      (message) => handler(typeof message === "string" ? encoder.encode(message) : message),
      options
    )
  get writer(): Socket.Socket["writer"] {
    return Effect.succeed((chunk) => Effect.suspend(() => this.write(chunk)))
  }

  // reading

  private converse(onOpen: Effect.Effect<void> | undefined): Failing<unknown> {
    this.used = true
    const opening = Effect.flatMap(this.settings.open(this), (wire) => {
      this.wire = wire
      this.settings.stats.sockets++
      this.settings.stats.openSockets++
      this.opened?.unsafeOpen()
      const talk = onOpen === undefined ? this.talk : Effect.zipRight(onOpen, this.talk)
      return Effect.matchCauseEffect(Effect.interruptible(talk), {
        onSuccess: () => this.close(1000),
        onFailure: (cause) =>
          Effect.zipRight(this.close(Cause.isInterrupted(cause) ? 1001 : 1011), Exit.failCause(cause))
      })
    })
    return Effect.uninterruptible(opening)
  }

  private get talk() {
    return Effect.async<void, unknown>((resume) => {
      if (this.ended !== undefined) return resume(this.ended)
      this.resume = resume
    })
  }

  private finish(exit: Failing<unknown>) {
    this.ended ??= exit
    this.resume?.(this.ended)
  }

  /** With the context of the fiber that runs the conversation. */
  private forked(effect: Effect.Effect<unknown, unknown>): Forked {
    const { owner, wire } = this
    this.fork ??= Runtime.runFork(
      Runtime.make({
        context: Context.add(
          owner!.currentContext as Context.Context<never>,
          Socket.WebSocket,
          wire!.socket
        ) as Context.Context<never>,
        fiberRefs: owner!.getFiberRefs(),
        runtimeFlags: Runtime.defaultRuntimeFlags
      })
    )
    return this.fork(effect)
  }

  private deliver(message: Message) {
    let result: ReturnType<Handler<unknown, never>>
    try {
      result = this.handler!(message)
    } catch (error) {
      return this.finish(Effect.die(error))
    }
    if (!Effect.isEffect(result)) return
    const fiber = this.forked(result)
    const exit = fiber.unsafePoll()
    if (exit !== null) {
      if (Exit.isFailure(exit)) this.finish(exit)
      return
    }
    this.running ??= new Set()
    this.running.add(fiber)
    fiber.addObserver((exit) => {
      this.running!.delete(fiber)
      if (Exit.isFailure(exit)) this.finish(exit)
      else this.pump()
    })
  }

  private get isFull() {
    return (this.running?.size ?? 0) >= this.settings.limits.messagesWaiting
  }

  private pump() {
    const { inbox } = this
    if (inbox !== undefined) {
      while (this.next < inbox.length && !this.isFull && this.ended === undefined) {
        this.deliver(inbox[this.next++]!)
      }
      if (this.next < inbox.length) return
      this.inbox = undefined
      this.next = 0
    }
    if (this.paused && !this.isFull && this.ended === undefined) {
      this.paused = false
      this.wire?.resume()
    }
  }

  message(message: Message): void {
    if (this.ended !== undefined) return
    if (this.inbox === undefined && !this.isFull) this.deliver(message)
    else {
      this.inbox ??= []
      this.inbox.push(message)
      this.pump()
    }
    if (!this.paused && this.isFull) {
      this.paused = true
      this.settings.stats.limits.messagesWaiting++
      this.wire?.pause()
    }
  }

  // the end

  closed(code: number, reason: string): void {
    if (this.closedWith !== undefined) return
    this.closedWith = new Socket.SocketCloseError({ reason: "Close", code, closeReason: reason })
    this.settings.stats.openSockets--
    this.opened?.unsafeOpen()
    this.drained()
    this.finish(Socket.defaultCloseCodeIsError(code) ? this.closedWith : Effect.void)
  }

  private close(code: number) {
    if (this.closedWith === undefined) this.wire?.close(code)
    return this.running === undefined ? Effect.void : Fiber.interruptAll(this.running)
  }

  // writing

  drained(): void {
    const { writers } = this
    this.writers = undefined
    for (const resume of writers ?? []) resume(this.closedWith ?? Effect.void)
  }

  private write(chunk: Message | Socket.CloseEvent): Failing<never> {
    const { closedWith, settings, wire } = this
    if (wire === undefined) {
      this.opened ??= Effect.unsafeMakeLatch(false)
      return Effect.zipRight(
        this.opened.await,
        Effect.suspend(() => this.write(chunk))
      )
    }
    if (closedWith !== undefined) return closedWith
    if (Socket.isCloseEvent(chunk)) {
      wire.close(chunk.code, chunk.reason)
      return Effect.void
    }
    wire.send(chunk)
    if (wire.waiting() <= settings.limits.backlog) return Effect.void
    settings.stats.limits.backlog++
    wire.blocked()
    return Effect.async((resume) => {
      this.writers ??= new Set()
      const { writers } = this
      writers.add(resume)
      return Effect.sync(() => void writers.delete(resume))
    })
  }
}

export const make = (settings: Settings): Socket.Socket => new Session(settings)
