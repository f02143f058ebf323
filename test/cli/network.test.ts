import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Events from "../../src/services/host/Events.js"
import * as Aio from "../support/Aio.js"
import { run } from "../support/InProcess.js"

const network = (args: ReadonlyArray<string>, env?: Record<string, string>) =>
  run(["network", ...args], env === undefined ? {} : { env })

describe("aio network", () => {
  // A port that refuses connections, and a server that never answers.
  const silent = createServer(() => undefined)
  let hanging = 0
  let closed = 0
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "aio-network-"))
    const listen = (server: typeof silent) =>
      new Promise<number>((resolve) =>
        server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port))
      )
    hanging = await listen(silent)
    const other = createServer()
    closed = await listen(other)
    await new Promise((resolve) => other.close(resolve))
  })
  afterAll(() => {
    silent.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it("shows the page whole when a neighbour is slow and another fails, with the reasons, and exits with 1", async () => {
    const { code, stderr, stdout } = await network([
      "--slow",
      "database=10s",
      "--timeout",
      "2s",
      "--fail",
      "cache=READONLY",
      "--fail",
      "chat",
      "--retries",
      "0"
    ])
    const said = stdout.split("\n").map((line) => line.replace(/^(\w+) +\d[\d.]* m?s {2}/, "$1 "))
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
    expect(said.slice(0, 6)).toEqual([
      "database unavailable: no answer within 2.0 s",
      "cache unavailable: READONLY",
      "oauth aio, may read and write",
      "storage 2 files, 50 KiB",
      "drive 4 documents",
      "chat unavailable: failed on request"
    ])
  })

  it("prints the events of its schema with --json", async () => {
    const { code, stdout } = await network([
      "--json",
      "--slow",
      "database=1s",
      "--timeout",
      "300ms",
      "--fail",
      "cache",
      "--retries",
      "0"
    ])
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    for (const event of events) expect(Schema.is(Events.Network)(event)).toBe(true)
    expect(code).toBe(1)
    expect(events[0]).toMatchObject({
      name: "database",
      status: "timed_out",
      reason: "no answer within 300 ms"
    })
    expect(events[1]).toMatchObject({ name: "cache", status: "failed", reason: "failed on request" })
    expect(events.at(-1)).toMatchObject({ event: "summary", exitCode: 1 })
  })

  it("with --on-failure cancel there is no page", async () => {
    expect(await network(["--fail", "storage=SlowDown", "--retries", "0", "--on-failure", "cancel"])).toEqual(
      {
        code: 1,
        signal: null,
        stdout: "",
        stderr: "storage is unavailable: SlowDown\n"
      }
    )
  })

  it("shows an empty page for another user, and keeps an SQLite file and a folder between runs", async () => {
    const env = { DATABASE_URL: `file:${join(folder, "a.sqlite")}`, STORAGE_DIR: join(folder, "files") }
    const first = await network(["--demo-content", "--timeout", "30s"], env)
    expect(first.code, first.stderr).toBe(0)
    const second = await network(["--timeout", "30s"], env)
    expect(second.stdout).toMatch(/3 orders\n[\s\S]*2 files, 50 KiB/)
    const bob = await network(["--user", "bob", "--timeout", "30s"], env)
    expect(bob.stdout).toMatch(/ 0 orders\n[\s\S]* 0 visits\n[\s\S]* 0 files, 0 B\n[\s\S]* 0 documents\n/)
  })

  it("checks each neighbour: reachable or not, how configured, and no secret is printed", async () => {
    const fine = await network(["check"])
    expect(fine).toEqual({
      code: 0,
      signal: null,
      stderr: "",
      stdout: [
        "database  reachable  (SQLite in a temporary file)",
        "cache     reachable  (in memory)",
        "oauth     reachable  (an issuer in this process)",
        "storage   reachable  (a temporary folder)",
        "api       reachable  (in this process)",
        ""
      ].join("\n")
    })
    const { code, stderr, stdout } = await network(["check", "--timeout", "30s"], {
      DATABASE_URL: `postgres://app:s3cret@127.0.0.1:${closed}/shop?password=s3cret`,
      REDIS_URL: `redis://app:s3cret@127.0.0.1:${closed}/0`,
      OAUTH_ISSUER: `http://127.0.0.1:${closed}`,
      OAUTH_CLIENT_ID: "app",
      OAUTH_CLIENT_SECRET: "s3cret",
      S3_ENDPOINT: `http://127.0.0.1:${closed}`,
      S3_BUCKET: "files",
      S3_ACCESS_KEY_ID: "s3cret",
      S3_SECRET_ACCESS_KEY: "s3cret",
      API_URL: `http://127.0.0.1:${closed}/v1?token=s3cret`,
      API_TOKEN: "s3cret"
    })
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
    expect(stdout).not.toContain("s3cret")
    expect(stdout.split("\n").slice(0, 5)).toEqual([
      `database  unreachable: connection refused  (PostgreSQL, postgres://app@127.0.0.1:${closed}/shop)`,
      `cache     unreachable: no connection to the server  (Redis, redis://app@127.0.0.1:${closed}/0)`,
      `oauth     unreachable: connection refused  (OpenID Connect, http://127.0.0.1:${closed}/, client app)`,
      `storage   unreachable: connection refused  (S3, http://127.0.0.1:${closed}/, bucket files)`,
      `api       unreachable: connection refused  (HTTP, http://127.0.0.1:${closed}/v1)`
    ])
  })

  it("checks within the timeout", async () => {
    const { code, stdout } = await network(["check", "--timeout", "300ms"], {
      DATABASE_URL: `postgres://app@127.0.0.1:${hanging}/shop`
    })
    expect(code).toBe(1)
    expect(stdout).toContain("database  unreachable: no answer within 300 ms")
  })

  it("shows the page without the neighbours that are down", async () => {
    const { code, stdout } = await network(["--timeout", "10s"], {
      DATABASE_URL: `postgres://app@127.0.0.1:${closed}/shop`,
      API_URL: `http://127.0.0.1:${closed}`
    })
    expect(code).toBe(1)
    expect(stdout.match(/unavailable: connection refused/g)).toHaveLength(3)
    expect(stdout).toContain("41 visits")
  })

  it.each<[Record<string, string>, string]>([
    [
      { DATABASE_URL: "mysql://s3cret" },
      "DATABASE_URL: is not a URL like postgres://user@host/database or file:data.sqlite"
    ],
    [{ REDIS_URL: "s3cret" }, "REDIS_URL: is not a URL like redis://host:6379/0"],
    [{ OAUTH_ISSUER: "ftp://s3cret" }, "OAUTH_ISSUER: is not a URL like https://issuer.example.org"],
    [{ OAUTH_ISSUER: "https://a" }, "OAUTH_CLIENT_ID: is not set; OAUTH_ISSUER needs it"],
    [{ S3_ENDPOINT: "s3cret" }, "S3_ENDPOINT: is not a URL like https://s3.example.org"],
    [
      { S3_ENDPOINT: "https://a", S3_ACCESS_KEY_ID: "s3cret" },
      "S3_SECRET_ACCESS_KEY: is not set; S3_ENDPOINT needs it"
    ],
    [{ API_URL: "s3cret" }, "API_URL: is not a URL like https://api.example.org/v1"]
  ])("refuses the settings %j with one line and 2", async (env, message) => {
    expect(await network([], env)).toEqual({ code: 2, signal: null, stdout: "", stderr: `${message}\n` })
  })

  it.each([
    [["--timeout", "soon"]],
    [["--on-failure", "ignore"]],
    [["--slow", "database"]],
    [["--slow", "databse=1s"]],
    [["--fail", "=x"]],
    [["--hedge", "-1"]],
    [["check", "--user", "ada"]]
  ])("refuses %j with one line and 2", async (args) => {
    const { code, stderr, stdout } = await network(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
    expect(stderr).toMatch(/^aio network[^\n]*: [^\n]+\n$/)
  })

  it("refuses a user that cannot be part of a path, with one line and 2", async () => {
    const { code, stderr, stdout } = await network(["--user", "../bob"])
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
    expect(stderr).toMatch(/^'\.\.\/bob' is not a user; expected [^\n]+\n$/)
  })

  // Code from V8's cache has no `import()` of its own: the second run is such code.
  it.each(["first", "second"])("imports the packages of all clients, built: %s run", async () => {
    const at = `127.0.0.1:${closed}`
    const { code, stderr, stdout } = await Aio.run(["network", "check", "--timeout", "20s"], {
      env: {
        DATABASE_URL: `postgres://${at}/x`,
        REDIS_URL: `redis://${at}`,
        OAUTH_ISSUER: `http://${at}`,
        OAUTH_CLIENT_ID: "a",
        OAUTH_CLIENT_SECRET: "b",
        S3_ENDPOINT: `http://${at}`,
        S3_BUCKET: "x",
        S3_ACCESS_KEY_ID: "a",
        S3_SECRET_ACCESS_KEY: "b",
        API_URL: `http://${at}/`
      }
    })
    expect([code, stderr]).toEqual([1, ""])
    expect(stdout.match(/^\w+ +unreachable: /gm)?.length, stdout).toBe(5)
  })
})
