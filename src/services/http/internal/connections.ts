import { Deferred, Effect, Exit, FiberId, Mailbox } from "effect"
import { type Message, type Socket, SocketClosed } from "../HttpServer.js"
import type { Holder, Wire } from "./webSocket.js"

// WebSocket connections as the server holds them: over a wire, and in memory.

/** One end of a WebSocket. */
export interface Connection {
  readonly socket: Socket
  /** Whether the session has ever received: then it notices the end by itself. */
  readonly reading: () => boolean
  readonly unsafeClose: (code: number, reason?: string) => void
}

const queuedAtMost = 64 // messages that wait for the session before backpressure applies

/** A connection over `ws`; undefined if `open` returns no wire. */
export const overWire = <W extends Wire | undefined>(
  open: (holder: Holder) => W,
  onOver: (closed: SocketClosed) => void = () => undefined
): Effect.Effect<Connection | Extract<W, undefined>> =>
  Effect.map(Mailbox.make<Message, SocketClosed>(), (inbox) => {
    const ended = Deferred.unsafeMake<never, SocketClosed>(FiberId.none)
    let queued = 0
    let reading = false
    let goodbye: SocketClosed | undefined // the close frame that was sent
    let over = false

    const wire = open({
      message: (message) => {
        inbox.unsafeOffer(message)
        return ++queued < queuedAtMost || goodbye !== undefined
      },
      closed: (code, reason) => {
        if (over) return
        over = true
        const closed = code === 1006 && goodbye !== undefined ? goodbye : new SocketClosed({ code, reason })
        inbox.unsafeDone(Exit.fail(closed))
        Deferred.unsafeDone(ended, closed)
        onOver(closed)
      }
    })
    if (wire === undefined) return wire as Extract<W, undefined>

    const receive = Effect.suspend(() => {
      reading = true
      return Effect.map(Effect.catchTag(inbox.take, "NoSuchElementException", Effect.die), (message) => {
        if (--queued === queuedAtMost - 1) wire.resume()
        return message
      })
    })
    const send = (message: Message) =>
      Effect.async<void, SocketClosed>((resume) => {
        if (goodbye !== undefined && !over) return resume(goodbye)
        // A send fails because the connection is closing; the code is known once it has closed.
        wire.send(message, (error) => resume(error ? Deferred.await(ended) : Effect.void))
      })
    const unsafeClose = (code: number, reason = "") => {
      if (goodbye !== undefined) return
      wire.close(code, reason)
      goodbye = new SocketClosed({ code, reason })
    }
    return {
      socket: { receive, send, close: (code = 1000, reason) => Effect.sync(() => unsafeClose(code, reason)) },
      reading: () => reading,
      unsafeClose
    }
  })

/** Both ends of a connection in memory. */
export const pair = (onOver: (closed: SocketClosed) => void) =>
  Effect.map(
    Effect.all([Mailbox.make<Message, SocketClosed>(), Mailbox.make<Message, SocketClosed>()]),
    (inboxes): readonly [Connection, Connection] => {
      let over: SocketClosed | undefined
      const unsafeClose = (code: number, reason = "") => {
        if (over !== undefined) return
        over = new SocketClosed({ code, reason })
        for (const inbox of inboxes) inbox.unsafeDone(Exit.fail(over))
        onOver(over)
      }
      const end = (mine: 0 | 1): Connection => {
        let reading = false
        const receive = Effect.suspend(() => {
          reading = true
          return Effect.catchTag(inboxes[mine].take, "NoSuchElementException", Effect.die)
        })
        const send = (message: Message) =>
          Effect.suspend(() => over ?? Effect.asVoid(inboxes[mine === 0 ? 1 : 0].offer(message)))
        return {
          socket: {
            receive,
            send,
            close: (code = 1000, reason) => Effect.sync(() => unsafeClose(code, reason))
          },
          reading: () => reading,
          unsafeClose
        }
      }
      return [end(0), end(1)]
    }
  )
