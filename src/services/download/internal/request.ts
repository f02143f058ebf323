import type { Request } from "../Download.js"
import { Failure } from "./failure.js"

// The headers of a request, and the target of a redirect.

/** Headers that are sent only to the origin of the request's own URL. */
const secrets = new Set(["authorization", "cookie", "host", "proxy-authorization"])
const ofBody = /^content-/

/** Whether the body is wanted as it is. */
export const isFile = ({ receiver, target }: Request): boolean =>
  target !== undefined || receiver?.asFile === true

/** What is sent: redirects may change it. */
export interface Sent {
  readonly method: string
  readonly body: Request["body"]
}

/** The method and the body after a redirect; throws if the body may not be sent there. */
export const resent = ({ body, method }: Sent, request: Request, next: URL, status: number): Sent => {
  if ((status === 303 && method !== "HEAD") || (status < 303 && method === "POST"))
    return { method: "GET", body: undefined }
  const refuse = (why: string) =>
    new Failure("redirect", `HTTP ${status} to ${next.origin}: ${why}`, false, { status })
  if (body === undefined) return { method, body }
  if (next.origin !== request.url.origin) throw refuse("a body is not sent to another origin")
  if (!(body instanceof Uint8Array)) throw refuse("a streamed body is not sent twice")
  return { method, body }
}

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

/** The given headers, without secrets if the URL is of another origin. */
export const secretsKept = (request: Request, url: URL): Record<string, string> => {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const key = name.toLowerCase()
    if (url.origin === request.url.origin || !(secrets.has(key) || request.secrets?.has(key) === true))
      kept[key] = value
  }
  return kept
}

/** The headers of a request, whose URL `url` may be that of a redirect. */
export const headersFor = (
  request: Request,
  url: URL,
  only: {
    readonly rest: Rest | undefined
    /** Asks for the file only if it is newer than this time. */
    readonly since: number | undefined
  },
  withBody = true
): Record<string, string> => {
  const headers: Record<string, string> = {
    "user-agent": "aio",
    accept: "*/*",
    "accept-encoding": isFile(request) ? "identity" : "gzip, deflate, br"
  }
  if (url.username !== "" || url.password !== "") {
    const user = `${textDecoded(url.username)}:${textDecoded(url.password)}`
    headers["authorization"] = `Basic ${Buffer.from(user).toString("base64")}`
  }
  for (const [key, value] of Object.entries(secretsKept(request, url)))
    if (withBody || !ofBody.test(key)) headers[key] = value
  const { rest, since } = only
  if (since !== undefined) headers["if-modified-since"] = new Date(since).toUTCString()
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
