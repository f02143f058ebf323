import type { AddressInfo } from "node:net"
import { Context, Effect, Layer } from "effect"
import { nativeImport } from "../source/NativeImport.js"

/**
 * The pages that the guide's programs download from the embedded server. They arrive in the order of the list.
 *
 * @since 0.1.0
 * @category constants
 */
export const pages = [
  { url: "https://www.google.com", size: 16_384 },
  { url: "https://www.facebook.com", size: 32_768 },
  { url: "https://www.twitter.com", size: 8_192 },
  { url: "https://www.stackoverflow.com", size: 65_536 }
] as const

/**
 * Serves the guide's pages on loopback, in place of the internet.
 *
 * @since 0.1.0
 * @category services
 */
export class GuideServer extends Context.Tag("effect-asyncio/services/GuideServer")<
  GuideServer,
  {
    /** `http://127.0.0.1:PORT`; the page of `https://HOST` is at `/HOST`. */
    readonly origin: string
  }
>() {}

const between = 40 // ms from one page's answer to the next one's

/**
 * A `node:http` server on a free port of 127.0.0.1, closed with its scope. The answer to the nth page takes n times 40 ms.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<GuideServer> = Layer.scoped(
  GuideServer,
  Effect.gen(function* () {
    // Imported here: every command that downloads imports this module, and node:http takes 3 ms of its start.
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
