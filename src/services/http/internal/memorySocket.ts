import type { Holder, Wire } from "./session.js"

// Both ends of a WebSocket in memory. What an end sends arrives in a microtask, in order.

type Listener = (event: any) => void

/** The client's end: as much of a browser's `WebSocket` as the platform's `Socket.makeWebSocket` uses. */
export class MemoryWebSocket {
  readyState: 0 | 1 | 2 | 3 = 0
  binaryType = "arraybuffer"
  readonly protocol = ""
  readonly extensions = ""
  private readonly listeners = new Map<string, Map<Listener, boolean>>()
  private held: Array<string | Uint8Array> = []
  private paused = false
  private holder: Holder | undefined = undefined
  /** Called when it is closed before it is open. */
  onAbandoned: () => void = () => undefined

  constructor(
    readonly url: string,
    private readonly messageSize: number,
    private readonly onTooLarge: () => void
  ) {}

  get bufferedAmount(): number {
    return this.held.reduce((sum, one) => sum + Buffer.byteLength(one), 0)
  }

  addEventListener(type: string, listener: Listener, options?: { readonly once?: boolean }): void {
    const ofType = this.listeners.get(type) ?? new Map<Listener, boolean>()
    this.listeners.set(type, ofType.set(listener, options?.once === true))
  }
  removeEventListener(type: string, listener: Listener): void {
    this.listeners.get(type)?.delete(listener)
  }
  private emit(type: string, event: object = {}) {
    for (const [listener, once] of [...(this.listeners.get(type) ?? [])]) {
      if (once) this.removeEventListener(type, listener)
      listener({ type, target: this, ...event })
    }
  }

  send(message: string | Uint8Array | ArrayBuffer): void {
    if (this.readyState !== 1) return
    this.held.push(message instanceof ArrayBuffer ? new Uint8Array(message) : message)
    queueMicrotask(() => this.flush())
  }
  private flush() {
    while (!this.paused && this.held.length > 0 && this.readyState === 1) {
      const message = this.held.shift()!
      if (Buffer.byteLength(message) > this.messageSize) {
        this.onTooLarge()
        this.over(1009, "")
      } else this.holder?.message(message)
    }
  }

  close(code = 1005, reason = ""): void {
    queueMicrotask(() => {
      this.paused = false
      this.flush()
      this.over(code, reason)
    })
  }

  private over(code: number, reason: string) {
    if (this.readyState === 3) return
    const before = this.readyState
    this.readyState = 3
    if (before === 0) this.onAbandoned()
    this.holder?.closed(code, reason)
    this.emit("close", { code, reason, wasClean: code !== 1006 })
  }

  /** The server does not make it a WebSocket. */
  refuse(status: number): void {
    if (this.readyState !== 0) return
    this.readyState = 3
    this.emit("error", { message: `status ${status} instead of a WebSocket` })
    this.emit("close", { code: 1006, reason: "", wasClean: false })
  }

  /** The server's end; opens the client's. */
  accept(holder: Holder): Wire {
    this.holder = holder
    queueMicrotask(() => {
      if (this.readyState !== 0) return holder.closed(1006, "")
      this.readyState = 1
      this.emit("open")
    })
    return {
      socket: this as unknown as globalThis.WebSocket,
      send: (message) =>
        queueMicrotask(() => {
          if (this.readyState === 1) this.emit("message", { data: message })
        }),
      waiting: () => 0,
      blocked: () => undefined,
      close: (code, reason = "") => queueMicrotask(() => this.over(code, reason)),
      pause: () => {
        this.paused = true
      },
      resume: () => {
        this.paused = false
        queueMicrotask(() => this.flush())
      }
    }
  }
}
