import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Data, Effect, Exit, Runtime, type Scope, Stream } from "effect"
import * as OwnedBy from "./OwnedBy.js"

// A Unix socket on which a running command takes requests of the same user. It is in a folder that only this user may
// enter, and has the digest of the command's working directory and the pid in its name. A request is a line of JSON; the
// answer is all bytes until the end.

/** The socket cannot be made, found or used; `message` names the reason. */
export class ControlError extends Data.TaggedError("ControlError")<{ readonly message: string }> {}

/** Longest request, in bytes. */
const longest = 4096
/** Most requests at once; further connections are closed. */
const most = 16
/** How long a connection may be idle before it is closed, in milliseconds. */
const idle = 10_000
/** Longest answer that a caller takes, in bytes. */
const longestAnswer = 16 * 1024 * 1024

/** The folder of this user's sockets: below $XDG_RUNTIME_DIR, or below the folder for temporary files. */
const folderOf = (env: Readonly<Record<string, string | undefined>>): string => {
  const runtime = env["XDG_RUNTIME_DIR"] ?? ""
  return runtime.startsWith("/")
    ? join(runtime, "effect-asyncio")
    : join(tmpdir(), `effect-asyncio-${process.getuid?.() ?? 0}`)
}

/** Fails unless the folder is this user's, and closed to all others. */
const check = (folder: string): void => {
  const stat = fs.lstatSync(folder)
  if (!stat.isDirectory()) throw new Error(`${folder} is not a folder`)
  if (stat.uid !== process.getuid?.()) throw new Error(`${folder} belongs to another user`)
  if ((stat.mode & 0o077) !== 0) throw new Error(`${folder} is open to other users; expected mode 700`)
}

const made = (folder: string): string => {
  try {
    fs.mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
  check(folder)
  return folder
}

const digest = (directory: string): string =>
  createHash("sha256").update(fs.realpathSync(directory)).digest("hex").slice(0, 16)

/** The sockets of a folder whose processes run; the others are removed. */
const sockets = (
  folder: string
): ReadonlyArray<{ readonly pid: number; readonly of: string; readonly path: string }> =>
  fs.readdirSync(folder).flatMap((name) => {
    const [, of, digits] = /^([0-9a-f]{16})-(\d{1,10})-\d+\.sock$/.exec(name) ?? []
    if (of === undefined) return []
    const path = join(folder, name)
    if (OwnedBy.isLive(`${digits}:`)) return [{ pid: Number(digits), of, path }]
    fs.rmSync(path, { force: true })
    return []
  })

const failed = (error: unknown) => new ControlError({ message: (error as Error).message })

/** The sockets that this process has made. */
let count = 0

/** How long the rest of an answer may take at the end, in milliseconds. */
const atEnd = 1000

/** Answers one request: a value of JSON. A stream is interrupted when its reader has gone. */
export type Answer = (request: unknown) => Effect.Effect<string | Uint8Array | Stream.Stream<string>>

const drained = (socket: Socket) =>
  Effect.async<void>((resume) => {
    socket.once("drain", () => resume(Effect.void))
  })

/** The reader of a stream asks for nothing else: the end of its side is its own. */
const gone = (socket: Socket) =>
  Effect.async<void>((resume) => {
    const done = () => resume(Effect.void)
    if (socket.readableEnded || socket.destroyed) return done()
    socket.once("end", done)
    socket.once("close", done)
  })

/** Writes all of a stream, as fast as the reader takes it. */
const written = (socket: Socket, parts: Stream.Stream<string>) =>
  Stream.runForEach(parts, (part) =>
    Effect.suspend(() => (socket.write(part) ? Effect.void : drained(socket)))
  )

/** Takes requests for the command of this process, until the scope closes. Fails with `ControlError`. */
export const serve = (
  answer: Answer,
  directory = process.cwd(),
  env: Readonly<Record<string, string | undefined>> = process.env
): Effect.Effect<void, ControlError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = yield* Effect.try({
      try: () => {
        const folder = made(folderOf(env))
        sockets(folder)
        return join(folder, `${digest(directory)}-${process.pid}-${++count}.sock`)
      },
      catch: failed
    })
    const fork = Runtime.runFork(yield* Effect.runtime<never>())
    const open = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket)
      let text = ""
      let asked = false
      socket.setEncoding("latin1")
      socket.setTimeout(idle, () => socket.destroy())
      socket.on("error", () => socket.destroy())
      socket.on("close", () => open.delete(socket))
      socket.on("data", (more: string) => {
        if (asked) return
        text += more
        const end = text.indexOf("\n")
        if (end < 0 && text.length <= longest) return
        asked = true
        socket.setTimeout(0)
        const reply = Effect.suspend(() => {
          if (end < 0 || end > longest)
            return Effect.succeed(refusal(`a request is at most ${longest} bytes long`))
          try {
            return answer(JSON.parse(Buffer.from(text.slice(0, end), "latin1").toString()))
          } catch {
            return Effect.succeed(refusal("a request is a line of JSON"))
          }
        })
        fork(
          Effect.flatMap(reply, (value) =>
            typeof value === "string" || value instanceof Uint8Array
              ? Effect.succeed(value)
              : Effect.as(Effect.raceFirst(written(socket, value), gone(socket)), "")
          )
        ).addObserver((exit) => {
          socket.end(Exit.isSuccess(exit) ? exit.value : refusal("the command has ended"))
        })
      })
    })
    server.maxConnections = most
    yield* Effect.acquireRelease(
      Effect.async<void, ControlError>((resume) => {
        server.on("error", (error) => resume(failed(error)))
        server.listen(path, () => resume(Effect.void))
      }),
      () =>
        Effect.async<void>((resume) => {
          // An answer that has been given leaves; all else is cut off.
          for (const socket of open) if (!socket.writableEnded) socket.destroy()
          const timer = setTimeout(() => {
            for (const socket of open) socket.destroy()
          }, atEnd)
          server.close(() => {
            clearTimeout(timer)
            resume(Effect.void)
          })
          fs.rmSync(path, { force: true })
        })
    )
    // Requests do not keep the process alive.
    server.unref()
  })

/** An answer that is an error. */
export const refusal = (message: string): string => JSON.stringify({ error: message })

/** The bytes that the socket answers, as they come. */
const listen = (path: string, request: unknown): Stream.Stream<Buffer, ControlError> =>
  Stream.asyncScoped<Buffer, ControlError>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`))
          socket.on("data", (bytes) => {
            socket.pause()
            void emit.single(bytes).then(() => socket.resume())
          })
          socket.on("error", (error) => void emit.fail(failed(error)))
          socket.on("end", () => void emit.end())
          return socket
        }),
        (socket) => Effect.sync(() => socket.destroy())
      ),
    16
  )

/** The bytes that the socket answers. */
const ask = (path: string, request: unknown): Effect.Effect<Buffer, ControlError> =>
  Effect.async((resume) => {
    const parts: Array<Buffer> = []
    let size = 0
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on("data", (bytes) => {
      parts.push(bytes)
      size += bytes.length
      if (size > longestAnswer) socket.destroy(new Error("the answer is too long"))
    })
    socket.on("error", (error) => resume(failed(error)))
    socket.on("close", () => resume(Effect.succeed(Buffer.concat(parts))))
    return Effect.sync(() => socket.destroy())
  })

interface CallOptions {
  readonly directory?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly pid?: number | undefined
}

const found = ({ directory = process.cwd(), env = process.env, pid }: CallOptions) =>
  Effect.gen(function* () {
    const all = yield* Effect.try({
      try: () => {
        const folder = folderOf(env)
        if (!fs.existsSync(folder)) return []
        check(folder)
        const own = digest(directory)
        return sockets(folder).filter((socket) =>
          pid === undefined ? socket.of === own : socket.pid === pid
        )
      },
      catch: failed
    })
    const [only] = all
    if (only === undefined) {
      const where = pid === undefined ? "in this folder" : `with the pid ${pid}`
      return yield* new ControlError({ message: `nothing runs ${where} that takes requests` })
    }
    if (all.length > 1) {
      const pids = all.map(({ pid }) => pid).join(", ")
      return yield* new ControlError({ message: `several run in this folder (${pids}); name one with --pid` })
    }
    return only.path
  })

/**
 * Sends a request to the command that runs in the directory, or to that with the pid, and returns its answer. Fails with
 * `ControlError` when none or more than one runs there.
 */
export const call = (request: unknown, options: CallOptions = {}): Effect.Effect<Buffer, ControlError> =>
  Effect.flatMap(found(options), (path) => ask(path, request))

/** {@link call}, with the answer as it comes, until the command ends it. */
export const follow = (request: unknown, options: CallOptions = {}): Stream.Stream<Buffer, ControlError> =>
  Stream.unwrap(Effect.map(found(options), (path) => listen(path, request)))
