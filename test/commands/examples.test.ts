import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as App from "../../src/commands/App.js"
import type * as Command from "../../src/commands/kernel/Command.js"
import { type Concept, concepts } from "../../src/manifest.js"
import * as Aio from "../support/Aio.js"

// The examples of --help, as a person would run them: in a shell, in a folder with these files.

const files: Readonly<Record<string, string>> = {
  "lines.txt": "one\ntwo\nthree\n",
  "commands.txt": "echo one\necho two\n",
  crontab: "30 2 * * * echo backup\n",
  "records.ndjson": "1\n2\n3\n",
  "upper.ts": "export default (line: string) => line.toUpperCase()\n",
  "square.ts": "export const square = (text: string) => Number(text) ** 2\n",
  "hello.ts": 'import * as Effect from "effect/Effect"\n\nexport default Effect.log("hello")\n',
  Procfile: "one: sleep 0.1\ntwo: echo two\n",
  "urls.txt": "http://example.org/a\nhttp://example.org/b\n",
  "tsconfig.json": '{ "extends": "../../tsconfig.json", "include": ["*.ts"] }\n'
}

/** The subcommands below a command, too. */
const examplesOf = ({ children, description }: Command.Command<never>): ReadonlyArray<string> => [
  ...(description.examples ?? []).map(([line]) => line),
  ...children.flatMap(examplesOf)
]

describe("the examples of --help", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url))
  const folders: Array<string> = []
  let proxy: Server
  beforeAll(async () => {
    // Answers for example.org, as a proxy.
    proxy = createServer((request, response) => {
      response.setHeader("content-length", "6")
      response.end(request.url?.startsWith("http://example.org/") === true ? "a body" : "wrong!")
    })
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve))
  })
  afterAll(() => {
    proxy.closeAllConnections()
    proxy.close()
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })

  const run = (line: string) => {
    // In the project, so that the files find `effect`.
    mkdirSync(join(root, "dist"), { recursive: true })
    const cwd = mkdtempSync(join(root, "dist/examples-"))
    folders.push(cwd)
    for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text)
    const script = `aio() { '${process.execPath}' '${Aio.command}' "$@"; }; aio ${line.replaceAll("https://", "http://")}`
    const child = spawn("sh", ["-c", script], {
      cwd,
      env: {
        PATH: process.env["PATH"],
        HOME: cwd,
        http_proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
      },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true
    })
    let output = ""
    let served = false
    const add = (text: string) => {
      output += text
      // A server or a runner runs until it is asked to end.
      if (served || !/^listening on |^runner \S+ of group /m.test(output)) return
      served = true
      process.kill(-child.pid!, "SIGTERM")
    }
    child.stdout.setEncoding("utf8").on("data", add)
    child.stderr.setEncoding("utf8").on("data", add)
    return new Promise<readonly [line: string, code: number | null, output: string]>((resolve) =>
      child.on("close", (code) => resolve([line, served ? (code ?? 143) % 143 : code, output]))
    )
  }

  it.each(App.app.entries.map(({ name }) => name))(
    "of aio %s succeed",
    { timeout: 120_000 },
    async (name) => {
      const command = await App.app.entries.find((entry) => entry.name === name)!.load()
      const lines = examplesOf(command as Command.Command<never>)
      expect(lines.length).toBeGreaterThan(0)
      for (const line of lines) expect(line.split(" ")[0]).toBe(name)
      // Most wait rather than work; servers have one port by default.
      const concurrency = name === "server" || name === "network" ? 1 : 4
      const ended = await Effect.runPromise(
        Effect.forEach(lines, (line) => Effect.promise(() => run(line)), { concurrency })
      )
      for (const [line, code, output] of ended) expect([line, code], output).toEqual([line, 0])
    }
  )
})

describe("aio guide --run", () => {
  it("runs the example of each concept", { timeout: 60_000 }, async () => {
    const { code, stderr, stdout } = await Aio.run(["guide", "--run"])
    expect(code, stderr).toBe(0)
    for (const { exampleArgs = [], name } of concepts as ReadonlyArray<Concept>)
      expect(stdout).toContain(`$ ${["aio", name, ...exampleArgs].join(" ")}\n`)
  })
})
