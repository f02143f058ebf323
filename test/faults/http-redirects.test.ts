import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import * as Downloader from "../../src/services/download/Downloader.js"
import { download, ok, send } from "../support/HttpAnswers.js"
import { start } from "../support/ScriptedServer.js"

// Where a redirect may lead, what it takes along, and which addresses a request may not reach.
describe("where a request goes", () => {
  it.each(["file:///etc/passwd", "data:text/plain,x", "ftp://127.0.0.1/x", "javascript:1", "about:blank"])(
    "a redirect to %s is not followed",
    async (location) => {
      const { left, outcome } = await download([send("302 Found", [`Location: ${location}`])])
      expect([outcome, left]).toEqual([
        `redirect: redirected to ${location.split(":")[0]}:, which is not http or https`,
        []
      ])
    }
  )

  it.each([
    ["there and back", (there: number) => `http://127.0.0.1:${there}/back`],
    ["to another port", (there: number) => `http://127.0.0.1:${there}/`],
    ["to another name of the machine", (_: number, here: number) => `http://localhost:${here}/end`],
    ["to another host, by backslashes", (there: number) => `\\\\127.0.0.1:${there}\\end`]
  ])("a redirect %s takes no secret along", async (_title, location) => {
    let here = 0
    const there = await start(({ path }) =>
      path === "/back" ? send("302 Found", [`Location: http://127.0.0.1:${here}/end`]) : ok([])
    )
    const first = await start(({ path }) =>
      path === "/f" ? send("302 Found", [`Location: ${location(there.port, here)}`]) : ok([])
    )
    here = first.port
    const url = new URL(first.url("/f"))
    const run = Effect.gen(function* () {
      const session = yield* (yield* Downloader.Downloader).open()
      return yield* Downloader.fetch(session, { url, headers: { Authorization: "Bearer t", Cookie: "c=1" } })
    })
    await Effect.runPromise(run.pipe(Effect.scoped, Effect.provide(Downloader.layer)))
    expect(first.requests[0]!.headers).toMatchObject({ authorization: "Bearer t", cookie: "c=1" })
    const others = [
      ...there.requests,
      ...first.requests.filter(({ headers }) => headers["host"] !== url.host)
    ]
    expect(others.length).toBe(1)
    for (const { headers } of others)
      expect([headers["authorization"], headers["cookie"]]).toEqual([undefined, undefined])
    await Promise.all([first.close(), there.close()])
  })

  describe("addresses that are not public", () => {
    it.each([
      ...[
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::8.8.8.8]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]"
      ],
      ...[
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[100::1]",
        "[100:0:0:1::1]"
      ],
      ...[
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[5f00::1]",
        "[4000::1]",
        "[1::1]",
        "[2001:10::1]",
        "[2001:20::1]"
      ],
      ...[
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "169.254.1.1",
        "172.16.0.1",
        "192.0.0.1"
      ],
      ...[
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1"
      ],
      ...["255.255.255.255", "１２７.0.0.1", "127.0.0.1."]
    ])("%s", async (host) => {
      const { outcome } = await download([ok([])], {
        url: new URL(`http://${host}:9/`),
        session: { denyPrivate: true }
      })
      expect(outcome).toMatch(/^private-address: /)
    })
  })
})
