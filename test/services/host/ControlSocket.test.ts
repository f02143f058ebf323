import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ControlSocket from "../../../src/services/host/ControlSocket.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "aio-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** The bytes that a socket answers to these. */
const raw = (path: string, bytes: string) =>
  Effect.async<string>((resume) => {
    let text = ""
    const socket = connect(path, () => socket.write(bytes))
    socket.on("data", (more) => {
      text += more
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resume(Effect.succeed(text)))
  })

describe("ControlSocket", () => {
  const setting = Effect.gen(function* () {
    const root = yield* folder
    const [directory, other] = [join(root, "a"), join(root, "b")]
    mkdirSync(directory)
    mkdirSync(other)
    const env = { XDG_RUNTIME_DIR: root }
    return { root, directory, other, env, own: join(root, "effect-asyncio") }
  })
  const echo = (request: unknown) => Effect.succeed(JSON.stringify({ told: request }))

  it.scopedLive("answers requests of the same folder, from a folder that is closed to others", () =>
    Effect.gen(function* () {
      const { directory, env, other, own } = yield* setting
      yield* ControlSocket.serve(echo, directory, env)
      const answer = yield* ControlSocket.call({ verb: "status" }, { directory, env })
      assert.strictEqual(answer.toString(), '{"told":{"verb":"status"}}')
      assert.strictEqual(statSync(own).mode & 0o777, 0o700)
      const none = yield* Effect.flip(ControlSocket.call({}, { directory: other, env }))
      assert.strictEqual(none.message, "nothing runs in this folder that takes requests")
      const byPid = yield* ControlSocket.call(1, { directory: other, env, pid: process.pid })
      assert.strictEqual(byPid.toString(), '{"told":1}')
      yield* ControlSocket.serve(echo, directory, env)
      const several = yield* Effect.flip(ControlSocket.call({}, { directory, env }))
      assert.match(several.message, /^several run in this folder \(\d+, \d+\); name one with --pid$/)
    })
  )

  it.scopedLive("removes its socket at the end, and those of processes that are gone", () =>
    Effect.gen(function* () {
      const { directory, env, own } = yield* setting
      yield* Effect.scoped(ControlSocket.serve(echo, directory, env))
      assert.deepStrictEqual(readdirSync(own), [])
      writeFileSync(join(own, "0123456789abcdef-4194305-1.sock"), "")
      writeFileSync(join(own, "notes.txt"), "")
      yield* Effect.flip(ControlSocket.call({}, { directory, env }))
      assert.deepStrictEqual(readdirSync(own), ["notes.txt"])
    })
  )

  it.scopedLive("uses no folder that another user could have made or may enter", () =>
    Effect.gen(function* () {
      const { directory, env, other, own } = yield* setting
      mkdirSync(own)
      chmodSync(own, 0o755)
      const open = yield* Effect.flip(ControlSocket.serve(echo, directory, env))
      assert.strictEqual(open.message, `${own} is open to other users; expected mode 700`)
      assert.strictEqual(
        (yield* Effect.flip(ControlSocket.call({}, { directory, env }))).message,
        open.message
      )
      rmSync(own, { recursive: true })
      symlinkSync(other, own)
      const link = yield* Effect.flip(ControlSocket.serve(echo, directory, env))
      assert.strictEqual(link.message, `${own} is not a folder`)
      assert.isTrue(existsSync(own))
    })
  )

  it.scopedLive("bounds a request, and survives bytes that are not one", () =>
    Effect.gen(function* () {
      const { directory, env, own } = yield* setting
      yield* ControlSocket.serve(echo, directory, env)
      const [name = ""] = readdirSync(own)
      const path = join(own, name)
      assert.strictEqual(
        yield* raw(path, "x".repeat(5000)),
        '{"error":"a request is at most 4096 bytes long"}'
      )
      assert.strictEqual(yield* raw(path, "{\n"), '{"error":"a request is a line of JSON"}')
      assert.strictEqual(yield* raw(path, "1\n2\n"), '{"told":1}')
    })
  )
})
