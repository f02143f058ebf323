import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { Effect, Exit, FastCheck as fc } from "effect"
import * as Download from "../src/services/download/Download.js"
import * as Downloader from "../src/services/download/Downloader.js"
import { bytes, sha256 } from "../test/support/FaultServer.js"
import { type Answer, head, type Request, start } from "../test/support/ScriptedServer.js"

// Resuming a download from a server that lies. The server has three versions of one file. Each answer claims in each
// field of its head what it likes, and ends as it likes. A file that gets its name is, whatever was answered, byte for
// byte one of the versions.
//
// Two lies are left out, because nothing could find them out: a strong validator that stands for two versions of one
// length, and a piece of a file whose answer claims in every field, and by its end, to be the whole file.

/** The second version has the length of the first, the third has not. */
const makeVersions = (length: number) => [bytes(length, 1), bytes(length, 2), bytes(length * 1.1, 3)]
const versions = { small: makeVersions(300), large: makeVersions(400_000) }
type Scale = keyof typeof versions

interface Lies {
  readonly version: 0 | 1 | 2
  /** Sent is what was asked for, all of it, or a piece that begins beside what was asked for. */
  readonly part: "asked" | "whole" | "beside"
  readonly status: 200 | 206 | 416 | 412 | 500 | 503
  /** `stale` is the first version's. */
  readonly etag: "right" | "stale" | "weak" | "bare" | "twice" | "absent"
  /** `fresh` is too near the answer's date to be strong. */
  readonly modified: "right" | "stale" | "fresh" | "absent"
  readonly range: "right" | "other start" | "other total" | "*" | "garbage" | "absent"
  readonly length: "right" | "more" | "less" | "chunked" | "absent"
  readonly encoding: "absent" | "gzip" | "identity" | "UTF-8"
  /** How much of the body is sent, in thousandths. */
  readonly sent: number
  readonly end: "keep" | "fin" | "reset" | "reset now"
  readonly interim: boolean
}

export interface Case {
  readonly scale: Scale
  /** In the order of the requests; the last one stays. */
  readonly answers: ReadonlyArray<Lies>
  /** One for each run, which has of the runs before only what is in the folder. */
  readonly runs: ReadonlyArray<{
    readonly attempts: number
    readonly resume: boolean
    readonly checksum: 0 | 1 | 2 | undefined
  }>
}

const mostly = <A>(truth: A, ...others: ReadonlyArray<A>): fc.Arbitrary<A> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(truth) }, { weight: 1, arbitrary: fc.constantFrom(...others) })

// Each field is right more often than not, so that most wrong answers look plausible.
const lie = <A extends Pick<Lies, "status" | "range">>(
  about: {
    readonly [K in keyof A]: fc.Arbitrary<A[K]>
  }
): fc.Arbitrary<Lies> =>
  fc.record({
    version: fc.constantFrom<Lies["version"]>(0, 1, 2),
    part: mostly<Lies["part"]>("asked", "whole", "beside"),
    etag: mostly<Lies["etag"]>("right", "stale", "weak", "bare", "twice", "absent"),
    modified: mostly<Lies["modified"]>("absent", "right", "stale", "fresh"),
    length: mostly<Lies["length"]>("right", "more", "less", "chunked", "absent"),
    encoding: mostly<Lies["encoding"]>("absent", "gzip", "identity", "UTF-8"),
    sent: fc.oneof({ weight: 3, arbitrary: fc.constant(1000) }, fc.integer({ min: 0, max: 1000 })),
    end: fc.constantFrom<Lies["end"]>("keep", "fin", "reset", "reset now"),
    interim: mostly(false, true),
    ...about
  }) as fc.Arbitrary<Lies>

const lies: fc.Arbitrary<Lies> = fc.oneof(
  {
    weight: 6,
    arbitrary: lie({
      status: fc.constant(206 as const),
      range: mostly<Lies["range"]>("right", "other start", "other total", "*", "garbage", "absent")
    })
  },
  {
    weight: 3,
    arbitrary: lie({
      status: fc.constant(200 as const),
      range: mostly<Lies["range"]>("absent", "right", "other start", "other total", "*", "garbage")
    })
  },
  {
    weight: 1,
    arbitrary: lie({
      status: fc.constantFrom<Lies["status"]>(416, 412, 500, 503),
      range: fc.constant("absent" as const)
    })
  }
)

/** An answer that leaves a piece that can be continued. */
const first: fc.Arbitrary<Lies> = fc.record({
  version: mostly<Lies["version"]>(0, 1, 2),
  part: fc.constant("whole"),
  status: fc.constant(200),
  etag: mostly<Lies["etag"]>("right", "absent"),
  modified: fc.constantFrom("right", "absent"),
  range: fc.constant("absent"),
  length: mostly<Lies["length"]>("right", "chunked", "absent"),
  encoding: fc.constant("absent"),
  sent: fc.integer({ min: 10, max: 999 }),
  end: fc.constantFrom("fin", "reset", "reset now"),
  interim: fc.boolean()
})

export const cases: fc.Arbitrary<Case> = fc.record({
  scale: mostly<Scale>("small", "large"),
  answers: fc
    .tuple(
      fc.oneof({ weight: 8, arbitrary: first }, { weight: 1, arbitrary: lies }),
      fc.array(lies, { minLength: 1, maxLength: 7 })
    )
    .map(([first, rest]) => [first, ...rest]),
  runs: fc.array(
    fc.record({
      attempts: fc.integer({ min: 1, max: 4 }),
      resume: mostly(true, false),
      checksum: mostly<0 | 1 | 2 | undefined>(undefined, 0, 1, 2)
    }),
    { minLength: 1, maxLength: 4 }
  )
})

const tags = ['"v1"', '"v2"', '"v3"']
const dates = [1, 2, 3].map((day) => new Date(Date.UTC(2026, 0, day)).toUTCString())
const now = new Date(Date.UTC(2026, 5, 1)).toUTCString()

const answer = (scale: Scale, lie: Lies, request: Request): Answer => {
  const { end, status, version } = lie
  if (status !== 200 && status !== 206) {
    return {
      send: [`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`],
      end: end === "keep" ? end : "fin"
    }
  }
  const asked = /^bytes=(\d+)-$/.exec(request.headers["range"] ?? "")
  const file = versions[scale][version]!
  // Asked for all, a piece is sent only where Content-Range gives it away.
  const beside = asked !== null || lie.range !== "absent" ? 7 : 0
  const from = Math.min(file.length - 1, asked === null ? 0 : Number(asked[1]))
  const begin = { asked: from, whole: 0, beside: from > beside ? from - beside : beside }[lie.part]
  const piece = file.subarray(begin)
  const zipped = lie.encoding === "gzip"
  const body = zipped ? gzipSync(piece, { level: 1 }) : piece
  const sent = body.subarray(0, Math.ceil((body.length * lie.sent) / 1000))

  const last = file.length - 1
  const range = {
    right: `bytes ${begin}-${last}/${file.length}`,
    "other start": `bytes ${begin + 1}-${last}/${file.length}`,
    "other total": `bytes ${begin}-${last + 10}/${file.length + 10}`,
    "*": `bytes ${begin}-${last}/*`,
    garbage: "octets all",
    absent: undefined
  }[lie.range]
  const stale = version === 1 ? 1 : 0 // else one validator would stand for two versions of one length
  const etag = {
    right: tags[version],
    stale: body.length === versions[scale][0]!.length ? tags[version] : tags[stale],
    weak: `W/${tags[version]}`,
    bare: "v1",
    twice: `${tags[0]}\r\nETag: ${tags[1]}`,
    absent: undefined
  }[lie.etag]
  const modified = { right: dates[version], stale: dates[stale], fresh: now, absent: undefined }[lie.modified]
  const all = sent.length === body.length
  const chunked = lie.length === "chunked"
  const length = {
    right: body.length,
    more: body.length + 5,
    less: asked === null && status === 200 ? body.length : Math.max(0, body.length - 5),
    chunked: undefined,
    absent: undefined
  }[lie.length]

  const heading = head(
    `HTTP/1.1 ${status} OK`,
    `Date: ${now}`,
    etag && `ETag: ${etag}`,
    modified && `Last-Modified: ${modified}`,
    range && `Content-Range: ${range}`,
    length === undefined ? undefined : `Content-Length: ${length}`,
    chunked ? "Transfer-Encoding: chunked" : undefined,
    lie.encoding === "absent" ? undefined : `Content-Encoding: ${lie.encoding}`
  )
  const half = sent.length >> 1
  const framed = chunked
    ? [sent.subarray(0, half), sent.subarray(half)]
        .filter((part) => part.length > 0)
        .map((part) =>
          Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")])
        )
    : [sent]
  const complete = chunked ? all : length !== undefined && sent.length >= length
  // An orderly end means that such a body is whole.
  const hidden = !chunked && length === undefined && !all && (!zipped || sent.length === 0)
  const reset = sent.length > 0 && end !== "reset now" ? "reset" : "reset now"
  return {
    send: [
      lie.interim ? "HTTP/1.1 100 Continue\r\n\r\n" : "",
      heading,
      ...framed,
      chunked && all ? "0\r\n\r\n" : ""
    ].filter((piece) => piece.length > 0),
    end: hidden || /^reset/.test(end) ? reset : complete ? end : "fin"
  }
}

/** What is wrong with what a case leads to; undefined when nothing is. */
export const wrong = async ({ answers, runs, scale }: Case): Promise<string | undefined> => {
  const directory = mkdtempSync(join(tmpdir(), "aio-resume-"))
  const server = await start((request) =>
    answer(scale, answers[Math.min(request.nth, answers.length) - 1]!, request)
  )
  const url = new URL(server.url("/f"))
  try {
    for (const { attempts, checksum, resume } of runs) {
      const history = Download.makeHistory()
      const run = Effect.gen(function* () {
        const session = yield* (yield* Downloader.Downloader).open({ stallTimeout: 5000 })
        const attempt = Downloader.fetch(session, {
          url,
          history,
          target: { directory, name: "f", resume },
          checksum:
            checksum === undefined
              ? undefined
              : { algorithm: "sha256", hex: sha256(versions[scale][checksum]!) },
          onProgress: server.seen
        })
        return yield* Effect.retry(attempt, {
          times: attempts - 1,
          while: (error) => error.retryable
        })
      })
      const exit = await Effect.runPromiseExit(run.pipe(Effect.scoped, Effect.provide(Downloader.layer)))
      const names = readdirSync(directory)
      if (Exit.isFailure(exit)) {
        const error = exit.cause._tag === "Fail" ? exit.cause.error : undefined
        if (error?._tag !== "DownloadError") return `broke: ${exit.cause}`
        if (error.reason === "stalled") return "stalled"
        if (names.includes("f")) return "a file is there in spite of a failure"
        continue
      }
      const file = readFileSync(join(directory, "f"))
      const version = versions[scale].findIndex((one) => one.equals(file))
      if (version < 0) return `a file of ${file.length} bytes that is no version`
      if (checksum !== undefined && version !== checksum) return "a version of another checksum"
      if (exit.value.size !== file.length) return `${exit.value.size} bytes were reported of ${file.length}`
      if (names.length > 1) return `left over: ${names}`
      return undefined
    }
    return undefined
  } finally {
    await server.close()
    rmSync(directory, { recursive: true })
  }
}
