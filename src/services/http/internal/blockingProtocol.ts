// The messages between the thread of a server and its worker threads. A worker has one request at a time.

/** The app of `blockingMain`: the path of a module, and the name of the export; default `default` or `app`. */
export interface Target {
  readonly file: string
  readonly exportName?: string | undefined
}

export interface Request {
  readonly type: "request"
  readonly method: string
  /** As sent. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly remote: string | undefined
  readonly body: Uint8Array | undefined
}

/** Bytes or a text of a WebSocket. */
export type Data = string | Uint8Array

export type ToWorker =
  | Request
  /** The client has gone, or the server closes: interrupts the handler. */
  | { readonly type: "cancel" }
  /** The last `chunk` or `send` was written. */
  | { readonly type: "written" }
  | { readonly type: "message"; readonly data: Data }
  | { readonly type: "closed"; readonly code: number; readonly reason: string }

export type FromWorker =
  | { readonly type: "ready" }
  /** The app cannot be loaded. */
  | { readonly type: "refused"; readonly message: string; readonly isUsage: boolean }
  | {
      readonly type: "head"
      readonly status: number
      readonly statusText: string | undefined
      readonly headers: Readonly<Record<string, string>>
      readonly cookies: ReadonlyArray<string>
      readonly body: Uint8Array | undefined
      /** Whether `chunk`s follow, until `end`. */
      readonly more: boolean
    }
  | { readonly type: "chunk"; readonly data: Uint8Array }
  | { readonly type: "end" }
  /** The rest of the body cannot be produced. */
  | { readonly type: "broken"; readonly reason: string }
  | { readonly type: "upgrade" }
  | { readonly type: "send"; readonly data: Data }
  | { readonly type: "close"; readonly code: number; readonly reason: string | undefined }
  /** The handler of the last `message` has returned. */
  | { readonly type: "handled" }
  /** The handler has failed; the head before it had the answer. */
  | { readonly type: "failed"; readonly reason: string }
  /** The request is over, and the worker is free. */
  | { readonly type: "done" }
