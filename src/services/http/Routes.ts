import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Chunk, Effect } from "effect"

// `/files/:id` and `/static/*` of HttpRouter.
const matches = (pattern: string, path: string): boolean => {
  const wanted = pattern.split("/")
  const given = path.split("/")
  for (const [at, part] of wanted.entries()) {
    if (part === "*") return true
    if (given[at] === undefined || (part !== given[at] && !(part.startsWith(":") && given[at] !== "")))
      return false
  }
  return wanted.length === given.length
}

/**
 * Answers what the router has no route for: 404 with the list of its paths, or 405 with `Allow` if the path has a route for
 * another method. `mounted` are the apps that the router mounts: their paths are not listed.
 *
 * @since 0.1.0
 * @category middleware
 */
export const orListed = <E, R>(
  router: HttpRouter.HttpRouter<E, R>
): HttpApp.Default<Exclude<E, HttpServerError.RouteNotFound>, R> => {
  const routes = Chunk.toReadonlyArray(router.routes)
  const list = [...new Set(routes.map(({ path }) => path))]
  return Effect.catchIf(
    router,
    (error): error is Extract<typeof error, HttpServerError.RouteNotFound> =>
      HttpServerError.isServerError(error) && error._tag === "RouteNotFound",
    ({ request }) => {
      const path = request.url.split("?", 1)[0]!
      const methods = routes.filter((route) => matches(route.path, path)).map(({ method }) => method)
      const allow = [...new Set(methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])))]
      return Effect.succeed(
        methods.length > 0
          ? HttpServerResponse.text(`${request.method} is not served here; ${allow.join(", ")} is\n`, {
              status: 405,
              headers: { allow: allow.join(", ") }
            })
          : HttpServerResponse.text(`nothing at ${path}; there are ${list.join(", ")}\n`, { status: 404 })
      )
    }
  ) as HttpApp.Default<Exclude<E, HttpServerError.RouteNotFound>, R>
}
