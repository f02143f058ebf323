import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { type Browser, chromium, type Page } from "playwright-core"
import { app } from "../../src/commands/network/app.js"
import * as Server from "../../src/programs/Server.js"
import * as Output from "../../src/services/host/Output.js"
import * as HttpServerNode from "../../src/services/http/HttpServerNode.js"
import { type Answers, failing, layer } from "../support/Neighbourhood.js"
import { binaries } from "./settings.js"

// The page of `aio network serve` in a browser, with neighbours that answer when the test says so.

const folder = process.env["AIO_SCREENSHOTS"]
let browser: Browser
beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: binaries["chromium"]!,
    // Root has no sandbox.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : []
  })
})
afterAll(() => browser.close())

const serving = (answers: Answers) =>
  Effect.gen(function* () {
    const listening = yield* Deferred.make<string>()
    yield* Effect.forkScoped(
      Server.serve(app(), { onListen: (url) => Deferred.succeed(listening, url) }).pipe(
        Effect.provide(
          Layer.mergeAll(
            Output.layerTest,
            HttpServerNode.layer({ port: 0 }),
            layer(answers, { policy: { retries: 0, deadline: "30 seconds" } })
          )
        )
      )
    )
    return yield* Deferred.await(listening)
  })

/** The page, what it loaded, and what it complained about. */
const opened = (answers: Answers, colorScheme: "dark" | "light" = "light") =>
  Effect.gen(function* () {
    const url = yield* serving(answers)
    const page = yield* Effect.acquireRelease(
      Effect.promise(() => browser.newPage({ colorScheme, viewport: { width: 720, height: 520 } })),
      (page) => Effect.promise(() => page.close())
    )
    const problems: Array<string> = []
    const asked: Array<string> = []
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") problems.push(message.text())
    })
    page.on("pageerror", (error) => problems.push(error.message))
    page.on("request", (request) => asked.push(new URL(request.url()).pathname))
    yield* Effect.promise(() => page.goto(url))
    return { asked, page, problems }
  })

const said = (page: Page, name: string, text: string) =>
  Effect.promise(() => page.locator(`#${name} .text`).getByText(text, { exact: true }).waitFor())
const ended = (page: Page) => Effect.promise(() => page.locator("table[aria-busy=false]").waitFor())
const shot = (page: Page, name: string) =>
  Effect.promise(async () => {
    if (folder !== undefined) await page.screenshot({ path: `${folder}/${name}.png` })
  })

/** Relative luminance of `rgb(…)` or `color(srgb …)`, as of WCAG 2. */
const luminance = (color: string) => {
  const [r, g, b] = (color.match(/\d[\d.]*/g) ?? []).map((text) => {
    const share = Number(text) / (color.startsWith("rgb") ? 255 : 1)
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

describe("the page in a browser", () => {
  it.scopedLive("shows parts as they arrive, then the total, without an error on the console", () =>
    Effect.gen(function* () {
      const chat = yield* Deferred.make<ReadonlyArray<unknown>>()
      const { page, problems } = yield* opened({ chat: Deferred.await(chat) })
      yield* said(page, "database", "0 orders")
      yield* said(page, "chat", "waiting…")
      expect(yield* Effect.promise(() => page.locator("table[aria-busy=true]").count())).toBe(1)
      yield* shot(page, "waiting")
      yield* Deferred.succeed(chat, [{ from: "mary", text: "dinner?" }])
      yield* said(page, "chat", "1 message unread")
      yield* ended(page)
      const state = yield* Effect.promise(() => page.getByRole("status").textContent())
      expect(state).toMatch(/^6 parts in [\d.]+ ms; one after another [\d.]+ ms$/)
      expect(problems).toEqual([])
    })
  )

  it.scopedLive("says in the accessibility tree which part is degraded, and why", () =>
    Effect.gen(function* () {
      const { page, problems } = yield* opened({ database: failing(0, "connection refused") })
      yield* ended(page)
      const tree = yield* Effect.promise(() => page.locator("main").ariaSnapshot())
      expect(tree).toMatch(/row "database [\d.]+ ms unavailable: connection refused"/)
      expect(tree).toMatch(/row "cache [\d.]+ ms 0 visits"/)
      expect(tree).toMatch(/status: "6 parts in [^\n]*, 1 degraded: database"\n/)
      expect(tree).toMatch(/heading "One page from six services" \[level=1\]/)
      expect(problems).toEqual([])
    })
  )

  it.scopedLive("is used with the keyboard alone, and keeps the focus visible where it was", () =>
    Effect.gen(function* () {
      const { asked, page, problems } = yield* opened({})
      yield* ended(page)
      const focused = () => page.evaluate<string>("document.activeElement.tagName")
      const press = (key: string) => Effect.promise(() => page.keyboard.press(key))
      yield* press("Tab")
      expect(yield* Effect.promise(focused)).toBe("INPUT")
      yield* press("Control+A")
      yield* Effect.promise(() => page.keyboard.type("bob"))
      const request = page.waitForRequest((request) => request.url().endsWith("/events/bob"))
      yield* press("Enter")
      yield* Effect.promise(() => request)
      yield* ended(page)
      expect(yield* Effect.promise(focused)).toBe("INPUT")
      yield* press("Tab")
      expect(yield* Effect.promise(focused)).toBe("BUTTON")
      const outline = yield* Effect.promise(() =>
        page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle")
      )
      expect(outline).not.toBe("none")
      expect(asked).toEqual(["/", "/events/ada", "/events/bob"])
      expect(problems).toEqual([])
    })
  )

  it.scopedLive.each(["light", "dark"] as const)("is readable in %s colours", (scheme) =>
    Effect.gen(function* () {
      const { page, problems } = yield* opened({ database: failing(0, "connection refused") }, scheme)
      yield* ended(page)
      yield* shot(page, scheme)
      const colour = (selector: string, property: "backgroundColor" | "color") =>
        Effect.promise(() =>
          page.evaluate<string>(`getComputedStyle(document.querySelector("${selector}")).${property}`)
        )
      const ground = luminance(yield* colour("body", "backgroundColor"))
      for (const one of [
        "h1",
        "#cache .text",
        "#database .text",
        "#database .time",
        "[role=status]",
        "thead th"
      ]) {
        const ink = luminance(yield* colour(one, "color"))
        expect((Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)).toBeGreaterThan(4.5)
      }
      expect(ground < 0.2).toBe(scheme === "dark")
      expect(problems).toEqual([])
    })
  )
})
