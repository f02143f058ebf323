import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as Download from "../../src/services/download/Download.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import { bytes } from "./FaultServer.js"
import { type Answer, head, type Request, start } from "./ScriptedServer.js"

// Answers of servers that do something wrong, byte for byte, and one download from them through the library.

export const v1 = bytes(300_000, 1)
export const v2 = bytes(300_000, 2) // of the same length
export const longer = bytes(310_000, 3)
export const small = bytes(2000, 4)
export const old = new Date(Date.UTC(2026, 0, 1)).toUTCString()
export const now = new Date(Date.UTC(2026, 5, 1)).toUTCString()

export type Fields = ReadonlyArray<string | undefined>
export const tag = 'ETag: "v1"'

/** The status line, then header fields. `Content-Length` is added, unless the fields have one or are `chunked`. */
export const send = (
  status: string,
  fields: Fields,
  body: Buffer | string = "",
  end?: Answer["end"]
): Answer => ({
  send: [
    head(
      `HTTP/1.1 ${status}`,
      ...fields,
      fields.some((field) => /^(content-length|transfer-encoding|connection: close)/i.test(field ?? ""))
        ? undefined
        : `Content-Length: ${Buffer.byteLength(body)}`
    ),
    body
  ],
  end: end ?? "keep"
})
export const ok = (fields: Fields, body: Buffer | string = small, end?: Answer["end"]) =>
  send("200 OK", fields, body, end)
/** Some of a body whose length is given. */
export const cut = (fields: Fields, body = v1, sent = 100_000, end: Answer["end"] = "fin"): Answer =>
  send("200 OK", [...fields, `Content-Length: ${body.length}`], body.subarray(0, sent), end)
export const from = (request: Request) =>
  Number(/^bytes=(\d+)-$/.exec(request.headers["range"] ?? "bytes=0-")![1])
/** A 206 with the rest of this body. */
export const rest =
  (fields: Fields, body = v1, range?: (from: number) => string | undefined) =>
  (request: Request) => {
    const begin = from(request)
    const sent = range === undefined ? `bytes ${begin}-${body.length - 1}/${body.length}` : range(begin)
    return send("206 Partial Content", [...fields, sent && `Content-Range: ${sent}`], body.subarray(begin))
  }

export type Step = Answer | ((request: Request) => Answer)

interface Result {
  /** `finished`, or the reason and the detail. */
  readonly outcome: string
  readonly file: Buffer | undefined
  readonly left: ReadonlyArray<string>
  /** The `Range` of each request, empty where it had none. */
  readonly ranges: ReadonlyArray<string>
  readonly reasons: ReadonlyArray<string>
  readonly downloaded: Download.Downloaded | undefined
  readonly error: Download.DownloadError | undefined
}

/** Serves these answers in turn, the last one staying, and downloads `/name` in so many attempts. */
export const download = async (
  steps: ReadonlyArray<Step>,
  options: Partial<Download.Request> & {
    readonly name?: string
    readonly attempts?: number
    readonly save?: boolean
    readonly resume?: boolean
    readonly session?: Download.SessionOptions
    readonly runs?: number
    /** Of the first run, where they are others than those of the later ones. */
    readonly firstAttempts?: number
    readonly laterResume?: boolean
  } = {}
): Promise<Result> => {
  const { attempts = 1, firstAttempts = attempts, laterResume, name = "f", runs = 1, save = true } = options
  const { resume, session: sessionOptions, ...request } = options
  const directory = mkdtempSync(join(tmpdir(), "aio-http-"))
  const server = await start((request) => {
    const step = steps[Math.min(request.nth, steps.length) - 1]!
    return typeof step === "function" ? step(request) : step
  })
  const reasons: Array<string> = []
  let history = Download.makeHistory()
  let ran = 0
  const run = Effect.gen(function* () {
    ran++
    const session = yield* (yield* Downloader.Downloader).open({ stallTimeout: 2000, ...sessionOptions })
    return yield* Downloader.fetch(session, {
      url: new URL(server.url(`/${name}`)),
      target: save ? { directory, name, resume: ran > 1 ? laterResume : resume } : undefined,
      history,
      onProgress: server.seen,
      ...request
    }).pipe(
      Effect.tapError((error) => Effect.sync(() => reasons.push(error.reason))),
      Effect.retry({ times: (ran > 1 ? attempts : firstAttempts) - 1, while: (error) => error.retryable })
    )
  }).pipe(Effect.scoped, Effect.provide(Downloader.layer), Effect.either)
  try {
    let result = await Effect.runPromise(run)
    for (let i = 1; i < runs; i++) {
      history = Download.makeHistory()
      result = await Effect.runPromise(run)
    }
    const left = readdirSync(directory).sort()
    const file = left.filter((entry) => !entry.startsWith("."))[0]
    return {
      outcome:
        result._tag === "Right"
          ? "finished"
          : result.left._tag === "ProxyError"
            ? "proxy"
            : `${result.left.reason}: ${result.left.detail}`,
      file: file === undefined ? undefined : readFileSync(join(directory, file)),
      left,
      ranges: server.requests.map(({ headers }) => headers["range"] ?? ""),
      reasons,
      downloaded: result._tag === "Right" ? result.right : undefined,
      error: result._tag === "Left" && result.left._tag === "DownloadError" ? result.left : undefined
    }
  } finally {
    await server.close()
    rmSync(directory, { recursive: true })
  }
}

export const broke = "dropped: the connection broke before the body was whole"
export const chunked = (body: Buffer, more = "0\r\n\r\n") =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from(`\r\n${more}`)])
export const te = "Transfer-Encoding: chunked"
