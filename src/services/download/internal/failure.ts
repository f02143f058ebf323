import * as path from "node:path"
import { describe } from "../../host/OwnFiles.js"
import * as Printable from "../../text/Printable.js"
import { type Reason, type Failure as Report, type Request, show } from "../Download.js"
import * as undici from "./undici.js"

/** Why a transfer fails, before it is reported as a `DownloadError`. */
export class Failure extends Error {
  constructor(
    readonly reason: Reason,
    message: string,
    readonly retryable: boolean,
    readonly more: { readonly retryAfter?: number | undefined; readonly status?: number } = {}
  ) {
    super(message)
  }

  report(url: URL): Report {
    return {
      reason: this.reason,
      url: show(url),
      detail: Printable.line(this.message), // it may quote the server
      retryable: this.retryable,
      ...this.more
    }
  }
}

const full = new Set(["ENOSPC", "EDQUOT"])
export const broke = "the connection broke before the body was whole"
const descriptors = new Set(["EMFILE", "ENFILE"])
const dropped = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED"])
const refused = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "ETIMEDOUT"])

/** Turns errors of undici, zlib, TLS, the resolver and the file system into a reason and a helpful detail. */
export const classify = (error: unknown, request: Request, url: URL, stallTimeout: number): Failure => {
  if (error instanceof Failure) return error
  const {
    code = "",
    message,
    errors
  } = error as NodeJS.ErrnoException & { errors?: ReadonlyArray<NodeJS.ErrnoException> }
  // The resolver names the host that it looked up, which may be the proxy.
  const { hostname = url.hostname } = error as { hostname?: string }
  const first = errors?.find(({ code }) => descriptors.has(code ?? "")) ?? errors?.[0]
  if (first !== undefined) return classify(first, request, url, stallTimeout)
  if (descriptors.has(code)) return new Failure("descriptors", `too many open files (${code})`, true)
  if (full.has(code)) {
    return new Failure("disk-full", `no space left on the disk of ${request.target?.directory}`, false)
  }
  if (code === "ENOTFOUND") return new Failure("dns", `no address found for ${hostname}`, false)
  if (code === "EAI_AGAIN") return new Failure("dns", `the name server did not answer for ${hostname}`, true)
  if (refused.has(code)) return new Failure("connect", `no connection (${code})`, true)
  switch (undici.kindOf(error)) {
    case "connect-timeout":
      return new Failure("connect", "no connection in time", true)
    case "silence":
      return new Failure("stalled", `nothing arrived for ${Math.round(stallTimeout / 1000)} s`, true)
    case "upgrade":
      return new Failure(
        "protocol",
        "the server switched to another protocol, which was not asked for",
        false
      )
    case "not-http":
      return new Failure("protocol", "the answer is not HTTP", false)
    case "closed":
    case "wrong-length":
      return new Failure("dropped", broke, true)
  }
  if (dropped.has(code)) return new Failure("dropped", broke, true)
  if (/^(CERT_|ERR_TLS|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_SSL|EPROTO)/.test(code)) {
    return new Failure("tls", `${message} (${code})`, false)
  }
  if (code.startsWith("Z_") || code.startsWith("ERR__ERROR_") || code.startsWith("ERR_BROTLI")) {
    return code === "Z_BUF_ERROR"
      ? new Failure("dropped", "the compressed body ends too early", true)
      : new Failure("decode", `the body is not what its Content-Encoding says (${message})`, false)
  }
  if (code === "EBUSY") return new Failure("file", message, true)
  if ((error as NodeJS.ErrnoException).syscall !== undefined && /^E[A-Z]+$/.test(code)) {
    const { directory, name } = request.target ?? { directory: "", name: "" }
    return new Failure(
      "file",
      `cannot save ${path.join(directory, name)}: ${describe(error)} (${code})`,
      false
    )
  }
  return new Failure("protocol", message || code || String(error), false)
}
