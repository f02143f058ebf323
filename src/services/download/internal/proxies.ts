import { BlockList, isIP } from "node:net"

/** URLs of proxies, empty for none, and the hosts without a proxy. */
export interface Proxies {
  readonly http: string
  readonly https: string
  /** As `NO_PROXY` has it. */
  readonly except: string
}

/** A variable with an invalid proxy, and its value without user and password. */
export interface NoProxy {
  readonly variable: string
  readonly value: string
  /** Whether it is a SOCKS proxy. */
  readonly socks: boolean
}

type Env = Readonly<Record<string, string | undefined>>

const proxy = (env: Env, ...names: ReadonlyArray<string>): string | NoProxy => {
  const variable = names.find((name) => env[name])
  if (variable === undefined) return ""
  const text = env[variable]!.trim()
  const href = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`
  const wrong = { variable, value: text.replace(/^.*@/s, ""), socks: /^socks/i.test(href) }
  try {
    const { hostname, password, protocol, username } = new URL(href)
    decodeURIComponent(username + password)
    return /^https?:$/.test(protocol) && hostname !== "" ? href : wrong
  } catch {
    return wrong
  }
}

/** Reads the proxies that the environment names; without a scheme one is `http://`. `ALL_PROXY` is for both, where none is. */
export const readProxies = (env: Env): Proxies | NoProxy => {
  const http = proxy(env, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
  const https = proxy(env, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
  if (typeof http !== "string") return http
  if (typeof https !== "string") return https
  return { http, https, except: env["no_proxy"] || env["NO_PROXY"] || "" }
}

const bare = (host: string) =>
  host
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "")
    .toLowerCase()

/** An entry of `NO_PROXY`: `*`, a name and all below it (`.a.example` and `*.a.example` too), an address, a range; maybe a port. */
const matcher = (entry: string): ((host: string, port: string) => boolean) => {
  if (entry === "*") return () => true
  const range = /^([\da-f.:]+)\/(\d{1,3})$/i.exec(entry)
  if (range !== null) {
    const list = new BlockList()
    try {
      list.addSubnet(range[1]!, Number(range[2]), isIP(range[1]!) === 6 ? "ipv6" : "ipv4")
    } catch {
      return () => false // not a range: no host has this name
    }
    return (host) => isIP(host) !== 0 && list.check(host, isIP(host) === 6 ? "ipv6" : "ipv4")
  }
  const [, text = entry, port] = isIP(entry) === 6 ? [] : (/^(.*?)(?::(\d+))?$/s.exec(entry) ?? [])
  const name = bare(text).replace(/^\*?\./, "")
  return (host, at) =>
    (port === undefined || port === at) &&
    (host === name || (isIP(host) === 0 && name !== "" && host.endsWith(`.${name}`)))
}

/** The proxy of a URL, empty for none. */
export const makeProxyOf = ({ except, http, https }: Proxies): ((url: URL) => string) => {
  const matchers = except
    .split(/[,\s]+/)
    .filter((entry) => entry !== "")
    .map(matcher)
  return ({ hostname, port, protocol }) => {
    const [through, usual] = protocol === "https:" ? [https, "443"] : [http, "80"]
    const host = bare(hostname)
    return through === "" || matchers.some((matches) => matches(host, port || usual)) ? "" : through
  }
}
