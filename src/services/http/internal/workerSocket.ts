import * as Socket from "@effect/platform/Socket"
import { Deferred, Effect, Queue, type Scope } from "effect"
import type { Data, FromWorker } from "./blockingProtocol.js"

const isClean = (code: number) => code === 1000 || code === 1001 || code === 1005 || code === 1006

/**
 * The WebSocket of a request in a worker thread: the main thread has the connection, and posts one message after the
 * handler of the one before has returned.
 */
export const workerSocket = (
  post: (message: FromWorker) => void,
  written: (message: FromWorker) => Effect.Effect<void>
) => {
  const messages = Effect.runSync(Queue.unbounded<Data>())
  const end = Effect.runSync(Deferred.make<void, Socket.SocketError>())
  let open = true
  const runRaw: Socket.Socket["runRaw"] = (handler, options) => {
    const handle = Effect.flatMap(Queue.take(messages), (data) => {
      const result = handler(data)
      const handled = Effect.sync(() => post({ type: "handled" }))
      return Effect.isEffect(result) ? Effect.ensuring(result, handled) : handled
    })
    return Effect.zipRight(
      options?.onOpen ?? Effect.void,
      Effect.raceFirst(Effect.forever(handle), Deferred.await(end))
    )
  }
  const write = (chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      if (!open) return Effect.fail(new Socket.SocketCloseError({ reason: "Close", code: 1006 }))
      return Socket.isCloseEvent(chunk)
        ? Effect.sync(() => post({ type: "close", code: chunk.code, reason: chunk.reason }))
        : // One at a time: there is one acknowledgement.
          lock.withPermits(1)(written({ type: "send", data: chunk }))
    })
  const lock = Effect.unsafeMakeSemaphore(1)
  const socket: Socket.Socket = {
    [Socket.TypeId]: Socket.TypeId,
    run: (handler, options) =>
      runRaw((data) => handler(typeof data === "string" ? new TextEncoder().encode(data) : data), options),
    runRaw,
    writer: Effect.acquireRelease(Effect.succeed(write), () =>
      Effect.sync(() => {
        if (open) post({ type: "close", code: 1000, reason: undefined })
      })
    ) as Effect.Effect<typeof write, never, Scope.Scope>
  }
  return {
    socket,
    receive: (data: Data) => void messages.unsafeOffer(data),
    closed: (code: number, reason: string) => {
      open = false
      Deferred.unsafeDone(
        end,
        isClean(code)
          ? Effect.void
          : Effect.fail(new Socket.SocketCloseError({ reason: "Close", code, closeReason: reason }))
      )
    }
  }
}
