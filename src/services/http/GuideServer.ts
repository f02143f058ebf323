import type { AddressInfo } from "node:net"
import { Context, Effect, Layer } from "effect"
import { nativeImport } from "../source/NativeImport.js"

/** The pages that the guide's programs download, as the embedded server has them. Order of arrival is list order. */
export const pages = [
  { url: "https://www.google.com", size: 16_384 },
  { url: "https://www.facebook.com", size: 32_768 },
  { url: "https://www.twitter.com", size: 8_192 },
  { url: "https://www.stackoverflow.com", size: 65_536 }
] as const

/** Stands in for the internet where there is none: serves the guide's pages on loopback. */
export class GuideServer extends Context.Tag("effect-asyncio/services/GuideServer")<
  GuideServer,
  {
    /** `http://127.0.0.1:PORT`; the page of `https://HOST` is at `/HOST`. */
    readonly origin: string
  }
>() {}

const between = 40 // ms from one page's answer to the next one's

/** A node:http server on a free port, closed with its scope. */
export const layer: Layer.Layer<GuideServer> = Layer.scoped(
  GuideServer,
  Effect.gen(function* () {
    // Only here: every command that downloads or gathers imports this, and this is 3 ms of its start.
    const http = (yield* Effect.promise(() => nativeImport("node:http"))) as typeof import("node:http")
    const server = http.createServer((request, response) => {
      const host =
        request.headers.host?.startsWith("127.") === false ? request.headers.host : request.url?.slice(1)
      const index = pages.findIndex(({ url }) => url === `https://${host}`)
      const page = pages[index]
      if (page === undefined) {
        response.writeHead(404).end()
        return
      }
      const answer = setTimeout(() => response.end("x".repeat(page.size)), between * (index + 1))
      response.on("close", () => clearTimeout(answer))
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    const { port } = server.address() as AddressInfo
    return { origin: `http://127.0.0.1:${port}` }
  })
)
