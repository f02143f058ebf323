import type * as HttpMethod from "@effect/platform/HttpMethod"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Option } from "effect"
import * as RouteTable from "../../../src/services/http/internal/routeTable.js"

type Found = { readonly path: string; readonly params: object; readonly searchParams: object }

/** What the router itself finds. */
const byRouter = (
  routes: ReadonlyArray<HttpRouter.Route<never, any>>,
  request: { readonly method: string; readonly url: string }
): Found | "none" | "no router" => {
  let found: Found | undefined
  const handler = Effect.map(
    Effect.all([HttpRouter.RouteContext, HttpServerRequest.ParsedSearchParams]),
    ([{ params, route }, searchParams]) => {
      found = { path: route.path, params, searchParams }
      return HttpServerResponse.empty()
    }
  )
  const router = HttpRouter.fromIterable(
    routes.map((route) => HttpRouter.makeRoute(route.method, route.path, handler))
  )
  const exit = Effect.runSyncExit(
    Effect.provideService(Effect.asVoid(router), HttpServerRequest.HttpServerRequest, request as never)
  )
  if (exit._tag === "Failure") return exit.cause._tag === "Die" ? "no router" : "none"
  return found!
}

const plain = ({ params, path, searchParams }: Found) => ({
  path,
  params: { ...params },
  searchParams: { ...searchParams }
})

const name = fc.constantFrom("a", "b", "A", "ab", "a-b", "b.c", "~")
const segment = fc.oneof(
  { weight: 3, arbitrary: name },
  { weight: 2, arbitrary: fc.constantFrom(":x", ":y") }
)
const pathOf = (segments: ReadonlyArray<string>) => `/${segments.join("/")}` as HttpRouter.PathInput
const plainPath = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.boolean())
  .map(([segments, rest]) => pathOf(rest ? [...segments, "*"] : segments))
const oddPath = fc.constantFrom<HttpRouter.PathInput>(
  "/a/:x?",
  "/:x(\\d+)",
  "/:x-:y",
  "/a/",
  "//a",
  "/a::b",
  "/a b"
)
const route = (path: fc.Arbitrary<HttpRouter.PathInput>) =>
  fc
    .tuple(fc.constantFrom<HttpMethod.HttpMethod | "*">("GET", "GET", "POST", "HEAD", "*"), path)
    .map(([method, path]) => HttpRouter.makeRoute(method, path, HttpServerResponse.empty()))
const plainRoutes = fc.array(
  route(fc.oneof({ weight: 9, arbitrary: plainPath }, fc.constant("*" as const))),
  {
    maxLength: 6
  }
)
const routes = fc.oneof(
  { weight: 5, arbitrary: plainRoutes },
  fc.tuple(plainRoutes, route(oddPath)).map(([routes, odd]) => [...routes, odd])
)

const given = fc.oneof(
  { weight: 8, arbitrary: name },
  fc.constantFrom("", "%41", "%2F", "é", "a+b", "a;b", "a#b", "x".repeat(100), "x".repeat(101), "__proto__")
)
const pair = fc.constantFrom(
  "a=1",
  "a=2",
  "b",
  "b=",
  "=c",
  "",
  "a=1=2",
  "__proto__=1",
  "c=+",
  "c=%41",
  "d=~.-_"
)
const request = fc.record({
  method: fc.constantFrom("GET", "GET", "GET", "POST", "HEAD", "PUT", "PROPFIND"),
  url: fc
    .tuple(fc.array(given, { maxLength: 4 }), fc.option(fc.array(pair, { maxLength: 3 })))
    .map(([segments, pairs]) => pathOf(segments) + (pairs === null ? "" : `?${pairs.join("&")}`))
})

describe("routeTable", () => {
  it("finds the route that the router finds, with its parameters and its query, or leaves it to the router", () => {
    let found = 0
    fc.assert(
      fc.property(routes, request, (routes, request) => {
        const table = RouteTable.make(HttpRouter.fromIterable(routes), ({ path }) => path)
        const ours = table?.(request.method, request.url)
        const router = byRouter(routes, request)
        if (ours !== undefined) {
          found++
          expect(router).not.toBeTypeOf("string")
          expect(plain({ ...ours, path: ours.leaf })).toEqual(plain(router as Found))
          expect(Object.getPrototypeOf(ours.params)).toBe(Object.prototype)
        }
      }),
      { numRuns: 2000 }
    )
    expect(found).toBeGreaterThan(50)
  })

  it("finds what is plain", () => {
    const paths = ["/", "/users", "/users/:id", "/users/me", "/Files/*", "/:any/x"] as const
    const table = RouteTable.make(
      HttpRouter.fromIterable(
        paths.map((path) => HttpRouter.makeRoute("GET", path, HttpServerResponse.empty()))
      ),
      ({ path }) => path
    )!
    const find = (url: string, method = "GET") =>
      Option.getOrUndefined(
        Option.map(Option.fromNullable(table(method, url)), ({ leaf, params }) => [leaf, params])
      )
    expect(find("/")).toEqual(["/", {}])
    expect(find("/users?x=1")).toEqual(["/users", {}])
    expect(find("/users/7", "HEAD")).toEqual(["/users/:id", { id: "7" }])
    expect(find("/USERS/Me")).toEqual(["/users/me", {}])
    expect(find("/users/x")).toEqual(["/users/:id", { id: "x" }])
    expect(find("/files/a/B")).toEqual(["/Files/*", { "*": "a/B" }])
    expect(find("/other/x")).toEqual(["/:any/x", { any: "other" }])
    expect(find("/users", "POST")).toBeUndefined()
    expect(find("/users/")).toBeUndefined()
  })
})
