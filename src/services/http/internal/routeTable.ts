import type * as HttpRouter from "@effect/platform/HttpRouter"
import { Chunk } from "effect"

// The routes of an HttpRouter by the segments of their paths. The router itself finds a route within the fiber of the
// request, with a copy of the context and two changes of a FiberRef: a small answer then takes 1.4 times as long
// (`npm run bench -- server`, `router`). What this table finds is what the router would find; the rest is left to the
// router: a path that is not plain, a route that is not plain, and what has no route.

type Route = HttpRouter.Route<any, any>

/** A route with what a path has for its parameters, and the query. */
export interface Found<A> {
  readonly leaf: A
  readonly params: Readonly<Record<string, string | undefined>>
  readonly searchParams: Readonly<Record<string, string | Array<string>>>
}

interface Leaf<A> {
  readonly names: ReadonlyArray<string>
  readonly leaf: A
}

interface Node<A> {
  readonly literals: Map<string, Node<A>>
  parameter: Node<A> | undefined
  leaf: Leaf<A> | undefined
  /** Of `/*` beneath it. */
  rest: Leaf<A> | undefined
}

const node = <A>(): Node<A> => ({
  literals: new Map(),
  parameter: undefined,
  leaf: undefined,
  rest: undefined
})

const methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]

const plainRoute = /^\/(?:(?::\w+|[\w.~-]+)(?:\/(?::\w+|[\w.~-]+))*(?:\/\*)?|\*)?$/

/** No escapes, no empty segments and none that is too long for a parameter, no end of a path but `?`. */
const plainUrl = /^\/(?:[\w.~-]{1,100}(?:\/[\w.~-]{1,100})*)?(?:\?[\w.~=&-]*)?$/

const query = (text: string): Found<never>["searchParams"] => {
  const params: Record<string, string | Array<string>> = Object.create(null)
  if (text === "") return params
  for (const pair of text.split("&")) {
    if (pair === "") continue
    const [key, value] = splitAt(pair, pair.indexOf("="))
    const before = params[key]
    if (before === undefined) params[key] = value
    else if (typeof before === "string") params[key] = [before, value]
    else before.push(value)
  }
  return params
}

/** The text before and after a position; all of it where the position is -1. */
const splitAt = (text: string, at: number): readonly [string, string] =>
  at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)]

/** A literal before a parameter before the rest, as the router does it. */
const walk = <A>(
  { leaf, literals, parameter, rest }: Node<A>,
  segments: ReadonlyArray<string>,
  at: number,
  values: Array<string>
): Leaf<A> | undefined => {
  if (at === segments.length) return leaf
  const segment = segments[at]!
  const literal = literals.get(segment.toLowerCase())
  const found = literal && walk(literal, segments, at + 1, values)
  if (found !== undefined) return found
  if (parameter !== undefined) {
    values.push(segment)
    const found = walk(parameter, segments, at + 1, values)
    if (found !== undefined) return found
    values.pop()
  }
  if (rest !== undefined) values.push(segments.slice(at).join("/"))
  return rest
}

/** Adds a route to the tree of one method. */
const add = <A>(root: Node<A>, path: string, leaf: A): void => {
  const names: Array<string> = []
  let at = root
  for (const segment of path === "/" ? [] : path.slice(1).split("/")) {
    if (segment === "*") {
      at.rest = { names: [...names, "*"], leaf }
      return
    }
    if (segment.startsWith(":")) {
      names.push(segment.slice(1))
      at.parameter ??= node()
      at = at.parameter
    } else {
      const literal = segment.toLowerCase()
      const next = at.literals.get(literal) ?? node()
      at.literals.set(literal, next)
      at = next
    }
  }
  at.leaf = { names, leaf }
}

/**
 * The function that finds the route of a request; undefined for a router with mounts, or with a route that is more than
 * literals, parameters and a rest. `leafOf` is called once for each route.
 */
export const make = <A>(
  { mounts, routes }: HttpRouter.HttpRouter<any, any>,
  leafOf: (route: Route) => A
): ((method: string, url: string) => Found<A> | undefined) | undefined => {
  if (!Chunk.isEmpty(mounts)) return undefined
  const roots = new Map<string, Node<A>>()
  const seen = new Set<string>()
  for (const route of routes) {
    const { method, path, uninterruptible } = route
    if (uninterruptible || (path !== "*" && !plainRoute.test(path))) return undefined
    const leaf = leafOf(route)
    for (const each of method === "*" ? methods : [method]) {
      const root = roots.get(each) ?? node()
      roots.set(each, root)
      // The router dies of two routes for the same paths.
      const same = `${each} ${path === "*" ? "/*" : path.replace(/:\w+/g, ":").toLowerCase()}`
      if (seen.has(same)) return undefined
      seen.add(same)
      // `*` is for what has no other route.
      if (path !== "*") add(root, path, leaf)
    }
  }
  return (method, url) => {
    // HEAD is for the route of GET where no route is for HEAD.
    const root = roots.get(method) ?? (method === "HEAD" ? roots.get("GET") : undefined)
    if (root === undefined || !plainUrl.test(url)) return undefined
    const [path, text] = splitAt(url, url.indexOf("?"))
    const values: Array<string> = []
    const found = walk(root, path === "/" ? [] : path.slice(1).split("/"), 0, values)
    if (found === undefined) return undefined
    const params: Record<string, string> = {}
    for (let i = 0; i < found.names.length; i++) params[found.names[i]!] = values[i]!
    return { leaf: found.leaf, params, searchParams: query(text) }
  }
}
