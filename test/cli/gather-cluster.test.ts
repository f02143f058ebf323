import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { hostname } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Either, Schema } from "effect"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import * as InProcess from "../support/InProcess.js"
import * as Started from "../support/Started.js"

// aio gather --cluster and aio runner --downloads as processes, over SQLite.

let server: Server
let port = 0
const open = new Set<ServerResponse>()
beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url !== "/slow") return response.end(request.url)
    open.add(response)
    response.on("close", () => open.delete(response))
    return response.write("begun")
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  Aio.removeFolders()
})
const starting = Started.starter()
const start = (cwd: string, ...args: ReadonlyArray<string>) => starting(args, { cwd })
const runner = async (cwd: string, ...more: ReadonlyArray<string>) => {
  const running = start(cwd, "runner", "--store", "jobs.sqlite", ...more)
  await running.shows("at once")
  return running
}
const gather = (cwd: string, ...args: ReadonlyArray<string>) =>
  Aio.run(["gather", "--cluster", "jobs.sqlite", ...args], { cwd })

describe("aio gather --cluster", () => {
  it("downloads into the runners' folders, with the lines, events and names of a download here", async () => {
    const cwd = Aio.folder()
    await Promise.all([runner(cwd, "--downloads", "a"), runner(cwd, "--downloads", "b")])
    const [one, two] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`]
    writeFileSync(join(cwd, "urls"), `${one}/1\n${two}/2\tnamed\n${one}/3\n${two}/4\n`)
    const { code, stderr, stdout } = await gather(cwd, "-a", "urls")
    expect([code, stdout.split("\n").length]).toEqual([0, 5])
    expect(stdout).toContain(`Downloaded ${two}/2, size 2\n`)
    expect(stderr).toContain("4 succeeded")
    const folders = ["a", "b"].map((name) => readdirSync(join(cwd, name)))
    expect(folders.sort()).toEqual([
      ["1", "3"],
      ["4", "named"]
    ])
    const json = await gather(cwd, "--json", "--no-clobber", `${one}/1`, `${one}/5`)
    const events = json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    const decode = Schema.decodeUnknownEither(Events.Gather, { onExcessProperty: "error" })
    for (const { schema: _, ...event } of events) {
      expect(Either.mapLeft(decode(event), String)).toEqual(Either.right(event))
    }
    const done = events.filter(({ event }) => event === "finished").sort((a, b) => a.index - b.index)
    expect(done).toMatchObject([
      { status: "skipped", reason: "it already exists" },
      { status: "succeeded", host: hostname(), path: expect.stringMatching(/^\/.*\/[ab]\/5$/) }
    ])
    const same = await gather(cwd, `${one}/1`, `${two}/1`)
    expect([same.code, same.stdout, same.stderr]).toEqual([
      2,
      "",
      expect.stringContaining("another URL is saved as '1' already")
    ])
    expect(readdirSync(cwd).filter((name) => name.startsWith("jobs."))).not.toEqual([])
    expect(existsSync(join(cwd, "1"))).toBe(false)
  })

  it("Ctrl-C ends the transfers on the runner, and nothing of the run is left", async () => {
    const cwd = Aio.folder()
    await runner(cwd, "--downloads", "a")
    const running = start(cwd, "gather", "--cluster", "jobs.sqlite", `http://127.0.0.1:${port}/slow`)
    for (let i = 0; i < 1000 && open.size === 0; i++) await new Promise((done) => setTimeout(done, 10))
    expect(open.size).toBe(1)
    running.kill("SIGINT")
    expect(await running.ended).toMatchObject({ code: 130, stderr: expect.stringContaining("1 cancelled") })
    for (let i = 0; i < 1000 && open.size > 0; i++) await new Promise((done) => setTimeout(done, 10))
    expect(open.size).toBe(0)
    const { stdout } = await Aio.run(["runner", "--store", "jobs.sqlite", "--list"], { cwd })
    expect(stdout).toMatch(/^runner +\S+ +default +\S+ \d+ +\d+ held, \d+ workers, downloads\n$/)
  })

  it("without a runner that allows downloads it ends with one line that names the option", async () => {
    const cwd = Aio.folder()
    await runner(cwd, "--commands")
    const { code, stderr, stdout } = await gather(
      cwd,
      "-q",
      `http://127.0.0.1:${port}/1`,
      `http://127.0.0.1:${port}/2`
    )
    expect([code, stdout, stderr]).toEqual([
      1,
      "",
      "aio gather: no runner of group default can run it: it saves no downloads; start it with aio runner --downloads DIR to allow them\n"
    ])
  })

  it("the commands of docs/cluster.md do as it says", () => {
    const page = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8")
    const [, block = ""] = /\n## Downloads\n+```sh\n([\s\S]*?)```/.exec(page) ?? []
    const cwd = Aio.folder()
    const aio = join(cwd, "aio")
    writeFileSync(aio, `#!/bin/sh\nexec '${process.execPath}' '${Aio.command}' "$@"\n`, { mode: 0o755 })
    const script = `trap 'kill $(jobs -p); wait' EXIT\n${block}`
    // A proxy that answers for example.org, in a process of its own, because this one waits.
    const proxied =
      "require('node:http').createServer((q, r) => r.end('a body')).listen(0, '127.0.0.1', function () { console.log(this.address().port) })"
    const env = { ...process.env, PATH: `${cwd}:${process.env["PATH"]}`, NO_PROXY: "", no_proxy: "" }
    const { stderr, stdout } = spawnSync(
      "bash",
      [
        "-c",
        `exec 3< <(exec '${process.execPath}' -e "$PROXY"); read -r port <&3; export HTTP_PROXY=http://127.0.0.1:$port http_proxy=http://127.0.0.1:$port; proxy=$!\n${script.replaceAll("https://", "http://").replace("kill $(jobs -p)", "kill $(jobs -p) $proxy")}`
      ],
      { cwd, encoding: "utf8", env: { ...env, PROXY: proxied }, timeout: 60_000 }
    )
    expect(stdout.split("\n").sort(), stderr).toEqual([
      "",
      "Downloaded http://example.net/b.iso, size 6",
      "Downloaded http://example.org/a.iso, size 6"
    ])
    expect(readdirSync(join(cwd, "mirror"))).toEqual(["a.iso", "b.iso"])
  })

  it.each([
    [["--group", "g"], "--group applies to --cluster STORE only"],
    [
      ["--cluster", "s", "-d", "x"],
      "--directory is of this machine; with --cluster the runners have it: aio runner --downloads DIR"
    ],
    [
      ["--cluster", "s", "-o", "-"],
      "--output is of this machine; with --cluster a file is named in a list (-a): URL, TAB, name"
    ],
    [["--cluster", "s", "-o", "x"], "--output is of this machine"],
    [["--cluster", "s", "--content-disposition"], "--content-disposition names files as they come"],
    [["--cluster", "s", "--limit-rate", "1M"], "--limit-rate is over the transfers of one machine"],
    [["--cluster", "s", "--cacert", "x"], "--cacert is a file of this machine"],
    [["--cluster", "s", "--group", "a b"], "'a b' is no group"],
    [["--cluster", "none/s"], "there is no folder"]
  ])("%j is refused in one line", async (words, message) => {
    const cwd = Aio.folder()
    const { code, stderr, stdout } = await InProcess.run(["gather", ...words, "http://127.0.0.1:1/a"], {
      cwd
    })
    expect([code, stdout]).toEqual([2, ""])
    expect(stderr).toMatch(/^[^\n]+\n$/)
    expect(stderr).toContain(message)
  })

  it("a runner without a folder for its downloads does not start", async () => {
    const cwd = Aio.folder()
    mkdirSync(join(cwd, "x"))
    writeFileSync(join(cwd, "x/file"), "")
    const { code, stderr } = await Aio.run(["runner", "--store", "s", "--downloads", "x/file"], { cwd })
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/^[^\n]*cannot save in [^\n]*x\/file: [^\n]+\n$/)
    ])
  })
})
