import { Socket } from "node:net"
import type { Readable, Writable } from "node:stream"
import { countBuffer } from "../../host/HeapTuning.js"

// This process's ends of the pipes of children, as streams of libuv: they are read only as far as their output is taken.

/** The reading end of a pipe. */
export const reader = (fd: number): Readable => new Socket({ fd, readable: true, writable: false })

/** The writing end of a pipe. */
export const writer = (fd: number): Writable => new Socket({ fd, readable: false, writable: true })

/** Passes on what arrives, and calls back when the stream is closed; data stops while it is paused. */
export const drain = (stream: Readable, onData: (chunk: Buffer) => void, onClosed: () => void): void => {
  stream.on("data", (chunk: Buffer) => {
    countBuffer(chunk.length)
    onData(chunk)
  })
  stream.on("error", () => undefined) // it is closed then
  stream.once("close", onClosed)
}
