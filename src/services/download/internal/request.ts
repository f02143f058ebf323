import type { Request } from "../Download.js"
import { Failure } from "./failure.js"

// The headers of a GET, and the target of a redirect.

/** Headers that are sent only to the origin of the request's own URL. */
const secrets = new Set(["authorization", "cookie", "proxy-authorization"])

const textDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** A request for the rest of a file, if it is still of this version. */
export interface Rest {
  readonly offset: number
  readonly validator: string
}

/** The headers of a request, whose URL `url` may be that of a redirect. */
export const headersFor = (request: Request, url: URL, rest: Rest | undefined): Record<string, string> => {
  const headers: Record<string, string> = {
    "user-agent": "aio",
    accept: "*/*",
    "accept-encoding": request.target === undefined ? "gzip, deflate, br" : "identity"
  }
  if (url.username !== "" || url.password !== "") {
    const user = `${textDecoded(url.username)}:${textDecoded(url.password)}`
    headers["authorization"] = `Basic ${Buffer.from(user).toString("base64")}`
  }
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const key = name.toLowerCase()
    if (url.origin === request.url.origin || !secrets.has(key)) headers[key] = value
  }
  if (rest !== undefined) {
    headers["range"] = `bytes=${rest.offset}-`
    headers["if-range"] = rest.validator
  }
  return headers
}

/** The target of a redirect; throws if it may not be followed. User and password are kept within an origin. */
export const redirected = (url: URL, location: string | undefined, status: number): URL => {
  if (location === undefined)
    throw new Failure("redirect", `HTTP ${status} without a Location`, false, { status })
  if (!URL.canParse(location, url.href))
    throw new Failure("redirect", `redirected to '${location}', which is not a URL`, false)
  const next = new URL(location, url.href)
  if (next.protocol !== "http:" && next.protocol !== "https:") {
    throw new Failure("redirect", `redirected to ${next.protocol}, which is not http or https`, false)
  }
  if (url.protocol === "https:" && next.protocol === "http:") {
    throw new Failure("redirect", `redirected from https down to ${next.origin}`, false)
  }
  if (next.origin === url.origin && next.username === "") {
    next.username = url.username
    next.password = url.password
  }
  return next
}
